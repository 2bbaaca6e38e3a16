"""POST /api/plugins/auth/signout: end the session."""

from common.auth.caller import Call, Caller
from common.db import Connection
from common.domain import sessions
from common.http.endpoint import endpoint
from common.routing import SESSION, Route
from common.schemas.accounts import SignedOut, SignOut


@endpoint(Route("POST", "/auth/signout", scope=SESSION, status=204))
def main(conn: Connection, caller: Caller, call: Call, body: SignOut) -> SignedOut:
    """End this session, or every session of the account; refused from the next request on."""
    return sessions.sign_out(conn, caller, call, body)
