"""POST /api/plugins/webhooks/{webhookId}/rotate-secret: a new signing secret."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhooks
from common.http.endpoint import SECRET_ONCE, endpoint
from common.routing import Route
from common.schemas.webhooks import RotatedWebhookSecret, RotateWebhookSecret


@endpoint(
    Route("POST", "/webhooks/{webhookId}/rotate-secret", scope="webhooks:write", needs=("webhook_secrets",)),
    replay=SECRET_ONCE,
)
def main(conn: Connection, caller: Caller, webhook_id: UUID, body: RotateWebhookSecret) -> RotatedWebhookSecret:
    """Make a new signing secret; the ones before it sign beside it during the overlap."""
    return webhooks.rotate_secret(conn, caller, webhook_id, body)
