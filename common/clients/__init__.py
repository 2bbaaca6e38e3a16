"""The only code that knows Google's client libraries."""
