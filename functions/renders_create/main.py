"""POST /api/plugins/renders: ask for a picture."""

from common.auth.caller import Caller
from common.config import RENDER_COST
from common.db import Connection
from common.domain import renders
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.renders import CreatedRender, CreateRender


@endpoint(
    Route(
        "POST",
        "/renders",
        scope="renders:write",
        status=202,
        cost=RENDER_COST,
        needs=("render_queue", "storage_read"),
        waits=True,
        idempotency_required=True,
    ),
    replay=renders.get_created,
)
def main(conn: Connection, caller: Caller, body: CreateRender) -> CreatedRender:
    """Ask for a picture of a ready upload. Its price is held, and taken only if the render succeeds."""
    return renders.create(conn, caller, body)
