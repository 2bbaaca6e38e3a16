"""The base of every model on the wire."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel


def rfc3339(moment: datetime) -> str:
    """`2026-01-31T12:00:00.123456Z`: UTC, with a `Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _no_nul(text: str) -> str:
    """PostgreSQL's text holds no NUL, and UTF-8 no lone surrogate."""
    if "\x00" in text:
        raise ValueError("must not contain a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return text


def _in_utc(moment: datetime) -> datetime:
    """Offsets reach over both ends of the calendar, and what has no date in UTC cannot be stored."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time of the years 1 to 9999 in UTC") from None


#: A time that a caller sends, and one that is shown.
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Time = Annotated[AwareDatetime, PlainSerializer(rfc3339, when_used="json")]
Text = Annotated[str, AfterValidator(_no_nul)]


def absent(value: Any) -> bool:
    """For a field that some answers do not have: such an answer says nothing of it, not even null."""
    return value is None


class Request(BaseModel):
    """A body or a query that a caller sends: strict, and no field that we do not know."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, strict=True)


class Response(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, from_attributes=True)

    #: Whether a secret is shown: such an answer is never stored.
    no_store: ClassVar[bool] = False

    def headers(self) -> dict[str, str]:
        """The answer's own headers."""
        return {}

    def status_code(self) -> int | None:
        """The answer's status where it depends on what is answered; None for the route's."""
        return None

    def wire(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return self.model_dump(mode="json", by_alias=True)


class PageQuery(Request):
    """The query of every list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, Field(max_length=200)] | None = None


Item = TypeVar("Item")


class Page(Response, Generic[Item]):
    """A list, newest first. `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None
