"""PATCH /api/plugins/webhooks/{webhookId}: change a webhook."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhooks
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.webhooks import UpdateWebhook, Webhook


@endpoint(Route("PATCH", "/webhooks/{webhookId}", scope="webhooks:write"))
def main(conn: Connection, caller: Caller, webhook_id: UUID, body: UpdateWebhook) -> Webhook:
    """Change a webhook's URL, events or description; disable it, or enable it again."""
    return webhooks.update(conn, caller, webhook_id, body)
