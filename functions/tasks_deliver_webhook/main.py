"""POST /internal/tasks/deliver-webhook: attempt one delivery."""

from common.domain import delivery_task
from common.http.task import task
from common.schemas.deliveries import DeliverWebhook


@task("deliver-webhook", needs=("delivery_queues", "storage_read", "webhook_secrets"))
def main(body: DeliverWebhook) -> None:
    """Send a delivery's payload to its webhook, and decide what comes next."""
    delivery_task.attempt(body.delivery_id, body.generation)
