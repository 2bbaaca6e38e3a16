"""Commands for developers and operators; never part of a request."""
