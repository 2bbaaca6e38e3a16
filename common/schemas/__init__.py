"""What callers send and get: JSON in camelCase on the wire, snake_case here."""
