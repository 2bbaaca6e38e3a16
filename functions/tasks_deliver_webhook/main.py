"""POST /internal/tasks/deliver-webhook: attempt one delivery."""

from common.domain import deliveries
from common.http.task import task
from common.schemas.webhooks import DeliverWebhook


@task("deliver-webhook", needs=("storage_read", "tasks", "webhook_secrets"))
def main(body: DeliverWebhook) -> None:
    """Send a delivery's payload to its webhook, and decide what comes next."""
    deliveries.attempt(body.delivery_id)
