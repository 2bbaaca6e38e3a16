"""GET /api/plugins/credits/entries: how the account's credits came and went."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import credits as account_credits
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.base import Page, PageQuery
from common.schemas.credits import Entry


@endpoint(Route("GET", "/credits/entries", scope="credits:read"))
def main(conn: Connection, caller: Caller, query: PageQuery) -> Page[Entry]:
    """List the entries of the account's credits, newest first."""
    return account_credits.list_entries(conn, caller, query)
