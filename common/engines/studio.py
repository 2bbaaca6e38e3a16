"""The studio engine: a graded picture from a snapshot, lit when depth or normal passes come with it.

No AI and no network: numpy and Pillow, imported when a render starts. The same job gives the same bytes.
It never moves geometry, so `geometry_fidelity` changes nothing here.
"""

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from common.engines.base import EngineError, EngineInfo, Job, Picture, Report
from common.engines.studio_look import Look, look_for

if TYPE_CHECKING:
    from common.engines.studio_input import Source
    from common.engines.studio_light import Light

_SCALE = {"draft": 0.75, "standard": 1.0, "high": 1.5}
_LIGHT_PIXELS = {"draft": 90_000, "standard": 260_000, "high": 1_100_000}


class Studio:
    """See the module."""

    info = EngineInfo(name="studio", version="1.2", ai=False, deterministic=True)

    def available(self) -> bool:
        """Whether numpy and Pillow are installed."""
        return find_spec("numpy") is not None and find_spec("PIL") is not None

    def render(self, job: Job, report: Report) -> list[Picture]:
        """A JPEG picture of 0.75, 1 or 1.5 times the snapshot's size, and a JPEG thumbnail.

        A snapshot above 16 Mpx is reduced to that first. Raises EngineError `snapshot_unreadable` or
        `engine_timeout`.
        """
        from common.engines import studio_finish, studio_grade, studio_input

        def stage(name: str) -> None:
            check_deadline(job.deadline)
            report(name)

        stage("prepare")
        look = look_for(job.prompt, job.style)
        source = studio_input.read(job, _SCALE[job.quality], keep_background=look.indoors)
        light = _light(job, source, look, stage) if source.has_passes else None
        stage("grade")
        pixels = studio_grade.grade(source, look, light, job.seed, lambda: check_deadline(job.deadline))
        stage("finish")
        return studio_finish.pictures(pixels)


def check_deadline(deadline: float) -> None:
    """Raises EngineError `engine_timeout` once `time.monotonic()` has passed `deadline`."""
    if time.monotonic() >= deadline:
        raise EngineError("engine_timeout", "The render took longer than it may.", retryable=True)


def _light(job: Job, source: "Source", look: Look, stage: Report) -> "Light":
    from common.engines import studio_light, studio_scene

    stage("geometry")
    scene = studio_scene.build(source.depth, source.normal, _LIGHT_PIXELS[job.quality])
    stage("light")
    return studio_light.light(scene, look, source.colour(scene.shape), source.normal, job.seed)
