"""GET /api/plugins/auth/me: who is calling."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import sessions
from common.http.endpoint import endpoint
from common.routing import ANY, Route
from common.schemas.accounts import Me


@endpoint(Route("GET", "/auth/me", scope=ANY))
def main(conn: Connection, caller: Caller) -> Me:
    """Tell who is calling, with which credential, and what the account has."""
    return sessions.me(conn, caller)
