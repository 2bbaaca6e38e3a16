"""Queues and tasks as the v2 REST API shows them, their defaults and their limits."""

import re
from datetime import UTC, datetime
from typing import Any

#: Documented limits: a task of 1 MiB, scheduled at most 30 days ahead, a deadline of 15 s to 30 min.
MAX_TASK_BYTES = 1 << 20
MAX_AHEAD_S = 30 * 86400
MIN_DEADLINE_S, MAX_DEADLINE_S, DEFAULT_DEADLINE_S = 15.0, 1800.0, 600.0
MAX_RATE, MAX_CONCURRENT = 500.0, 5000
#: Protobuf's JSON takes an enum's number or its name.
METHODS = dict(enumerate(("POST", "POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")))


class ApiError(Exception):
    """An error as Google's APIs tell it."""

    def __init__(self, code: int, status: str, message: str) -> None:
        """`code` is the HTTP status, `status` gRPC's name of it."""
        super().__init__(message)
        self.code, self.status = code, status

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return {"error": {"code": self.code, "message": str(self), "status": self.status}}


def invalid(message: str) -> ApiError:
    """The request cannot be accepted."""
    return ApiError(400, "INVALID_ARGUMENT", message)


def seconds(duration: str | None) -> float:
    """`3.5s` as 3.5; 0 for none."""
    return float(duration.removesuffix("s")) if duration else 0.0


def timestamp(moment: float) -> str:
    """Unix seconds as RFC 3339."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unix(text: str) -> float:
    """RFC 3339, with up to nine digits of a second, as Unix seconds."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


def queue(body: dict[str, Any]) -> dict[str, Any]:
    """A queue's resource with the service's defaults filled in."""
    if not re.fullmatch(r"projects/[^/]+/locations/[^/]+/queues/[A-Za-z0-9-]{1,100}", body.get("name", "")):
        raise invalid(f"Queue name {body.get('name')!r} is malformed")
    limits, retry = body.get("rateLimits", {}), body.get("retryConfig", {})
    rate = min(float(limits.get("maxDispatchesPerSecond") or MAX_RATE), MAX_RATE)
    return {
        **body,
        "state": body.get("state", "RUNNING"),
        "rateLimits": {
            "maxDispatchesPerSecond": rate,
            "maxBurstSize": limits.get("maxBurstSize") or max(1, min(100, int(rate))),
            "maxConcurrentDispatches": min(limits.get("maxConcurrentDispatches") or 1000, MAX_CONCURRENT),
        },
        "retryConfig": {
            "maxAttempts": retry.get("maxAttempts") or 100,
            "minBackoff": retry.get("minBackoff") or "0.100s",
            "maxBackoff": retry.get("maxBackoff") or "3600s",
            "maxDoublings": retry.get("maxDoublings") or 16,
            "maxRetryDuration": retry.get("maxRetryDuration") or "0s",
        },
    }


def check_task(queue_name: str, task: dict[str, Any], size: int, now: float) -> float:
    """When the task is due, in Unix seconds; ApiError for what the service refuses."""
    http = task.get("httpRequest") or {}
    if not re.match(r"https?://", http.get("url", "")):
        raise invalid("HttpRequest.url is required, and starts with http:// or https://")
    if size > MAX_TASK_BYTES:
        raise invalid("Task size too large")
    deadline = seconds(task.get("dispatchDeadline"))
    if deadline and not MIN_DEADLINE_S <= deadline <= MAX_DEADLINE_S:
        raise invalid("Task.dispatchDeadline must be between 15s and 30m")
    name = task.get("name")
    if name and not re.fullmatch(re.escape(queue_name) + r"/tasks/[A-Za-z0-9_-]{1,500}", name):
        raise invalid(f"Task name {name!r} is malformed or of another queue")
    due = unix(task["scheduleTime"]) if task.get("scheduleTime") else now
    if due > now + MAX_AHEAD_S:
        raise invalid("Task.scheduleTime is too far in the future")
    return max(due, now)


def backoff(retry: dict[str, Any], failed: int) -> float:
    """Seconds to wait after the `failed`-th failure: doubled `maxDoublings` times, then linear, then flat."""
    low, high, doublings = seconds(retry["minBackoff"]), seconds(retry["maxBackoff"]), retry["maxDoublings"]
    linear = max(0, failed - 1 - doublings) * low * 2.0**doublings
    return float(min(low * 2.0 ** min(failed - 1, doublings) + linear, high))


def exhausted(retry: dict[str, Any], attempts: int, first: float, now: float) -> bool:
    """Whether a task has failed for good: both limits, where both are set, must be exceeded."""
    longest = seconds(retry["maxRetryDuration"])
    too_many = retry["maxAttempts"] > 0 and attempts >= retry["maxAttempts"]
    return too_many and (not longest or now - first >= longest)


def target(queue_body: dict[str, Any], http: dict[str, Any]) -> tuple[str, str, dict[str, Any] | None]:
    """Method, URL and OIDC token of a dispatch: the task's, overridden by the queue's `httpTarget`."""
    override = queue_body.get("httpTarget", {})
    uri = override.get("uriOverride", {})
    found = re.fullmatch(r"(https?)://([^/:]+)(?::(\d+))?([^?]*)(\?.*)?", http["url"])
    if not found:
        raise invalid("HttpRequest.url is malformed")
    scheme, host, port, path, query = found.groups(default="")
    scheme = uri.get("scheme", scheme).lower()
    port = uri.get("port", "" if uri.get("host") else port)
    path = uri.get("pathOverride", {}).get("path", path) or "/"
    url = f"{scheme}://{uri.get('host', host)}{f':{port}' if port else ''}{path}{query}"
    method = override.get("httpMethod") or http.get("httpMethod", "POST")
    method = METHODS.get(method, method) if isinstance(method, int) else method
    return str(method), url, override.get("oidcToken") or http.get("oidcToken")
