"""Lists of renders: by the index that fits the filters."""

from common.auth.caller import Caller
from common.dal import render_lists as dal
from common.db import Connection, Row
from common.domain import paging, render_views
from common.schemas.base import Page
from common.schemas.renders import PLATFORMS, STATUSES, ListedRender, ListRenders


def list_page(conn: Connection, caller: Caller, query: ListRenders) -> Page[ListedRender]:
    """The caller's renders that pass the filters, newest first."""
    items, next_cursor = paging.cut(render_views.listed(_rows(conn, caller, query)), query.limit)
    return Page[ListedRender](items=items, next_cursor=next_cursor)


def _rows(conn: Connection, caller: Caller, query: ListRenders) -> list[Row]:
    """One more than the page shows."""
    account_id, limit = caller.account_id, query.limit + 1
    within = dal.Within(*paging.id_range(query.cursor, query.since, query.until), query.since, query.until)
    if not (query.project_id or query.status or query.platform):
        return dal.list_page(conn, account_id, within, limit)
    statuses = [query.status] if query.status else STATUSES
    platforms = [query.platform] if query.platform else PLATFORMS
    if query.project_id:
        return dal.list_of_project(conn, account_id, query.project_id, statuses, platforms, within, limit)
    return dal.list_filtered(conn, account_id, statuses, platforms, within, limit)
