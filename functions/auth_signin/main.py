"""POST /api/plugins/auth/signin: sign in."""

from common.auth.caller import Call
from common.domain import sessions
from common.http.endpoint import endpoint
from common.routing import PUBLIC, Route
from common.schemas.accounts import CookieSession, SignedIn, SignIn


@endpoint(Route("POST", "/auth/signin", scope=PUBLIC, needs=("token_key",)))
def main(call: Call, body: SignIn) -> SignedIn | CookieSession:
    """Sign in with an e-mail address and a password."""
    return sessions.sign_in(call, body)
