"""POST /api/plugins/uploads/{uploadId}/complete: the file is there."""

from uuid import UUID

from common.auth.caller import Caller
from common.domain import uploads
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.uploads import Upload


@endpoint(Route("POST", "/uploads/{uploadId}/complete", scope="uploads:write", needs=("storage",)))
def main(caller: Caller, upload_id: UUID) -> Upload:
    """Verify the file and make the upload ready. A wrong file is deleted; the upload waits for another."""
    return uploads.complete(caller, upload_id)
