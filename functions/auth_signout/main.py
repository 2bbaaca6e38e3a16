"""POST /api/plugins/auth/signout: end the session."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import sessions
from common.http.endpoint import endpoint
from common.routing import SESSION, Route
from common.schemas.accounts import SignOut


@endpoint(Route("POST", "/auth/signout", scope=SESSION, status=204))
def main(conn: Connection, caller: Caller, body: SignOut) -> None:
    """End this session, or every session of the account; refused from the next request on."""
    sessions.sign_out(conn, caller, body)
