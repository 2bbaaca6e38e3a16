"""The local stack: PostgreSQL, Cloud Storage and Cloud Tasks stand-ins, and the gateway."""
