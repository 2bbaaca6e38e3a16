"""The render engines, by name. Importing this loads no imaging library and no SDK: an engine does when it renders."""

from common.engines.base import Engine, EngineError, EngineInfo, Job, Picture, Quality, Report
from common.engines.gemini import Gemini
from common.engines.studio import Studio

__all__ = ["Engine", "EngineError", "EngineInfo", "Job", "Picture", "Quality", "Report", "choose", "get", "names"]

#: In the order in which `auto` prefers them.
_ENGINES: dict[str, Engine] = {"gemini": Gemini(), "studio": Studio()}


def names() -> list[str]:
    """The engines that are available, the one that `auto` chooses first."""
    return [name for name, engine in _ENGINES.items() if engine.available()]


def get(name: str) -> Engine:
    """The engine called `name`; raises EngineError `engine_unavailable` when it is not configured."""
    engine = _ENGINES.get(name)
    if engine is None or not engine.available():
        raise EngineError("engine_unavailable", f"The engine “{name}” is not available.", retryable=True)
    return engine


def choose(wanted: str) -> Engine:
    """The engine for `auto`, `studio` or `gemini`. A named engine is never replaced by another."""
    return get(next(iter(names()), "studio") if wanted == "auto" else wanted)
