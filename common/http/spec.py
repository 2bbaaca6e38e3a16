"""What a function declares of itself: its route, its parameters, its answer."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from common.http.idempotency import Replay
from common.routing import Route
from common.schemas.base import Response as Model


@dataclass(frozen=True, slots=True)
class Spec:
    """An endpoint as it declared itself: the endpoint table's row."""

    name: str
    route: Route
    summary: str
    parameters: Mapping[str, Any]
    returns: type[Model] | None
    replay: Replay | None
    work: Callable[..., Model | None]

    @classmethod
    def of(cls, work: Callable[..., Model | None], route: Route, replay: Replay | None = None) -> "Spec":
        """What the function `work` declares: its folder's name, its docstring and its annotations."""
        signature = inspect.signature(work)
        annotations = (signature.return_annotation, *get_args(signature.return_annotation))
        return cls(
            name=Path(inspect.getfile(work)).parent.name,
            route=route,
            summary=inspect.getdoc(work) or "",
            parameters={name: parameter.annotation for name, parameter in signature.parameters.items()},
            returns=next((found for found in annotations if inspect.isclass(found) and issubclass(found, Model)), None),
            replay=replay,
            work=work,
        )
