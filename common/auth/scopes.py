"""What a credential may be allowed to do."""

from enum import StrEnum


class Scope(StrEnum):
    """One permission of an API key; a signed-in person holds all of them."""

    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    RENDERS_READ = "renders:read"
    RENDERS_WRITE = "renders:write"
    PROJECTS_READ = "projects:read"
    PROJECTS_WRITE = "projects:write"
    CREDITS_READ = "credits:read"
    UPLOADS_WRITE = "uploads:write"


ALL: frozenset[str] = frozenset(Scope)
