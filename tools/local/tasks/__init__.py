"""A stand-in for Cloud Tasks: the v2 REST surface, and dispatch as the service documents it."""
