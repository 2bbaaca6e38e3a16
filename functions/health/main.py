"""GET /api/plugins/health: whether the service works, and what it sees of the plugin that asks."""

from common.auth.caller import Call
from common.domain import health
from common.http.endpoint import endpoint
from common.routing import PUBLIC, Route
from common.schemas.health import Health


@endpoint(Route("GET", "/health", scope=PUBLIC))
def main(call: Call) -> Health:
    """Tell whether the service works, and whether the calling plugin is current."""
    return health.check(call.platform)
