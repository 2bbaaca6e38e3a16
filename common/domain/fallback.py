"""What is not in the endpoint table: a path nobody has, or a known path with another method."""

import json
from functools import cache
from pathlib import Path
from typing import NoReturn

from common.errors import MethodNotAllowed, NotFound
from common.routing import pattern

TABLE = Path(__file__).parents[2] / "terraform" / "functions.json"


@cache
def _public() -> list[tuple[str, str]]:
    """The method and path of every public endpoint."""
    rows = json.loads(TABLE.read_text())["functions"]
    return [(row["method"], row["path"]) for row in rows if not row["internal"] and row["method"] != "*"]


def refuse(path: str) -> NoReturn:
    """404, or 405 with the methods that the path has."""
    allowed = sorted({method for method, template in _public() if pattern(template).fullmatch(path)})
    if allowed:
        raise MethodNotAllowed(headers={"Allow": ", ".join(allowed)})
    raise NotFound("No endpoint has this path.")
