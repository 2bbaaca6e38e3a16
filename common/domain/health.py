"""Whether the service works: the database answers within a second."""

import logging
import threading
import time

from common import db, platforms
from common.clock import now
from common.config import settings
from common.dal import health as dal
from common.errors import Unavailable
from common.platforms import Detected
from common.schemas.health import Checks, Health, PlatformStatus

DEADLINE_S = 1.0


def check(detected: Detected) -> Health:
    """The present state. It spends no quota."""
    config = settings()
    reachable = _database_answers()
    minimum = config.minimum_versions.get(detected.name)
    version = detected.plugin_version
    return Health(
        status="ok" if reachable else "degraded",
        version=config.version,
        time=now(),
        platform=PlatformStatus(
            name=detected.name,
            supported=detected.name in platforms.PLATFORMS,
            plugin_version=version,
            minimum_version=minimum,
            update_required=bool(minimum and version and platforms.below_minimum(version, minimum)),
            source=detected.source,
        ),
        checks=Checks(database="ok" if reachable else "unreachable"),
    )


def reach_database() -> None:
    """Return once the database has answered; Unavailable when it does not."""
    db.pool().run(dal.ping)


def _database_answers() -> bool:
    """Asked in a thread of its own: connecting may take longer than anyone wants to wait."""
    answered = threading.Event()

    def ask() -> None:
        try:
            reach_database()
            answered.set()
        except Unavailable as error:
            logging.getLogger(__name__).warning("the database does not answer: %s", error.detail)

    end = time.monotonic() + DEADLINE_S
    threading.Thread(target=ask, name="health", daemon=True).start()
    return answered.wait(max(0.0, end - time.monotonic()))
