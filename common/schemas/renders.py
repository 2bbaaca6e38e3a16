"""Renders on the wire."""

import hashlib
from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import Field, PrivateAttr

from common.engines.base import Quality
from common.routing import BASE_PATH
from common.schemas.base import Moment, PageQuery, Request, Response, Text, Time

Status = Literal["queued", "processing", "succeeded", "failed", "canceled", "expired"]
Platform = Literal["sketchup", "revit", "autocad", "rhino", "archicad", "blender", "unknown"]
STATUSES: tuple[Status, ...] = get_args(Status)
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
#: What numpy and every model take as a seed.
MAX_SEED = 2**31 - 1


class CreateRender(Request):
    """A picture to make of a ready upload. `callback_url` is recorded; it is one of the caller's webhooks."""

    upload_id: UUID
    prompt: Annotated[Text, Field(min_length=1, max_length=4000)]
    project_id: UUID | None = None
    style: Annotated[Text, Field(min_length=1, max_length=100)] | None = None
    quality: Quality = "standard"
    engine: Literal["auto", "studio", "gemini"] = "auto"
    depth_upload_id: UUID | None = None
    normal_upload_id: UUID | None = None
    geometry_fidelity: Annotated[int, Field(ge=0, le=100)] | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    callback_url: Annotated[Text, Field(min_length=1, max_length=2048)] | None = None


class ListRenders(PageQuery):
    """A list's filters; `since` is included, `until` is not."""

    project_id: UUID | None = None
    status: Status | None = None
    platform: Platform | None = None
    since: Moment | None = None
    until: Moment | None = None


class RunRender(Request):
    """The task that runs a render."""

    render_id: UUID


class RenderEngine(Response):
    """What makes the picture."""

    name: str
    version: str
    ai: bool
    deterministic: bool


class Cost(Response):
    """In credits: what is held for the render, and what was taken once it succeeded (else 0)."""

    quoted: int
    charged: int


class ListedFile(Response):
    """One file of the result: `picture` or `thumbnail`. `width` and `height` in pixels, `sha256` in hex."""

    role: str
    content_type: str
    width: int
    height: int
    bytes: int
    sha256: str


class File(ListedFile):
    """A file that may be fetched at `url` until `expires_at`."""

    url: str
    expires_at: Time


class Output(Response):
    """What a render made; the first file is the picture. The files are kept until `available_until`."""

    files: list[File]
    available_until: Time


class ListedOutput(Response):
    """What a render made; ask for the render itself to get URLs."""

    files: list[ListedFile]
    available_until: Time


class Failure(Response):
    """Why there is no picture. `retryable`: the same render may succeed later."""

    code: str
    message: str
    retryable: bool


class Telemetry(Response):
    """Where the render came from."""

    source_platform: str
    plugin_version: str | None
    user_agent: str
    callback_url: str | None


class BaseRender(Response):
    """What every view of a render shows. `terminal`: it does not change any more."""

    id: UUID
    status: Status
    terminal: bool
    stage: str
    project_id: UUID | None
    prompt: str
    style: str | None
    quality: Quality
    seed: int
    geometry_fidelity: int | None
    engine: RenderEngine
    cost: Cost
    error: Failure | None
    metadata: Telemetry
    created_at: Time
    started_at: Time | None
    completed_at: Time | None


class Render(BaseRender):
    """A render with what it made."""

    output: Output | None
    #: Seconds until it is worth asking again; None when it is terminal.
    _retry_after: int | None = PrivateAttr(default=None)

    def headers(self) -> dict[str, str]:
        """An ETag that stays while nothing changes, and when to ask again."""
        headers = {"ETag": f'"{hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:32]}"'}
        if self._retry_after is not None:
            headers["Retry-After"] = str(self._retry_after)
        return headers

    def asked_again_after(self, seconds: int | None) -> "Render":
        """The same render with `Retry-After`."""
        self._retry_after = seconds
        return self


class CreatedRender(Render):
    """A render as it was just made, with its place."""

    def headers(self) -> dict[str, str]:
        """Those of a render, and where it is."""
        return super().headers() | {"Location": f"{BASE_PATH}/renders/{self.id}"}


class ListedRender(BaseRender):
    """A render in a list: its files without URLs, but for a small picture to show."""

    output: ListedOutput | None
    thumbnail_url: str | None
