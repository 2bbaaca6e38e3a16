"""GET /api/plugins/keys: list the API keys."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import keys
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.base import Page, PageQuery
from common.schemas.keys import Key


@endpoint(Route("GET", "/keys", scope="keys:read"))
def main(conn: Connection, caller: Caller, query: PageQuery) -> Page[Key]:
    """List the API keys, newest first, with when and from where each secret was last used."""
    return keys.list_page(conn, caller, query)
