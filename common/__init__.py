"""What every function shares: authentication, rules and data access."""
