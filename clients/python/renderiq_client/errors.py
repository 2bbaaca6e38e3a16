"""What can go wrong."""

from __future__ import annotations

from typing import Any


class RenderiqError(Exception):
    """The service refused. Branch on `code`, which is stable; show `detail`; give `request_id` to support.

    `status` is the HTTP status, 0 when the refusal was no answer of its own (a render that failed).
    `errors` lists `{field, message}`, `retry_after` are seconds, `problem` is the whole problem+json.
    """

    def __init__(self, status: int, problem: dict[str, Any], request_id: str | None = None) -> None:
        """`problem` is the answer's problem+json; `request_id` where that has none."""
        self.status = status
        self.problem = problem
        self.code = problem.get("code") or f"http_{status}"
        self.detail = problem.get("detail") or problem.get("title") or "The service gave no reason."
        self.request_id = problem.get("requestId") or request_id
        self.errors = problem.get("errors") or []
        self.retry_after = problem.get("retryAfter")
        super().__init__(self._told())

    def _told(self) -> str:
        status = f"{self.status} " if self.status else ""
        fields = "; ".join(f"{error.get('field')}: {error.get('message')}" for error in self.errors)
        request = f" [request {self.request_id}]" if self.request_id else ""
        return f"{status}{self.code}: {self.detail}" + (f" ({fields})" if fields else "") + request


class NetworkError(RenderiqError):
    """Nothing answered, after all retries: trying again later may help. `code` is `network`."""

    def __init__(self, detail: str) -> None:
        """`detail` says what happened last."""
        super().__init__(0, {"code": "network", "detail": detail})


class WebhookInvalid(ValueError):
    """This webhook was not sent by Renderiq, or too long ago."""
