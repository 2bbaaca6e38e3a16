"""Projects on the wire."""

import unicodedata
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from common.schemas.base import Request, Response, Text, Time

#: Control characters and what reorders the text around it; joiners are parts of words and emoji.
_UNSEEN = {*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
_BREAKS = {*"\t\n\r"}


def _composed(text: object) -> object:
    """One way to write what reads the same (NFC): names are compared, and lengths are counted, in it."""
    return unicodedata.normalize("NFC", text) if isinstance(text, str) else text


def _line(text: str) -> str:
    """Text of one line that can be seen."""
    if any(_is_control(char) for char in text):
        raise ValueError("must not contain control characters")
    if all(unicodedata.category(char)[0] in "CZM" for char in text):
        raise ValueError("must have a character that can be seen")
    return text


def _lines(text: str) -> str:
    if any(_is_control(char) and char not in _BREAKS for char in text):
        raise ValueError("must not contain control characters but line breaks and tabs")
    return text


def _is_control(char: str) -> bool:
    return char in _UNSEEN or unicodedata.category(char) == "Cc" or char in "\u2028\u2029"


Name = Annotated[
    Text,
    BeforeValidator(_composed),
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_line),
]
Description = Annotated[
    Text, BeforeValidator(_composed), StringConstraints(strip_whitespace=True, max_length=2000), AfterValidator(_lines)
]


class CreateProject(Request):
    """A name that no other project of the account has, whatever its case; of one line, trimmed."""

    name: Name
    description: Description | None = None


class Project(Response):
    """A folder of renders. `render_count` counts renders in every state."""

    id: UUID
    name: str
    description: str | None
    created_at: Time
    render_count: int
