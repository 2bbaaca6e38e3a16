"""DELETE /api/plugins/keys/{keyId}: revoke an API key."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import keys
from common.http.endpoint import endpoint
from common.routing import Route


@endpoint(Route("DELETE", "/keys/{keyId}", scope="keys:write", status=204))
def main(conn: Connection, caller: Caller, key_id: UUID) -> None:
    """Revoke an API key: it is refused on the very next request."""
    keys.revoke(conn, caller, key_id)
