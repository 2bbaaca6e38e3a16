"""What can go wrong."""

from __future__ import annotations

from typing import Any


class RenderiqError(Exception):
    """The service refused; `code` is stable, `request_id` helps support to find the request."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        """`problem` is the answer's problem+json."""
        self.status = status
        self.code = problem.get("code", "unknown")
        self.detail = problem.get("detail", "")
        self.request_id = problem.get("requestId")
        self.errors = problem.get("errors", [])
        fields = "; ".join(f"{e.get('field')}: {e.get('message')}" for e in self.errors)
        super().__init__(f"{status} {self.code}: {self.detail}" + (f" ({fields})" if fields else ""))


class NetworkError(RenderiqError):
    """No answer, after all retries."""

    def __init__(self, detail: str) -> None:
        """`detail` says what happened last."""
        super().__init__(0, {"code": "network", "detail": detail})


class WebhookInvalid(ValueError):
    """This webhook was not sent by Renderiq, or too long ago."""
