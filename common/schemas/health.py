"""What health and the public keys look like on the wire."""

from typing import Any, Literal

from common.schemas.base import Response, Time


class PlatformStatus(Response):
    """What was detected of the plugin that asks."""

    name: str
    supported: bool
    plugin_version: str | None
    minimum_version: str | None
    update_required: bool
    source: Literal["header", "user_agent", "none"]


class Checks(Response):
    """What the service needs."""

    database: Literal["ok", "unreachable"]


class Health(Response):
    """Whether the service works, and whether the asking plugin may go on using it."""

    status: Literal["ok", "degraded"]
    version: str
    time: Time
    platform: PlatformStatus
    checks: Checks

    def status_code(self) -> int | None:
        """503 when something that is needed does not answer."""
        return 200 if self.status == "ok" else 503


class Jwks(Response):
    """A JSON Web Key Set (RFC 7517)."""

    keys: list[dict[str, Any]]

    def headers(self) -> dict[str, str]:
        """Two keys are published during a rotation, so an hour of cache is safe."""
        return {"Cache-Control": "public, max-age=3600"}
