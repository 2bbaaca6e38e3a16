"""What the service refuses in a task: its documented limits."""

import base64
import binascii
import json
import re
from typing import Any
from urllib.parse import urlsplit

from tools.local.tasks.queues import retry_config
from tools.local.tasks.values import METHODS, check_headers, enum, invalid, seconds, unix

#: The client library's reference says 100 KB, the quota page 1 MB. The smaller one is refused, so that what works
#: here works there.
MAX_TASK_BYTES = 100 * 1024
MAX_URL = 2083
MAX_AHEAD_S = 30 * 86400
MIN_DEADLINE_S, MAX_DEADLINE_S = 15.0, 1800.0
WITH_BODY = ("POST", "PUT", "PATCH")


def task(queue_name: str, given: dict[str, Any], now: float) -> tuple[dict[str, Any], float]:
    """What is kept of a new task, and when it is due (Unix seconds). ApiError for what the service refuses."""
    name = given.get("name")
    if name and not re.fullmatch(re.escape(queue_name) + r"/tasks/[A-Za-z0-9_-]{1,500}", name):
        raise invalid(f"Task name {name!r} is malformed or of another queue")
    kept: dict[str, Any] = {"httpRequest": _http_request(given)}
    deadline = seconds(given.get("dispatchDeadline"))
    if given.get("dispatchDeadline"):
        if not MIN_DEADLINE_S <= deadline <= MAX_DEADLINE_S:
            raise invalid("Task.dispatchDeadline must be between 15s and 1800s")
        kept["dispatchDeadline"] = given["dispatchDeadline"]
    if given.get("retryConfig"):
        kept["retryConfig"] = retry_config(given["retryConfig"])
    due = unix(given["scheduleTime"]) if given.get("scheduleTime") else now
    if due > now + MAX_AHEAD_S:
        raise invalid("Task.scheduleTime must be at most 30 days in the future")
    return kept, max(due, now)


def _http_request(given: dict[str, Any]) -> dict[str, Any]:
    if "appEngineHttpRequest" in given:
        raise invalid("Task.appEngineHttpRequest: there is no App Engine locally, only HTTP targets")
    http = dict(given.get("httpRequest") or {})
    _check_url(http.get("url", ""))
    check_headers("HttpRequest", http.get("headers", {}))
    http["httpMethod"] = enum(METHODS, http.get("httpMethod", 0))
    body = _decoded(http.get("body", ""))
    if body and http["httpMethod"] not in WITH_BODY:
        raise invalid(f"HttpRequest.body is not allowed with {http['httpMethod']}")
    if "oauthToken" in http:
        raise invalid("HttpRequest.oauthToken: there are no OAuth tokens locally, only OIDC tokens")
    if "oidcToken" in http and not http["oidcToken"].get("serviceAccountEmail"):
        raise invalid("HttpRequest.oidcToken.serviceAccountEmail is required")
    rest = {key: value for key, value in http.items() if key != "body"}
    if len(json.dumps(rest)) + len(body) > MAX_TASK_BYTES:
        raise invalid(f"Task size too large: it must be at most {MAX_TASK_BYTES} bytes")
    return rest | ({"body": base64.b64encode(body).decode()} if body else {})


def _check_url(url: str) -> None:
    if not re.match(r"https?://[^/?#\s]", url) or re.search(r"[\x00-\x20\x7f]", url):
        raise invalid("HttpRequest.url is required, and must begin with http:// or https:// and name a host")
    if len(url) > MAX_URL:
        raise invalid(f"HttpRequest.url must be at most {MAX_URL} characters")
    if not url.isascii():
        raise invalid("HttpRequest.url must be percent-encoded")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise invalid(f"HttpRequest.url {url!r} is malformed")


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode(body.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        raise invalid("HttpRequest.body is not base64") from None
