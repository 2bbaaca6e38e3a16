"""Projects on the wire."""

from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from common.schemas.base import Request, Response, Text, Time

Name = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Description = Annotated[Text, StringConstraints(max_length=2000)]


class CreateProject(Request):
    """A name that no other project of the account has, whatever its case."""

    name: Name
    description: Description | None = None


class Project(Response):
    """A folder of renders. `render_count` counts renders in every state."""

    id: UUID
    name: str
    description: str | None
    created_at: Time
    render_count: int
