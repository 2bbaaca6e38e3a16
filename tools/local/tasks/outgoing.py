"""The HTTP request of one dispatch: the task's, overridden by its queue's `httpTarget`."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tools.local.tasks.checks import WITH_BODY
from tools.local.tasks.store import Task

#: Set by the service, whatever a task says; so is everything with one of these prefixes.
REPLACED = ("host", "content-length", "user-agent", "connection", "transfer-encoding")
REPLACED_PREFIXES = ("x-google-", "x-appengine-", "x-cloudtasks-")


@dataclass(frozen=True)
class Outgoing:
    """A request to send."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


def outgoing(queue_body: dict[str, Any], task: Task, mint: Callable[[str], str]) -> Outgoing:
    """The request of a task's current attempt; `mint` makes an OIDC token for an audience."""
    request, override = task.body["httpRequest"], queue_body.get("httpTarget", {})
    method = override.get("httpMethod") or request["httpMethod"]
    url = target(request["url"], override.get("uriOverride", {}))
    headers = _given_headers(request, override) | _task_headers(task)
    oidc = override.get("oidcToken") or request.get("oidcToken")
    if oidc:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Authorization"] = f"Bearer {mint(oidc.get('audience') or url)}"
    body = base64.b64decode(request.get("body", "")) if method in WITH_BODY else None
    return Outgoing(method, url, headers, body)


def target(url: str, override: dict[str, Any]) -> str:
    """`url` with the parts that a queue's `uriOverride` names replaced: always, or where `url` has none."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    keeps = override.get("uriOverrideEnforceMode") == "IF_NOT_EXISTS"

    def part(own: str, overriding: Any) -> str:
        return own if overriding is None or (keeps and own) else str(overriding)

    scheme = part(parts.scheme, override.get("scheme")).lower()
    host = part(host, override.get("host"))
    port = part(str(parts.port or ""), override.get("port"))
    # An empty message in the override clears that part.
    path = part(parts.path, _inner(override, "pathOverride", "path")) or "/"
    query = part(parts.query, _inner(override, "queryOverride", "queryParams"))
    netloc = f"{host}:{port}" if port not in ("", "0") else host
    return urlunsplit((scheme, netloc, path if path.startswith("/") else f"/{path}", query, ""))


def _inner(override: dict[str, Any], message: str, field: str) -> str | None:
    return override[message].get(field, "") if message in override else None


def _given_headers(request: dict[str, Any], override: dict[str, Any]) -> dict[str, str]:
    """The task's headers and the queue's, which win; without those that the service sets itself."""
    chosen = {name.lower(): (name, value) for name, value in request.get("headers", {}).items()}
    for each in override.get("headerOverrides", ()):
        name = each["header"]["key"]
        chosen[name.lower()] = (name, each["header"].get("value", ""))
    return {
        name: value
        for lower, (name, value) in chosen.items()
        if lower not in REPLACED and not lower.startswith(REPLACED_PREFIXES)
    }


def _task_headers(task: Task) -> dict[str, str]:
    headers = {
        "User-Agent": "Google-Cloud-Tasks",
        "X-CloudTasks-QueueName": task.queue.rpartition("/")[2],
        "X-CloudTasks-TaskName": task.name.rpartition("/")[2],
        "X-CloudTasks-TaskRetryCount": str(task.attempts - 1),
        "X-CloudTasks-TaskExecutionCount": str(task.executions),
        "X-CloudTasks-TaskETA": f"{task.due:.6f}",
    }
    if task.previous:
        headers["X-CloudTasks-TaskPreviousResponse"] = str(task.previous)
    if task.last:
        headers["X-CloudTasks-TaskRetryReason"] = task.last["responseStatus"]["message"]
    return headers
