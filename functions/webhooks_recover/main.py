"""POST /api/plugins/webhooks/{webhookId}/recover: attempt again what was not delivered."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import recoveries
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.webhooks import RecoverWebhook, Recovery


@endpoint(
    Route("POST", "/webhooks/{webhookId}/recover", scope="webhooks:write", status=202, needs=("delivery_queues",)),
    replay=recoveries.get,
)
def main(conn: Connection, caller: Caller, webhook_id: UUID, body: RecoverWebhook) -> Recovery:
    """Attempt dead and skipped deliveries again, each with a new schedule; a dry run only counts them."""
    return recoveries.create(conn, caller, webhook_id, body)
