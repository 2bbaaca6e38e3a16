"""POST /api/plugins/keys: create an API key."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import keys
from common.http.endpoint import SECRET_ONCE, endpoint
from common.routing import Route
from common.schemas.keys import CreatedKey, CreateKey


@endpoint(Route("POST", "/keys", scope="keys:write", status=201), replay=SECRET_ONCE)
def main(conn: Connection, caller: Caller, body: CreateKey) -> CreatedKey:
    """Create an API key. Its secret is in this answer and nowhere else."""
    return keys.create(conn, caller, body)
