"""Cloud Tasks: one new task for each thing that is to happen, at its time.

A task names no address: its queue's `http_target` decides where it goes, so a forged URL goes nowhere.
google-cloud-tasks brings gRPC (0.5 s): imported on first use, and in the cloud only.
"""

import hashlib
import json
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from common.config import settings

#: Replaced by the queue's `http_target`; `.invalid` never resolves (RFC 6761).
PLACEHOLDER_URL = "https://tasks.invalid/"
TIMEOUT_S = 5.0


def enqueue_render(render_id: UUID, attempt: int, generation: int, at: datetime | None = None) -> None:
    """Have `tasks_run_render` take up a render, at once or not before `at`."""
    name = task_name(render_id, attempt, generation)
    enqueue(settings().require("render_queue"), {"renderId": str(render_id)}, name, at)


def enqueue_delivery(
    delivery_id: UUID,
    webhook_id: UUID,
    attempt: int,
    generation: int | None,
    at: datetime | None = None,
    reason: str = "",
) -> None:
    """Have `tasks_deliver_webhook` attempt a delivery. A webhook's deliveries share one queue.

    A task of the delivery's `generation` may be early; one of none, which has a `reason` instead, takes what is due.
    """
    queues = settings().delivery_queues
    queue = queues[webhook_id.int % len(queues)]
    name = task_name(delivery_id, attempt, reason or generation)
    enqueue(queue, {"deliveryId": str(delivery_id), "generation": generation}, name, at)


def task_name(row_id: UUID, attempt: int, generation: int | str | None) -> str:
    """The name of a row's task: the same row, attempt and generation is the same task.

    A hash, so that names spread evenly (sequential ones slow a queue down).
    """
    return hashlib.sha256(f"{row_id} {attempt} {generation}".encode()).hexdigest()[:40]


def enqueue(queue: str, body: dict[str, Any], name: str, at: datetime | None) -> None:
    """Create a task in `queue` (its full name). One that exists already, or lately did, counts as done."""
    from google.api_core.exceptions import Conflict
    from google.cloud.tasks_v2.types import HttpMethod, HttpRequest, Task

    request = HttpRequest(
        url=PLACEHOLDER_URL,
        http_method=HttpMethod.POST,
        headers={"Content-Type": "application/json"},
        body=json.dumps(body).encode(),
    )
    task = Task(name=f"{queue}/tasks/{name}", http_request=request, schedule_time=at)
    try:
        _client().create_task(parent=queue, task=task, timeout=TIMEOUT_S)
    except Conflict:  # AlreadyExists by gRPC, its parent by REST
        return


@cache
def _client() -> Any:
    from google.cloud.tasks_v2 import CloudTasksClient

    endpoint = settings().tasks_endpoint
    if not endpoint:
        return CloudTasksClient()
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport

    anybody = AnonymousCredentials()  # type: ignore[no-untyped-call]  # Google's
    return CloudTasksClient(transport=CloudTasksRestTransport(host=endpoint, url_scheme="http", credentials=anybody))
