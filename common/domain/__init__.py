"""The rules: what may happen, in which order, and what is one transaction."""
