"""GET /api/plugins/renders/{renderId}: a render."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import renders
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.renders import Render


@endpoint(
    Route("GET", "/renders/{renderId}", scope="renders:read", needs=("storage_read",), waits=True),
    replay=renders.get,
)
def main(conn: Connection, caller: Caller, render_id: UUID) -> Render:
    """Show a render; once it succeeded, with its files' URLs. `Retry-After` tells when to ask again."""
    return renders.get(conn, caller, render_id)
