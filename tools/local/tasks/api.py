"""The v2 REST surface, as a WSGI application."""

import json
import re
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote

from tools.local.tasks.dispatcher import Dispatcher, Queue
from tools.local.tasks.resources import ApiError, check_task, queue
from tools.local.tasks.store import Task

_PATH = re.compile(
    r"/v2/(?P<parent>projects/[^/]+/locations/[^/]+)/queues(?:/(?P<queue>[^/:]+))?(?::(?P<queue_verb>\w+))?"
    r"(?P<tasks>/tasks(?:/(?P<task>[^/:]+))?(?::(?P<task_verb>\w+))?)?"
)
MAX_PAGE = 1000


class Api:
    """Answers what the google-cloud-tasks client asks."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Queues and tasks are the dispatcher's."""
        self._dispatcher = dispatcher
        self._store = dispatcher.store

    def put_queue(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make or replace a queue; whether it is paused stays."""
        resource = queue(body)
        if self._store.is_paused(resource["name"]):
            resource["state"] = "PAUSED"
        with self._dispatcher.changed:
            known = self._dispatcher.queues.setdefault(resource["name"], Queue(resource))
            known.body = resource
        return resource

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        try:
            raw = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
            status, body = (
                200,
                self._answer(environ["REQUEST_METHOD"], unquote(environ["PATH_INFO"]), query, raw),
            )
        except ApiError as error:
            status, body = error.code, error.body()
        data = json.dumps(body).encode()
        headers = [("Content-Type", "application/json; charset=UTF-8"), ("Content-Length", str(len(data)))]
        start_response(f"{status} {HTTPStatus(status).phrase}", headers)
        return [data]

    def _answer(self, method: str, path: str, query: dict[str, str], raw: bytes) -> dict[str, Any]:
        found = _PATH.fullmatch(path)
        if not found:
            raise ApiError(404, "NOT_FOUND", f"{path} is not a resource")
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            raise ApiError(400, "INVALID_ARGUMENT", "The body is not JSON") from None
        name = f"{found['parent']}/queues/{found['queue']}"
        if not found["queue"]:
            return self._queues(method, found["parent"], body)
        if not found["tasks"]:
            return self._queue(method, name, found["queue_verb"], body)
        if not found["task"]:
            return self._create(name, body.get("task", {}), len(raw)) if method == "POST" else self._list(name, query)
        return self._task(method, f"{name}/tasks/{found['task']}", found["task_verb"], query)

    def _queues(self, method: str, parent: str, body: dict[str, Any]) -> dict[str, Any]:
        if method == "POST":
            if body.get("name") in self._dispatcher.queues:
                raise ApiError(409, "ALREADY_EXISTS", "Queue already exists")
            return self.put_queue(body)
        names = sorted(name for name in self._dispatcher.queues if name.startswith(f"{parent}/queues/"))
        return {"queues": [self._dispatcher.queues[name].body for name in names]}

    def _queue(self, method: str, name: str, verb: str | None, body: dict[str, Any]) -> dict[str, Any]:
        if method == "PATCH":
            known = self._dispatcher.queues.get(name)
            return self.put_queue({**(known.body if known else {}), **body, "name": name})
        state = self._known(name)
        if verb in ("pause", "resume"):
            self._store.set_paused(name, paused=verb == "pause")
            state.body = {**state.body, "state": "PAUSED" if verb == "pause" else "RUNNING"}
        elif verb == "purge":
            self._store.purge(name, time.time())
        elif method == "DELETE":
            self._store.purge(name, time.time())
            del self._dispatcher.queues[name]
            return {}
        self._dispatcher.wake()
        return state.body

    def _create(self, queue_name: str, task: dict[str, Any], size: int) -> dict[str, Any]:
        self._known(queue_name)
        now = time.time()
        due = check_task(queue_name, task, size, now)
        kept = {name: task[name] for name in ("httpRequest", "dispatchDeadline") if task.get(name)}
        made = self._store.add(queue_name, task.get("name"), kept, due, now)
        if made is None:
            raise ApiError(
                409,
                "ALREADY_EXISTS",
                "The task cannot be created because a task with this name existed too recently.",
            )
        self._dispatcher.wake()
        return made.shown(full=False)

    def _list(self, queue_name: str, query: dict[str, str]) -> dict[str, Any]:
        self._known(queue_name)
        limit = min(int(query.get("pageSize") or MAX_PAGE), MAX_PAGE)
        found = self._store.page(queue_name, query.get("pageToken", ""), limit + 1)
        page = {"tasks": [task.shown(full=_full(query)) for task in found[:limit]]}
        return page | ({"nextPageToken": found[limit - 1].name} if len(found) > limit else {})

    def _task(self, method: str, name: str, verb: str | None, query: dict[str, str]) -> dict[str, Any]:
        task = self._existing(name)
        if method == "DELETE":
            self._store.remove(name, time.time())
            return {}
        if verb == "run":
            self._dispatcher.force(task)
        return task.shown(full=_full(query))

    def _known(self, name: str) -> Queue:
        if name not in self._dispatcher.queues:
            raise ApiError(404, "NOT_FOUND", "Requested entity was not found.")
        return self._dispatcher.queues[name]

    def _existing(self, name: str) -> Task:
        task = self._store.find(name)
        if task is None:
            raise ApiError(404, "NOT_FOUND", "The task no longer exists, though a task with this name existed.")
        return task


def _full(query: dict[str, str]) -> bool:
    return query.get("responseView") in ("FULL", "2")
