"""Lists of renders: every combination of filters, page by page, is what a look at every row would give."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from common.domain import render_lists, renders
from common.schemas.renders import PLATFORMS, STATUSES, CreateRender, ListRenders

MADE = 120


@pytest.fixture(scope="module")
def made(database):
    """An account with renders of every kind over ten days, and another account's beside them."""
    chance = random.Random(4)
    caller, other = database.account(1), database.account(1)
    projects = [
        database.sql(
            "INSERT INTO projects (account_id, name) VALUES (:id::uuid, :name::text) RETURNING id",
            id=caller.account_id,
            name=name,
        )[0]["id"]
        for name in ("one", "two")
    ]
    rows = []
    for owner in (caller, other):
        upload = database.upload(owner)
        for _ in range(MADE):
            status, platform = chance.choice(STATUSES), chance.choice(PLATFORMS)
            project = chance.choice([*projects, None]) if owner is caller else None
            rows += database.sql(
                """
                INSERT INTO renders (id, account_id, project_id, upload_id, status, prompt, quality, seed, engine,
                                     quoted, charged, hold, metadata, created_at)
                SELECT uuidv7(-age), :account::uuid, :project::uuid, :upload::uuid, :status::text, 'a', 'draft', 1,
                       '{"name": "studio", "version": "1", "ai": false, "deterministic": true}', 1,
                       (:status = 'succeeded')::int,
                       CASE WHEN :status IN ('queued', 'processing') THEN 'held'
                            WHEN :status = 'succeeded' THEN 'captured' ELSE 'released' END,
                       jsonb_build_object('sourcePlatform', :platform::text, 'pluginVersion', null, 'userAgent', '',
                                          'callbackUrl', null), now() - age
                FROM (SELECT :age::int * interval '1 second' AS age) a
                RETURNING id, account_id, project_id, status, metadata, created_at
                """,
                account=owner.account_id,
                project=project,
                upload=upload,
                status=status,
                platform=platform,
                age=chance.randrange(10 * 86_400),
            )
    return caller, projects, [row for row in rows if row["account_id"] == caller.account_id]


def paged(database, caller, limit, **filters):
    found, cursor = [], None
    with database.connection() as conn:
        while True:
            page = render_lists.list_page(conn, caller, ListRenders(limit=limit, cursor=cursor, **filters))
            found += [render.id for render in page.items]
            assert len(page.items) <= limit
            if (cursor := page.next_cursor) is None:
                return found


def test_any_filters_together_give_what_a_look_at_every_row_gives(database, made):
    caller, projects, rows = made
    now = datetime.now(UTC)
    times = [None, now - timedelta(days=2, seconds=17), now - timedelta(days=6)]
    combinations = itertools.product([None, projects[0]], [None, "failed"], [None, "revit"], times, times)
    for project, status, platform, since, until in combinations:
        filters = {"projectId": project, "status": status, "platform": platform, "since": since, "until": until}
        wanted = [
            row["id"]
            for row in sorted(rows, key=lambda row: row["id"], reverse=True)
            if (project is None or row["project_id"] == project)
            and (status is None or row["status"] == status)
            and (platform is None or row["metadata"]["sourcePlatform"] == platform)
            and (since is None or row["created_at"] >= since)
            and (until is None or row["created_at"] < until)
        ]
        for limit in (7, 100):
            assert paged(database, caller, limit, **filters) == wanted, filters


def test_somebody_elses_project_shows_none_of_its_renders(database, made):
    _, projects, rows = made
    assert any(row["project_id"] == projects[0] for row in rows)
    assert paged(database, database.account(), 100, projectId=projects[0]) == []


def test_a_time_is_exact_at_its_ends(database, made):
    caller, _, rows = made
    middle = sorted((row for row in rows if row["project_id"]), key=lambda row: row["created_at"])[MADE // 4]
    moment = middle["created_at"]
    just_after = moment + timedelta(microseconds=1)
    for filters in ({}, {"platform": middle["metadata"]["sourcePlatform"]}, {"projectId": middle["project_id"]}):
        alike = [
            row["created_at"]
            for row in rows
            if row["metadata"]["sourcePlatform"] == filters.get("platform", row["metadata"]["sourcePlatform"])
            and row["project_id"] == filters.get("projectId", row["project_id"])
        ]
        assert len(paged(database, caller, 50, since=moment, **filters)) == sum(at >= moment for at in alike)
        assert len(paged(database, caller, 50, until=moment, **filters)) == sum(at < moment for at in alike)
        assert len(paged(database, caller, 50, until=just_after, **filters)) == sum(at <= moment for at in alike)


@pytest.mark.parametrize("moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_times_that_no_render_has_are_no_error(database, made, moment):
    caller, _, rows = made
    assert len(paged(database, caller, 100, since=moment)) + len(paged(database, caller, 100, until=moment)) == MADE


def test_a_cursor_is_not_moved_by_what_comes_in_meanwhile(database, made):
    caller, _, rows = made
    with database.connection() as conn:
        first = render_lists.list_page(conn, caller, ListRenders(limit=5))
        body = CreateRender(uploadId=database.upload(caller), prompt="a", quality="draft")
        with conn.transaction():
            made_meanwhile = renders.create(conn, caller, body).id
        again = render_lists.list_page(conn, caller, ListRenders(limit=5, cursor=first.next_cursor))
    wanted = sorted((row["id"] for row in rows), reverse=True)
    assert [render.id for render in (*first.items, *again.items)] == wanted[:10]
    assert paged(database, caller, 50) == [made_meanwhile, *wanted]
