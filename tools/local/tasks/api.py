"""The v2 REST surface, as a WSGI application."""

import json
import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qs

from tools.local.tasks import checks, queues
from tools.local.tasks.dispatcher import Dispatcher
from tools.local.tasks.store import Task
from tools.local.tasks.values import ApiError, invalid, timestamp

_PATH = re.compile(
    r"/v2/(?P<parent>projects/[^/]+/locations/[^/]+)/queues(?:/(?P<queue>[^/:]+))?(?::(?P<queue_verb>\w+))?"
    r"(?P<tasks>/tasks(?:/(?P<task>[^/:]+))?(?::(?P<task_verb>\w+))?)?"
)
T = TypeVar("T")
MAX_PAGE = 1000
STATES = {"pause": "PAUSED", "resume": "RUNNING"}


class Api:
    """Answers what the google-cloud-tasks client asks."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Queues and tasks are the dispatcher's."""
        self._dispatcher = dispatcher
        self._store = dispatcher.store

    def declare(self, body: dict[str, Any]) -> None:
        """Make a queue, or update it to `body`; whether it is paused stays. ApiError for a bad one."""
        self._put(body.get("name", ""), body, "")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        try:
            status, body = 200, self._serve(environ)
        except ApiError as error:
            status, body = error.code, error.body()
        data = json.dumps(body).encode()
        headers = [("Content-Type", "application/json; charset=UTF-8"), ("Content-Length", str(len(data)))]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [data]

    def _serve(self, environ: dict[str, Any]) -> dict[str, Any]:
        if "HTTP_ORIGIN" in environ:
            # A page that a developer happens to visit must not reach what asks for no credentials.
            raise ApiError(403, "PERMISSION_DENIED", "Browsers are not served")
        method, path = environ["REQUEST_METHOD"], _PATH.fullmatch(environ["PATH_INFO"])
        if not path:
            raise ApiError(404, "NOT_FOUND", f"{environ['PATH_INFO']} is not a resource")
        query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        body = _json_object(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        name = f"{path['parent']}/queues/{path['queue']}"
        if path["task"]:
            return self._task(method, path["task_verb"], f"{name}/tasks/{path['task']}", query | body)
        if path["tasks"]:
            return self._tasks(method, path["task_verb"], name, query, body)
        if path["queue"]:
            return self._queue(method, path["queue_verb"], name, query, body)
        return self._queues(method, path["parent"], body)

    def _queues(self, method: str, parent: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._dispatcher.changed:
            known = {name: queue.body for name, queue in sorted(self._dispatcher.queues.items())}
        if method == "GET":
            return {"queues": [known[name] for name in known if name.startswith(f"{parent}/queues/")]}
        if method != "POST":
            raise _no_such_method(method)
        name = str(body.get("name", ""))
        if not name.startswith(f"{parent}/queues/"):
            raise invalid(f"Queue name {name!r} is malformed or of another location")
        if name in known:
            raise ApiError(409, "ALREADY_EXISTS", "Queue already exists")
        return self._put(name, body, "")

    def _queue(
        self, method: str, verb: str | None, name: str, query: dict[str, str], body: dict[str, Any]
    ) -> dict[str, Any]:
        if (method, verb) == ("PATCH", None):
            return self._put(name, body, query.get("updateMask", ""))
        known = self._known(name)
        if (method, verb) == ("GET", None):
            return known
        if (method, verb) == ("DELETE", None):
            self._dispatcher.remove_queue(name)
            return {}
        if method == "POST" and verb in STATES:
            known = known | {"state": STATES[verb]}
        elif method == "POST" and verb == "purge":
            known = known | {"purgeTime": timestamp(time.time())}
            self._store.purge(name, time.time())
        else:
            raise _no_such_method(f"{method} {verb or ''}")
        self._dispatcher.put_queue(known)
        return known

    def _put(self, name: str, body: dict[str, Any], mask: str) -> dict[str, Any]:
        with self._dispatcher.changed:
            known = self._dispatcher.queues.get(name)
        if known is None:
            made = _understood(queues.queue, body | {"name": name})
        else:
            made = _understood(queues.patched, known.body, body, mask)
        self._check_account(made.get("httpTarget", {}))
        self._dispatcher.put_queue(made)
        return made

    def _tasks(
        self, method: str, verb: str | None, queue: str, query: dict[str, str], body: dict[str, Any]
    ) -> dict[str, Any]:
        self._known(queue)
        if (method, verb) == ("GET", None):
            return self._page(queue, query)
        if (method, verb) != ("POST", None):
            raise _no_such_method(f"{method} {verb or ''}")
        now, given = time.time(), body.get("task", {})
        kept, due = _understood(checks.task, queue, given, now)
        self._check_account(kept["httpRequest"])
        made = self._store.add(queue, given.get("name"), kept, due, now)
        if made is None:
            problem = "The task cannot be created because a task with this name existed too recently."
            raise ApiError(409, "ALREADY_EXISTS", problem)
        self._dispatcher.wake()
        return made.shown(full=_full(body))

    def _page(self, queue: str, query: dict[str, str]) -> dict[str, Any]:
        size = query.get("pageSize", "0")
        if not size.isdecimal():
            raise invalid(f"pageSize {size!r} is no number")
        limit = min(int(size) or MAX_PAGE, MAX_PAGE)
        found = self._store.page(queue, query.get("pageToken", ""), limit + 1)
        page = {"tasks": [task.shown(full=_full(query)) for task in found[:limit]]}
        return page | ({"nextPageToken": found[limit - 1].name} if len(found) > limit else {})

    def _task(self, method: str, verb: str | None, name: str, told: dict[str, Any]) -> dict[str, Any]:
        if (method, verb) == ("GET", None):
            return _existing(self._store.find(name)).shown(full=_full(told))
        if (method, verb) == ("POST", "run"):
            return _existing(self._dispatcher.force(name)).shown(full=_full(told))
        if (method, verb) == ("DELETE", None):
            _existing(self._store.find(name))
            self._store.remove(name, time.time())
            return {}
        raise _no_such_method(f"{method} {verb or ''}")

    def _known(self, name: str) -> dict[str, Any]:
        with self._dispatcher.changed:
            if name not in self._dispatcher.queues:
                raise ApiError(404, "NOT_FOUND", "Queue does not exist.")
            return self._dispatcher.queues[name].body

    def _check_account(self, holder: dict[str, Any]) -> None:
        """ApiError unless the OIDC token of `holder`, if there is one, is of the account that we issue tokens for."""
        account = holder.get("oidcToken", {}).get("serviceAccountEmail")
        if account not in (None, self._dispatcher.issuer.email):
            problem = f'The principal lacks IAM permission "iam.serviceAccounts.actAs" for the resource "{account}"'
            raise ApiError(403, "PERMISSION_DENIED", problem)


def _understood(read: Callable[..., T], *given: Any) -> T:
    """What `read` makes of a resource; ApiError when a field of it is of another kind than the API's."""
    try:
        return read(*given)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise invalid(f"The resource is malformed: {error!r}") from error


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw or b"{}")
    except ValueError:
        raise invalid("The body is not JSON") from None
    if not isinstance(body, dict):
        raise invalid("The body is not a JSON object")
    return body


def _existing(task: Task | None) -> Task:
    if task is None:
        raise ApiError(404, "NOT_FOUND", "The task no longer exists, though a task with this name existed recently.")
    return task


def _no_such_method(told: str) -> ApiError:
    return ApiError(404, "NOT_FOUND", f"There is no method {told.strip()} here")


def _full(told: dict[str, Any]) -> bool:
    return told.get("responseView") in ("FULL", "2", 2)
