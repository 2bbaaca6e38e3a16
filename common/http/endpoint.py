"""The public endpoints' one way in: the order of a request, in one place.

Request id, route, size and type, the caller statement, body, transaction with idempotency, the function's
work, commit, hooks, `Prefer: wait`, the answer, one log line.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from common import db, log
from common.auth.caller import Call, Caller
from common.config import settings
from common.db import Connection
from common.errors import Internal, Problem
from common.http import answer, arguments, call, idempotency, prefer, ready
from common.http.idempotency import Replay
from common.http.spec import Spec
from common.routing import PUBLIC, Route
from common.schemas.base import Response as Model

if TYPE_CHECKING:
    from flask import Request, Response

SECRET_ONCE = idempotency.secret_once
MAX_WAIT_S = 30
POLL_S = 0.25


def endpoint(route: Route, *, replay: Replay | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function the endpoint of `route`.

    The function's parameters are recognised by name: `conn`, `caller`, `call`, `body` and `query` (models),
    and the path's parameters (UUIDs). It returns a model, or None for 204. `replay` gives the resource of an
    id as it is now: for a repeated Idempotency-Key (a creating POST must have one), and for `Prefer: wait`.
    """

    def decorate(work: Callable[..., Any]) -> Callable[..., Any]:
        spec = Spec.of(work, route, replay)

        def main(request: "Request") -> "Response":
            return ready.answer(route) if request.path == ready.PATH else _serve(spec, request)

        main.__doc__ = work.__doc__
        main.spec = spec  # type: ignore[attr-defined]  # read by tools.routes
        return main

    return decorate


class Exchange:
    """One request on its way through: what the log line and the answer's headers need."""

    def __init__(self, spec: Spec, call_: Call) -> None:
        """Nothing has happened yet."""
        self.spec = spec
        self.call = call_
        self.caller: Caller | None = None
        self.headers: dict[str, str] = {"X-Request-Id": call_.request_id, "X-Content-Type-Options": "nosniff"}
        self.started = time.monotonic()

    def log(self, status: int, code: str | None) -> None:
        """The one line of this request."""
        caller = self.caller
        log.event(
            "request",
            level=logging.ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO,
            function=self.spec.name,
            method=self.call.method,
            path=self.call.path,
            status=status,
            code=code,
            ms=round((time.monotonic() - self.started) * 1000, 1),
            accountId=caller and caller.account_id,
            keyId=caller and caller.key_id,
            platform=(caller or self.call).platform.name,
            roundTrips=db.round_trips.get(),
            requestId=self.call.request_id,
        )


def _serve(spec: Spec, request: "Request") -> "Response":
    """Answer `request`, whatever it is."""
    log.configure()
    db.round_trips.set(0)
    exchange = Exchange(spec, call.read(request))
    code = None
    try:
        response = _answer(exchange, request)
    except Problem as problem:
        code = problem.code
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logging.getLogger(__name__).warning("%s: %s", spec.name, problem.detail)
            problem = type(problem)(code=problem.code, headers=problem.headers, **problem.members)
        response = answer.of_problem(problem, exchange.call.request_id, exchange.headers)
    except Exception:
        logging.getLogger(__name__).exception("%s failed on request %s", spec.name, exchange.call.request_id)
        code = Internal.code
        response = answer.of_problem(Internal(), exchange.call.request_id, exchange.headers)
    exchange.log(response.status_code, code)
    return response


def _answer(exchange: Exchange, request: "Request") -> "Response":
    spec = exchange.spec
    known = arguments.of_path(spec.route, exchange.call)
    raw = b"" if spec.route.method == "*" else call.body(request)
    _authenticate(exchange)
    known |= arguments.of_models(spec, raw, request)
    key = None
    if spec.replay and spec.route.method == "POST":
        key = idempotency.key_of(exchange.call, required=spec.route.idempotency_required)
    model, status = _work(exchange, known, key, raw)
    if spec.route.waits and model is not None:
        model = _wait(exchange, model)
    response = answer.of_model(model, status, exchange.headers)
    if spec.route.method == "GET" and _unchanged(exchange.call, response.headers.get("ETag")):
        response.status_code = 304
        response.set_data(b"")
        del response.headers["Content-Type"]
    return response


def _authenticate(exchange: Exchange) -> None:
    if exchange.spec.route.scope == PUBLIC:
        return
    from common.auth.authenticate import authenticate

    called = exchange.call
    found = authenticate(
        exchange.spec.route,
        called.headers,
        called.cookies,
        called.platform,
        user_agent=called.user_agent,
        address=called.address,
        request_id=called.request_id,
    )
    exchange.caller = found.caller
    # A shared cache knows `Authorization` for a credential, but not `X-API-Key`.
    exchange.headers |= {**found.headers, "Cache-Control": "private, no-cache"}


def _work(exchange: Exchange, known: dict[str, Any], key: str | None, raw: bytes) -> tuple[Model | None, int]:
    """The function's work: in a transaction for a write, its hooks run once the connection is given back.

    A function that asks for no `conn` opens its own short pieces: it talks to another service in between.
    """
    spec = exchange.spec
    known |= {"caller": exchange.caller, "call": exchange.call}

    def run(conn: Connection | None) -> Model | None:
        given = {name: value for name, value in (known | {"conn": conn}).items() if name in spec.parameters}
        return spec.work(**given)

    if "conn" not in spec.parameters:
        return run(None), spec.route.status
    if spec.route.method == "GET":
        return db.pool().run(run), spec.route.status
    caller, replay = exchange.caller, spec.replay
    if key is None or replay is None or caller is None:
        return db.in_transaction(run), spec.route.status
    request = exchange.call.path.encode() + b"\n" + raw
    model, status, replayed = db.in_transaction(
        lambda conn: idempotency.once(
            conn, caller, key, spec.name, request, spec.route.status, lambda: _created(run(conn)), replay
        )
    )
    if replayed:
        exchange.headers["Idempotency-Replayed"] = "true"
    return model, status


def _created(model: Model | None) -> Model:
    if model is None:
        raise TypeError("an endpoint with a replay returns what it created")
    return model


@cache
def _waiters() -> threading.BoundedSemaphore:
    """At most half the threads wait, so that the others answer."""
    return threading.BoundedSemaphore(max(1, settings().threads // 2))


def _wait(exchange: Exchange, model: Model) -> Model:
    """`model` once it is terminal, or as it is when the time that the caller prefers to wait is over."""
    caller, refetch = exchange.caller, exchange.spec.replay
    asked = prefer.wait_of(exchange.call.headers.get("Prefer", ""))
    if asked is None or caller is None or refetch is None or not _waiters().acquire(blocking=False):
        return model
    seconds = min(asked, MAX_WAIT_S)
    try:
        end = time.monotonic() + seconds
        while not model.terminal and time.monotonic() < end:  # type: ignore[attr-defined]  # a waiting resource has it
            time.sleep(min(POLL_S, max(0.0, end - time.monotonic())))
            with db.reading() as conn:
                model = refetch(conn, caller, model.id)  # type: ignore[attr-defined]  # and this too
        exchange.headers["Preference-Applied"] = f"wait={seconds}"
        return model
    finally:
        _waiters().release()


def _unchanged(called: Call, etag: str | None) -> bool:
    """Whether the caller has what would be answered (RFC 9110, 13.1.2: weak comparison)."""
    sent = called.headers.get("If-None-Match")
    if not etag or not sent:
        return False
    known = {tag.strip().removeprefix("W/") for tag in sent.split(",")}
    return "*" in known or etag.removeprefix("W/") in known
