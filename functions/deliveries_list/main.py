"""GET /api/plugins/deliveries: list deliveries."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import deliveries
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.base import Page
from common.schemas.deliveries import Delivery, ListDeliveries


@endpoint(Route("GET", "/deliveries", scope="webhooks:read"))
def main(conn: Connection, caller: Caller, query: ListDeliveries) -> Page[Delivery]:
    """List the account's deliveries, newest first; dead letters are those with `status=dead`."""
    return deliveries.list_page(conn, caller, query)
