"""Who is calling, and what that allows."""
