"""GET /api/plugins/renders: the account's renders."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import render_lists
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.base import Page
from common.schemas.renders import ListedRender, ListRenders


@endpoint(Route("GET", "/renders", scope="renders:read", needs=("storage_read",)))
def main(conn: Connection, caller: Caller, query: ListRenders) -> Page[ListedRender]:
    """List the account's renders, newest first."""
    return render_lists.list_page(conn, caller, query)
