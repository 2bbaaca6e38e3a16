"""POST /api/plugins/projects: make a project."""

from common.auth.caller import Caller
from common.db import Connection
from common.domain import projects
from common.http.endpoint import endpoint
from common.routing import Route
from common.schemas.projects import CreateProject, Project


@endpoint(Route("POST", "/projects", scope="projects:write", status=201), replay=projects.get)
def main(conn: Connection, caller: Caller, body: CreateProject) -> Project:
    """Make a project that renders can be put in. Its name is the account's only one, whatever its case."""
    return projects.create(conn, caller, body)
