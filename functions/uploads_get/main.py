"""GET /api/plugins/uploads/{uploadId}: an upload."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import uploads
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.uploads import Upload


@endpoint(Route("GET", "/uploads/{uploadId}", scope="uploads:write", needs=("storage_upload",)))
def main(conn: Connection, caller: Caller, upload_id: UUID) -> Upload:
    """Show an upload; while it is pending, with a freshly signed URL to start it again."""
    return uploads.get(conn, caller, upload_id)
