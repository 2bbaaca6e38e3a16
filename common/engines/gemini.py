"""The gemini engine: a Gemini image model on Vertex AI makes the picture, with application default credentials.

google-genai and Pillow are imported when a render starts, and only then. The model's id is configuration, and without
one the engine is not available. A blocked prompt and a text-only answer carry no picture and raise nothing in the SDK:
what they mean is told here.
"""

import logging
from typing import TYPE_CHECKING, Any

from common.config import settings
from common.engines.base import EngineError, EngineInfo, Job, Picture, Quality, Report

if TYPE_CHECKING:
    from google.genai import Client
    from google.genai.errors import APIError
    from google.genai.types import GenerateContentConfig, GenerateContentResponse, HttpOptions
    from PIL.Image import Image

_SIZES: dict[Quality, str] = {"draft": "1K", "standard": "2K", "high": "4K"}
_RATIOS = {
    "1:1": 1.0,
    "2:3": 2 / 3,
    "3:2": 1.5,
    "3:4": 0.75,
    "4:3": 4 / 3,
    "9:16": 9 / 16,
    "16:9": 16 / 9,
    "21:9": 7 / 3,
}
#: Pictures are sent inside the request, which has a limit; more would be reduced by the model anyway.
_SENT_SIDE = 2048
#: Seconds of the deadline that are kept for what comes after the answer.
_RESERVE_S = 5.0
_TRIES = 3
#: Why a candidate or a prompt is refused for what it shows, of all finish and block reasons.
_BLOCKED = {
    *("SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION", "MODEL_ARMOR", "JAILBREAK"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
}
_TIMEOUTS = {408, 499, 504}
_BUSY, _BAD_REQUEST, _TOO_LARGE = 429, 400, 413


class Gemini:
    """See the module."""

    @property
    def info(self) -> EngineInfo:
        """The version is the model's id: what it makes of the same seed is its own affair."""
        return EngineInfo(name="gemini", version=settings().gemini_model, ai=True, deterministic=False)

    def available(self) -> bool:
        """Whether a model is configured."""
        return bool(settings().gemini_model)

    def render(self, job: Job, report: Report) -> list[Picture]:
        """The model's picture as it came, and a JPEG thumbnail.

        Raises EngineError: `content_blocked`, `engine_no_output` and `engine_refused`, which the same job would meet
        again, or `engine_busy`, `engine_timeout` and `engine_unavailable`, which it may not.
        """
        report("prepare")
        snapshot = _decoded(job.snapshot, "snapshot")
        contents = _contents(job, snapshot)
        report("generate")
        answer = _generate(job, contents, _ratio(snapshot.width / snapshot.height))
        report("finish")
        return _pictures(*_output(answer))


def _decoded(data: bytes, what: str) -> "Image":
    from PIL.Image import Resampling

    from common.engines.studio_input import eight_bit, open_picture

    picture = eight_bit(open_picture(data, what)).convert("RGB")
    picture.thumbnail((_SENT_SIDE, _SENT_SIDE), Resampling.LANCZOS)
    return picture


def _contents(job: Job, snapshot: "Image") -> list[Any]:
    """The instructions, then each picture after the words that tell what it is."""
    from google.genai.types import Part

    from common.engines.encoding import jpeg

    parts = [Part.from_text(text=_instructions(job)), Part.from_bytes(data=jpeg(snapshot, 95), mime_type="image/jpeg")]
    for name, data in (("depth", job.depth), ("normal", job.normal)):
        if data:
            picture = jpeg(_decoded(data, f"{name} pass"), 95)
            parts += [
                Part.from_text(text=f"The {name} pass of the same view:"),
                Part.from_bytes(data=picture, mime_type="image/jpeg"),
            ]
    return parts


def _instructions(job: Job) -> str:
    fidelity = 100 if job.geometry_fidelity is None else job.geometry_fidelity
    return "\n".join(
        [
            "Make a photorealistic picture of this viewport snapshot of a CAD model.",
            "Keep the camera, the framing and the proportions, and leave out the program's own grid, axes and handles.",
            f"Geometry is kept to {fidelity} %: at 100 nothing is moved, added or left out.",
            *([f"Style: {job.style}"] if job.style else []),
            f"What is wanted: {job.prompt}",
        ]
    )


def _ratio(wanted: float) -> str:
    """The nearest aspect ratio that the model knows."""
    return min(_RATIOS, key=lambda name: max(_RATIOS[name] / wanted, wanted / _RATIOS[name]))


def _generate(job: Job, contents: list[Any], ratio: str) -> "GenerateContentResponse":
    import httpx2
    from google.auth.exceptions import GoogleAuthError
    from google.genai import errors

    try:
        with _client(_http(job.deadline - _RESERVE_S)) as client:
            return client.models.generate_content(
                model=settings().gemini_model, contents=contents, config=_config(job, ratio)
            )
    except errors.APIError as error:
        raise _told(error) from error
    except (httpx2.HTTPError, GoogleAuthError) as error:
        raise EngineError("engine_unavailable", "The engine cannot be reached.", retryable=True) from error


def _http(deadline: float) -> "HttpOptions":
    from google.genai.types import HttpOptions, HttpRetryOptions

    from common.engines.gemini_transport import DeadlineTransport

    retry = HttpRetryOptions(attempts=_TRIES, initial_delay=0.5, max_delay=5.0, http_status_codes=[_BUSY, 503])
    address = settings().gemini_endpoint or None
    client = {"transport": DeadlineTransport(deadline)}
    return HttpOptions(base_url=address, retry_options=retry, client_args=client)


def _client(options: "HttpOptions") -> "Client":
    """Project *and* location: with only one of them the SDK leaves both out of the path."""
    from google import genai

    config = settings()
    credentials = None
    if config.gemini_endpoint:
        from google.oauth2.credentials import Credentials

        credentials = Credentials("local")  # type: ignore[no-untyped-call]  # Google's
    return genai.Client(
        vertexai=True,
        project=config.require("google_cloud_project"),
        location=config.gemini_location,
        credentials=credentials,
        http_options=options,
    )


def _config(job: Job, ratio: str) -> "GenerateContentConfig":
    from google.genai.types import GenerateContentConfig, ImageConfig

    image = ImageConfig(aspect_ratio=ratio, image_size=_SIZES[job.quality])
    return GenerateContentConfig(response_modalities=["IMAGE"], seed=job.seed, candidate_count=1, image_config=image)


def _told(error: "APIError") -> EngineError:
    """What an HTTP error of the model's service means. Its own words may quote the prompt: nobody sees them."""
    from common.engines.gemini_transport import timeout

    logging.getLogger(__name__).warning("gemini answered %s %s", error.code, error.status)
    if error.code == _BUSY:
        return EngineError("engine_busy", "The engine is busy.", retryable=True)
    if error.code in _TIMEOUTS:
        return timeout()
    if error.code in (_BAD_REQUEST, _TOO_LARGE):
        return EngineError("engine_refused", "The engine does not accept this picture or prompt.", retryable=False)
    return EngineError("engine_unavailable", "The engine does not work at the moment.", retryable=True)


def _output(answer: "GenerateContentResponse") -> tuple[bytes, str]:
    """The last picture of the answer (drafts come first) and its type."""
    candidate = next(iter(answer.candidates or ()), None)
    parts = (candidate and candidate.content and candidate.content.parts) or ()
    found = [part.inline_data for part in parts if part.inline_data and part.inline_data.data and not part.thought]
    if found and found[-1].data:
        return found[-1].data, found[-1].mime_type or ""
    block = answer.prompt_feedback and answer.prompt_feedback.block_reason
    reason = block or (candidate and candidate.finish_reason)
    logging.getLogger(__name__).warning("gemini made no picture: %s", reason)
    if block or (reason and reason.value in _BLOCKED):
        raise EngineError("content_blocked", "The prompt or the picture is not allowed.", retryable=False)
    raise EngineError("engine_no_output", "The engine made no picture.", retryable=False)


def _pictures(data: bytes, content_type: str) -> list[Picture]:
    from common.engines.encoding import thumbnail
    from common.engines.studio_input import open_picture

    if content_type not in ("image/png", "image/jpeg", "image/webp"):
        raise EngineError("engine_no_output", "The engine made no picture.", retryable=False)
    try:
        picture = open_picture(data, "picture")
    except EngineError as error:
        raise EngineError("engine_no_output", "The engine's picture is damaged.", retryable=True) from error
    small = thumbnail(picture.convert("RGB"))
    return [Picture("picture", data, content_type, picture.width, picture.height), small]
