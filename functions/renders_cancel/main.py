"""POST /api/plugins/renders/{renderId}/cancel: give a render up."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import renders
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.renders import Render


@endpoint(Route("POST", "/renders/{renderId}/cancel", scope="renders:write", needs=("delivery_queues",)))
def main(conn: Connection, caller: Caller, render_id: UUID) -> Render:
    """Cancel a render that is not over. It takes effect at once, and nothing is charged."""
    return renders.cancel(conn, caller, render_id)
