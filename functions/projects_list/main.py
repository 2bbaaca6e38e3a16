"""GET /api/plugins/projects: the account's projects."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import projects
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.base import Page, PageQuery
from common.schemas.projects import Project


@endpoint(Route("GET", "/projects", scope="projects:read"))
def main(conn: Connection, caller: Caller, query: PageQuery) -> Page[Project]:
    """List the account's projects, newest first."""
    return projects.list_page(conn, caller, query)
