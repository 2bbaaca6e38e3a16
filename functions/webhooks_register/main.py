"""POST /api/plugins/webhooks/register: register a webhook."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhooks
from common.http.endpoint import SECRET_ONCE, endpoint
from common.routing import Route
from common.schemas.webhooks import RegisteredWebhook, RegisterWebhook


@endpoint(
    Route("POST", "/webhooks/register", scope="webhooks:write", status=201, needs=("webhook_secrets",)),
    replay=SECRET_ONCE,
)
def main(conn: Connection, caller: Caller, body: RegisterWebhook) -> RegisteredWebhook:
    """Register a webhook. Its signing secret is in this answer, and later only in a rotation's."""
    return webhooks.register(conn, caller, body)
