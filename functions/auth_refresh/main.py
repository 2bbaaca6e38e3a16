"""POST /api/plugins/auth/refresh: exchange a refresh token."""

from common.auth.caller import Call
from common.domain import sessions
from common.http.endpoint import endpoint
from common.routing import PUBLIC, Route
from common.schemas.accounts import Refresh, SignedIn


@endpoint(Route("POST", "/auth/refresh", scope=PUBLIC, needs=("token_key",)))
def main(call: Call, body: Refresh) -> SignedIn:
    """Exchange a refresh token for a new access token and a new refresh token."""
    return sessions.refresh(call, body)
