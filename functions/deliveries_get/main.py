"""GET /api/plugins/deliveries/{deliveryId}: show a delivery."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import deliveries
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.deliveries import ShownDelivery


@endpoint(Route("GET", "/deliveries/{deliveryId}", scope="webhooks:read"))
def main(conn: Connection, caller: Caller, delivery_id: UUID) -> ShownDelivery:
    """Show a delivery with its payload and the log of its attempts."""
    return deliveries.get(conn, caller, delivery_id)
