"""The only SQL: one module a resource, one function a statement."""
