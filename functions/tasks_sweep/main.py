"""POST /internal/tasks/sweep: mend what a crash left behind."""

from common.domain import sweep
from common.http.task import task


@task("sweep", needs=("delivery_queues", "render_queue", "storage"))
def main() -> None:
    """Enqueue what is due and has no live task, expire what is overdue, forget what is old."""
    sweep.run()
