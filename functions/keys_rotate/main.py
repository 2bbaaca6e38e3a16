"""POST /api/plugins/keys/{keyId}/rotate: give an API key a new secret."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import keys
from common.http.endpoint import SECRET_ONCE, endpoint
from common.routing import Route
from common.schemas.keys import RotatedKey, RotateKey


@endpoint(Route("POST", "/keys/{keyId}/rotate", scope="keys:write"), replay=SECRET_ONCE)
def main(conn: Connection, caller: Caller, key_id: UUID, body: RotateKey) -> RotatedKey:
    """Give an API key a new secret. The old one stays good for the grace, which extends no life."""
    return keys.rotate(conn, caller, key_id, body)
