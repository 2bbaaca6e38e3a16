"""The internal tasks' one way in: called by Cloud Tasks and Cloud Scheduler only.

Cloud Run has verified the token before the function is called; the function checks what the token says.
"""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from common import log
from common.auth import task_identity
from common.clock import now
from common.config import settings
from common.errors import Internal, Invalid, MethodNotAllowed, NotFound, Problem, Unauthenticated
from common.http import answer, call, ready
from common.http.spec import Spec
from common.routing import INTERNAL, Route

if TYPE_CHECKING:
    from flask import Request, Response


def task(name: str, *, needs: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., Any]]:
    """Make a function the task `POST /internal/tasks/<name>`.

    The function has one parameter, `body`, a model, or none. Returning means done; raising means that the
    queue tries again.
    """
    route = Route("POST", f"/internal/tasks/{name}", scope=INTERNAL, status=204, needs=needs, absolute=True)

    def decorate(work: Callable[..., None]) -> Callable[..., Any]:
        spec = Spec.of(work, route)

        def main(request: "Request") -> "Response":
            return ready.answer(route) if request.path == ready.PATH else _serve(spec, name, request)

        main.__doc__ = work.__doc__
        main.spec = spec  # type: ignore[attr-defined]  # read by tools.routes
        return main

    return decorate


def _serve(spec: Spec, name: str, request: "Request") -> "Response":
    log.configure()
    called = call.read(request)
    started = time.monotonic()
    headers = {"X-Request-Id": called.request_id}
    try:
        _run(spec, name, request)
        response = answer.of_model(None, 204, headers)
    except Problem as problem:
        response = answer.of_problem(problem, called.request_id, headers)
    except Exception:
        logging.getLogger(__name__).exception("%s failed", spec.name)
        response = answer.of_problem(Internal(), called.request_id, headers)
    log.event(
        "task",
        level=logging.ERROR if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO,
        function=spec.name,
        status=response.status_code,
        ms=round((time.monotonic() - started) * 1000, 1),
        task=called.headers.get("X-CloudTasks-TaskName"),
        retry=called.headers.get("X-CloudTasks-TaskRetryCount"),
    )
    return response


def _run(spec: Spec, name: str, request: "Request") -> None:
    if request.path != spec.route.full_path:
        raise NotFound
    if request.method != spec.route.method:
        raise MethodNotAllowed(headers={"Allow": spec.route.method})
    config = settings()
    if not config.task_iam or "X-Serverless-Authorization" in request.headers:
        # Cloud Run would have verified that other header, and left this one as it came.
        raise Unauthenticated("Only our own tasks call this.")
    audience = config.task_audience or f"renderiq-tasks-{name}"
    try:
        task_identity.check(request.headers.get("Authorization"), audience, config.require("task_account"), now())
    except task_identity.TaskIdentityError as error:
        logging.getLogger(__name__).warning("%s refused: %s", spec.name, error)
        raise Unauthenticated("Only our own tasks call this.") from None
    raw = call.body(request)
    if "body" not in spec.parameters:
        spec.work()
        return
    try:
        body = spec.parameters["body"].model_validate_json(raw or b"{}")
    except ValidationError as error:
        # A task that no version understands would be retried for ever: a 4xx is not better, but it is seen.
        raise Invalid(str(error.errors(include_url=False, include_input=False))) from None
    spec.work(body=body)
