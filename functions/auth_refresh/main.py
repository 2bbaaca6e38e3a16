"""POST /api/plugins/auth/refresh: exchange a refresh token."""

from common.db import Connection
from common.domain import sessions
from common.http.endpoint import endpoint
from common.routing import PUBLIC, Route
from common.schemas.accounts import Refresh, SignedIn


@endpoint(Route("POST", "/auth/refresh", scope=PUBLIC, needs=("token_key",), transaction=False))
def main(conn: Connection, body: Refresh) -> SignedIn:
    """Exchange a refresh token for a new access token and a new refresh token."""
    return sessions.refresh(conn, body)
