"""POST /api/plugins/webhooks/{webhookId}/test: send a test event."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhooks
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.webhooks import StartedTest


@endpoint(
    Route("POST", "/webhooks/{webhookId}/test", scope="webhooks:write", status=202, needs=("delivery_queues",)),
    replay=webhooks.started_test,
)
def main(conn: Connection, caller: Caller, webhook_id: UUID) -> StartedTest:
    """Send a `webhook.test` event to a webhook, whatever events it asked for."""
    return webhooks.test(conn, caller, webhook_id)
