"""POST /api/plugins/uploads: announce a file."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import uploads
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.uploads import CreateUpload, Upload


@endpoint(
    Route("POST", "/uploads", scope="uploads:write", status=201, needs=("storage_upload",)),
    replay=uploads.get,
)
def main(conn: Connection, caller: Caller, body: CreateUpload) -> Upload:
    """Announce a file, and get the signed URL at which its resumable upload to Cloud Storage starts."""
    return uploads.create(conn, caller, body)
