"""Projects: made and listed."""

from uuid import UUID

from common.auth.caller import Caller
from common.dal import projects as dal
from common.db import Connection
from common.domain import paging
from common.errors import NotFound
from common.schemas.base import Page, PageQuery
from common.schemas.projects import CreateProject, Project


def create(conn: Connection, caller: Caller, body: CreateProject) -> Project:
    """A new project. Conflict `name_taken` when the caller has one of this name."""
    return Project(**dal.insert(conn, caller.account_id, body.name, body.description))


def get(conn: Connection, caller: Caller, project_id: UUID) -> Project:
    """The caller's project. NotFound."""
    row = dal.find(conn, caller.account_id, project_id)
    if row is None:
        raise NotFound("There is no such project.")
    return Project(**row)


def list_page(conn: Connection, caller: Caller, query: PageQuery) -> Page[Project]:
    """The caller's projects, newest first."""
    rows = dal.list_page(conn, caller.account_id, paging.decode(query.cursor), query.limit + 1)
    items, next_cursor = paging.cut([Project(**row) for row in rows], query.limit)
    return Page[Project](items=items, next_cursor=next_cursor)
