"""DELETE /api/plugins/uploads/{uploadId}: give an upload up."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import uploads
from common.http.endpoint import endpoint
from common.routing import Route


@endpoint(Route("DELETE", "/uploads/{uploadId}", scope="uploads:write", status=204, needs=("storage",)))
def main(conn: Connection, caller: Caller, upload_id: UUID) -> None:
    """Give a pending upload up and delete what was sent. Doing it again changes nothing."""
    uploads.cancel(conn, caller, upload_id)
