"""GET /api/plugins/webhooks/{webhookId}/stats: how a webhook does."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhook_stats
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.webhooks import StatsQuery, WebhookStats


@endpoint(Route("GET", "/webhooks/{webhookId}/stats", scope="webhooks:read"))
def main(conn: Connection, caller: Caller, webhook_id: UUID, query: StatsQuery) -> WebhookStats:
    """Show a webhook's deliveries, attempts, latencies and failures over a window, current to the second."""
    return webhook_stats.get(conn, caller, webhook_id, query)
