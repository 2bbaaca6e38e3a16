"""What an endpoint says of itself: its method, path, scope and needs."""

import re
from dataclasses import dataclass
from functools import cache

BASE_PATH = "/api/plugins"
PUBLIC, ANY, SESSION, INTERNAL = "public", "any", "session", "internal"


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the endpoint table.

    `path` stands below `/api/plugins` unless `absolute`. `scope` is a scope's name or `public` (no
    credential), `any` (any credential), `session` (a signed-in person), `internal` (our own tasks).
    `cost` is what a call takes from the caller's rate limits. `needs` is what the function reaches beside the
    `database`: `storage` (or only `storage_read`, `storage_upload`: sign a URL of a result, of an upload),
    `render_queue`, `delivery_queues`, `engine` (an outside model), `token_jwks`, `token_key`, `webhook_secrets`;
    `terraform/accounts.tf` grants least privilege from it.
    `waits`: `Prefer: wait` is honoured.
    """

    method: str
    path: str
    scope: str
    status: int = 200
    cost: int = 1
    needs: tuple[str, ...] = ()
    database: bool = True
    absolute: bool = False
    waits: bool = False
    idempotency_required: bool = False

    @property
    def reaches(self) -> tuple[str, ...]:
        """All that the function reaches: its needs, the database, and the public keys that verify its callers."""
        verifies = self.scope not in (PUBLIC, INTERNAL)
        return (*self.needs, *(["database"] if self.database else []), *(["token_jwks"] if verifies else []))

    @property
    def full_path(self) -> str:
        """The path as callers write it."""
        return self.path if self.absolute else BASE_PATH + self.path


@cache
def pattern(full_path: str) -> re.Pattern[str]:
    """Matches a path of the template `full_path`; path parameters are its named groups, in snake_case."""
    parts = re.split(r"(\{\w+\})", full_path)
    return re.compile("".join(_part(part) for part in parts))


def _part(part: str) -> str:
    return f"(?P<{snake(part[1:-1])}>[^/]+)" if part.startswith("{") else re.escape(part)


def snake(name: str) -> str:
    """`keyId` as `key_id`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
