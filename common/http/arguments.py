"""A function's arguments: from the path, the query and the body."""

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ValidationError

from common.auth.caller import Call
from common.errors import BadRequest, Invalid, MethodNotAllowed, NotFound, Problem
from common.http.spec import Spec
from common.routing import Route, pattern

if TYPE_CHECKING:
    from flask import Request

_ITEMS_OF_TEXT = re.compile(r"^Value (should have at (?:least|most) \d+ )item(s?) after validation")


def of_path(route: Route, called: Call) -> dict[str, Any]:
    """The path's parameters. An id that is none is not found, like one that is nobody's."""
    if route.method == "*":
        return {}
    found = pattern(route.full_path).fullmatch(called.path)
    if not found:
        raise NotFound
    if called.method != route.method:
        raise MethodNotAllowed(headers={"Allow": route.method})
    try:
        return {name: UUID(value) for name, value in found.groupdict().items()}
    except ValueError:
        return dict.fromkeys(found.groupdict(), UUID(int=0))


def of_models(spec: Spec, raw: bytes, request: "Request") -> dict[str, Any]:
    """The body and the query as their models."""
    found: dict[str, Any] = {}
    try:
        if "query" in spec.parameters:
            found["query"] = spec.parameters["query"].model_validate_strings(_query(request))
        if "body" in spec.parameters:
            found["body"] = spec.parameters["body"].model_validate_json(raw or b"{}")
        elif raw:
            NoBody.model_validate_json(raw)
    except ValidationError as error:
        raise _problem(error) from None
    return found


class NoBody(BaseModel, extra="forbid"):
    """What an endpoint without a body accepts: `{}`."""


def _query(request: "Request") -> dict[str, str]:
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise Invalid("A parameter stands twice.", errors=[{"field": n, "message": "given twice"} for n in repeated])
    return request.args.to_dict()


def _problem(error: ValidationError) -> Problem:
    """What pydantic found, in the contract's words; never the value, which may be a secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return BadRequest("The body is not valid JSON.")
    errors = [{"field": ".".join(map(str, item["loc"])), "message": _said(item["msg"])} for item in found]
    return Invalid("Some fields are not acceptable.", errors=errors)


def _said(message: str) -> str:
    """Pydantic counts a text's characters as items, because `Text` is more than its `str`."""
    return _ITEMS_OF_TEXT.sub(r"String \1character\2", message)
