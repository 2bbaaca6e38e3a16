"""POST /api/plugins/deliveries/{deliveryId}/retry: attempt a delivery now."""

from uuid import UUID

from common.auth.caller import Caller
from common.db import Connection
from common.domain import deliveries
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.deliveries import Delivery


@endpoint(
    Route("POST", "/deliveries/{deliveryId}/retry", scope="webhooks:write", status=202, needs=("delivery_queues",)),
    replay=deliveries.get_listed,
)
def main(conn: Connection, caller: Caller, delivery_id: UUID) -> Delivery:
    """Attempt a delivery now, in place of its scheduled attempt; the schedule does not advance."""
    return deliveries.retry(conn, caller, delivery_id)
