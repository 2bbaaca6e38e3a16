"""GET /api/plugins/webhooks/{webhookId}: one webhook."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhooks
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.webhooks import Webhook


@endpoint(Route("GET", "/webhooks/{webhookId}", scope="webhooks:read"))
def main(conn: Connection, caller: Caller, webhook_id: UUID) -> Webhook:
    """Show a webhook, its state and the counts of its deliveries."""
    return webhooks.get(conn, caller, webhook_id)
