"""API keys on the wire."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from common.auth.scopes import Scope
from common.schemas.base import Moment, Request, Response, Text, Time

Platform = Literal["sketchup", "revit", "autocad", "rhino", "archicad", "blender"]
Name = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]


class CreateKey(Request):
    """What a key may do and for how long. No platforms: any."""

    name: Name
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    expires_at: Moment | None = None
    platforms: Annotated[list[Platform], Field(max_length=6, default_factory=list)]


class CreatedKey(Response):
    """A new key; `key` is shown here and nowhere else."""

    no_store: ClassVar[bool] = True

    id: UUID
    name: str
    key: Annotated[str, Field(repr=False)]
    hint: str
    scopes: list[str]
    platforms: list[str]
    created_at: Time
    expires_at: Time | None


class Secret(Response):
    """One secret of a key: the current one, or one in its grace after a rotation."""

    hint: str
    created_at: Time
    valid_until: Time | None
    last_used_at: Time | None
    last_used_platform: str | None


class Key(Response):
    """A key as it is listed."""

    id: UUID
    name: str
    hint: str
    scopes: list[str]
    platforms: list[str]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    last_used_platform: str | None
    secrets: list[Secret]
