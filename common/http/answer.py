"""Answers: models as JSON, problems as problem+json."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from common.errors import Problem
from common.schemas.base import Response as Model

if TYPE_CHECKING:
    from flask import Response

PROBLEM_TYPE = "https://docs.renderiq.example/problems/"
REALM = 'Bearer realm="renderiq"'


def of_model(model: Model | None, status: int, headers: Mapping[str, str]) -> "Response":
    """`model` as JSON; no body when there is none, or when `status` is 204."""
    from flask import Response

    if model is None:
        return Response(status=status, headers=dict(headers))
    own = {**headers, **model.headers()}
    if status == 204:  # noqa: PLR2004 - No Content
        return Response(status=status, headers=own)
    if model.no_store:
        own["Cache-Control"] = "no-store"
    return Response(
        model.model_dump_json(by_alias=True),
        model.status_code() or status,
        own,
        content_type="application/json",
    )


def of_problem(problem: Problem, request_id: str, headers: Mapping[str, str]) -> "Response":
    """`problem` as RFC 9457 tells it, with the challenge that RFC 6750 asks for."""
    from flask import Response

    content: dict[str, Any] = {
        "type": PROBLEM_TYPE + problem.code.replace("_", "-"),
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "requestId": request_id,
        **{_camel(name): value for name, value in problem.members.items()},
    }
    own = {**headers, **problem.headers}
    if problem.status in (401, 403):
        own.setdefault("WWW-Authenticate", challenge(problem))
        own["Cache-Control"] = "no-store"
    return Response(json.dumps(content), problem.status, own, content_type="application/problem+json")


def challenge(problem: Problem) -> str:
    """The `WWW-Authenticate` of a 401 or 403."""
    match problem.code:
        case "insufficient_scope":
            return f'{REALM}, error="insufficient_scope", scope="{problem.members.get("scope", "")}"'
        case "invalid_token" | "invalid_key" | "key_expired" | "key_revoked":
            return f'{REALM}, error="invalid_token", error_description="{problem.detail}"'
        case _:
            return REALM


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
