"""POST /internal/tasks/run-render: run a render."""

from common.domain import render_task
from common.http.task import task
from common.schemas.renders import RunRender


@task("run-render", needs=("delivery_queues", "engine", "render_queue", "storage"))
def main(body: RunRender) -> None:
    """Make the next attempt of a render."""
    render_task.run(body.render_id)
