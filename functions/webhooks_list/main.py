"""GET /api/plugins/webhooks: list the webhooks."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import webhooks
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.base import Page, PageQuery
from common.schemas.webhooks import Webhook


@endpoint(Route("GET", "/webhooks", scope="webhooks:read"))
def main(conn: Connection, caller: Caller, query: PageQuery) -> Page[Webhook]:
    """List the webhooks, newest first, with the counts of their deliveries."""
    return webhooks.list_page(conn, caller, query)
