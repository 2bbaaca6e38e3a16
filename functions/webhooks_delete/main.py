"""DELETE /api/plugins/webhooks/{webhookId}: delete a webhook."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhooks
from common.http.endpoint import endpoint
from common.routing import Route


@endpoint(Route("DELETE", "/webhooks/{webhookId}", scope="webhooks:write", status=204))
def main(conn: Connection, caller: Caller, webhook_id: UUID) -> None:
    """Delete a webhook; what it still was to deliver is canceled."""
    webhooks.delete(conn, caller, webhook_id)
