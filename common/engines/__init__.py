"""The render engines, by name. Importing this loads no imaging library: an engine does when it renders."""

from common.engines.base import Engine, EngineError, EngineInfo, Job, Picture, Quality, Report
from common.engines.studio import Studio

__all__ = ["Engine", "EngineError", "EngineInfo", "Job", "Picture", "Quality", "Report", "choose", "get"]

_ENGINES: dict[str, Engine] = {"studio": Studio()}


def get(name: str) -> Engine:
    """The engine called `name`; raises EngineError `engine_unavailable` when it is not configured."""
    engine = _ENGINES.get(name)
    if engine is None or not engine.available():
        raise EngineError("engine_unavailable", f"The engine “{name}” is not available.", retryable=True)
    return engine


def choose(wanted: str) -> Engine:
    """The engine for `auto`, `studio` or `gemini`. A named engine is never replaced by another."""
    return get("studio" if wanted == "auto" else wanted)
