"""The operator's views: each day's numbers are exactly those of its renders, and a day is UTC's."""

from datetime import UTC, datetime

import pytest

#: A time long ago that is no other test's: platform, version, who, with a key or not, status, when.
MADE = [
    ("revit", "1.0", 0, True, "succeeded", "2001-03-04T00:00:00"),
    ("revit", "1.0", 0, True, "succeeded", "2001-03-04T23:59:59"),
    ("revit", "1.1", 0, True, "failed", "2001-03-04T12:00:00"),
    ("revit", "1.0", 1, False, "canceled", "2001-03-04T12:00:00"),
    ("revit", None, 1, False, "expired", "2001-03-04T12:00:00"),
    ("rhino", "1.0", 0, False, "queued", "2001-03-04T12:00:00"),
    ("unknown", None, 2, False, "succeeded", "2001-03-04T12:00:00"),
    ("revit", "1.0", 2, False, "succeeded", "2001-03-05T00:00:00"),
]
DAYS = "WHERE day BETWEEN '2001-03-03' AND '2001-03-06'"


@pytest.fixture(scope="module")
def made(database):
    """The accounts, and the key of the first."""
    callers = [database.account() for _ in range(3)]
    key = database.sql(
        "INSERT INTO plugin_api_keys (account_id, name, scopes) VALUES (:id::uuid, 'office', '{}') RETURNING id",
        id=callers[0].account_id,
    )[0]["id"]
    for platform, version, who, with_key, status, at in MADE:
        database.sql(
            """
            INSERT INTO renders (account_id, key_id, upload_id, status, prompt, quality, seed, engine, quoted, charged,
                                 hold, metadata, created_at)
            VALUES (:account::uuid, :key::uuid, :upload::uuid, :status::text, 'a', 'high', 1, '{}', 4,
                    CASE WHEN :status = 'succeeded' THEN 4 ELSE 0 END,
                    CASE :status WHEN 'queued' THEN 'held' WHEN 'succeeded' THEN 'captured' ELSE 'released' END,
                    jsonb_build_object('sourcePlatform', :platform::text, 'pluginVersion', :version::text),
                    :at::timestamptz)
            RETURNING 1
            """,
            account=callers[who].account_id,
            key=key if with_key else None,
            upload=database.upload(callers[who]),
            status=status,
            platform=platform,
            version=version,
            at=datetime.fromisoformat(at).replace(tzinfo=UTC),
        )
    return callers, key


@pytest.fixture(params=["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def look(database, made, request):
    """Asks as an operator somewhere in the world."""

    def ask(query):
        with database.connection(database.owner_url) as conn:
            conn.rows("SELECT set_config('TimeZone', :zone::text, false)", zone=request.param)
            return [tuple(row.values()) for row in conn.rows(query)]

    return ask


def test_adoption_counts_renders_their_ends_users_and_credits(look):
    columns = "day::text, platform, renders, succeeded, failed, canceled, expired, users, credits_charged"
    assert look(f"SELECT {columns} FROM adoption_daily {DAYS} ORDER BY 1, 2") == [
        ("2001-03-04", "revit", 5, 2, 1, 1, 1, 2, 8),
        ("2001-03-04", "rhino", 1, 0, 0, 0, 0, 1, 0),
        ("2001-03-04", "unknown", 1, 1, 0, 0, 0, 1, 4),
        ("2001-03-05", "revit", 1, 1, 0, 0, 0, 1, 4),
    ]


def test_plugin_users_are_those_of_any_plugin_and_each_counts_once(look):
    assert look(f"SELECT day::text, users FROM plugin_users_daily {DAYS} ORDER BY 1") == [
        ("2001-03-04", 2),
        ("2001-03-05", 1),
    ]


def test_versions_are_counted_by_platform_and_one_that_was_not_told_is_unknown(look):
    columns = "day::text, platform, plugin_version, renders, users"
    assert look(f"SELECT {columns} FROM plugin_versions_daily {DAYS} ORDER BY 1, 2, 3") == [
        ("2001-03-04", "revit", "1.0", 3, 2),
        ("2001-03-04", "revit", "1.1", 1, 1),
        ("2001-03-04", "revit", "unknown", 1, 1),
        ("2001-03-04", "rhino", "1.0", 1, 1),
        ("2001-03-04", "unknown", "unknown", 1, 1),
        ("2001-03-05", "revit", "1.0", 1, 1),
    ]


def test_a_keys_use_is_its_renders_its_credits_and_its_last_time(look, made):
    callers, key = made
    columns = "day::text, key_id, account_id, name, renders, credits_charged, last_render_at"
    last = datetime(2001, 3, 4, 23, 59, 59, tzinfo=UTC)
    assert look(f"SELECT {columns} FROM key_use_daily {DAYS}") == [
        ("2001-03-04", key, callers[0].account_id, "office", 3, 8, last),
    ]
