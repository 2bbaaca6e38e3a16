"""Whether a new instance may take requests: what Cloud Run's startup probe asks of every function.

A probe of the port would say yes while the way to the database is still being opened (Direct VPC egress may take a
minute at an instance's start), and the first callers would pay for it.
"""

import logging
from typing import TYPE_CHECKING

from common import log
from common.domain import health
from common.errors import Unavailable
from common.http import answer as answers
from common.routing import Route

if TYPE_CHECKING:
    from flask import Response

#: Of no function's routes, so that no rule of the URL map leads to it; `terraform/modules/function` probes it.
PATH = "/-/ready"


def answer(route: Route) -> "Response":
    """204; 503 while a function that needs the database cannot reach it."""
    log.configure()
    try:
        if route.database:
            health.reach_database()
    except Unavailable as error:
        logging.getLogger(__name__).warning("not ready: %s", error.detail)
        return answers.of_problem(Unavailable(), "startup-probe", {})
    return answers.of_model(None, 204, {})
