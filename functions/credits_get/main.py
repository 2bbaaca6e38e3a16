"""GET /api/plugins/credits: what the account has, and what a render costs."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import credits as account_credits
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.credits import Credits


@endpoint(Route("GET", "/credits", scope="credits:read"))
def main(conn: Connection, caller: Caller) -> Credits:
    """Show the account's credits and the price of a render, by quality and engine."""
    return account_credits.get(conn, caller)
