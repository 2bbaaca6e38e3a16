"""What every engine is given and gives back. Nothing heavy is imported here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Quality = Literal["draft", "standard", "high"]
Report = Callable[[str], None]


@dataclass(frozen=True)
class EngineInfo:
    """What ran: told to the customer with every render."""

    name: str
    version: str
    ai: bool
    deterministic: bool


@dataclass(frozen=True)
class Job:
    """One picture to make.

    `snapshot`, `depth` and `normal` are whole PNG, JPEG or WebP files. Depth: grey, distance from the
    camera, the largest value (or 0) is the background. Normal: world normals as (n * 0.5 + 0.5) * 255.
    `geometry_fidelity` is 0..100 and for engines that could bend the geometry. `deadline` is a value of
    `time.monotonic()`.
    """

    snapshot: bytes
    depth: bytes | None
    normal: bytes | None
    prompt: str
    style: str | None
    quality: Quality
    seed: int
    geometry_fidelity: int | None
    deadline: float


@dataclass(frozen=True)
class Picture:
    """One file of the result; `width` and `height` in pixels."""

    role: str
    data: bytes
    content_type: str
    width: int
    height: int


class EngineError(Exception):
    """A render that an engine could not make; `code` is stable and part of the contract."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        """`retryable`: the same job may succeed later."""
        self.code = code
        self.message = message
        self.retryable = retryable
        super().__init__(f"{code}: {message}")


class Engine(Protocol):
    """Something that makes a picture of a snapshot."""

    @property
    def info(self) -> EngineInfo:
        """What this engine is."""

    def available(self) -> bool:
        """Whether a render could start now."""

    def render(self, job: Job, report: Report) -> list[Picture]:
        """The picture, then its thumbnail (at most 320 px).

        `report` is called with a stage's name before the stage. Raises EngineError; what `report` raises
        passes through, which is how a cancelled render stops.
        """
