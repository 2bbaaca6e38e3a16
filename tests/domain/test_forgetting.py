"""What nobody can use any more is forgotten, and nothing else."""

from common.dal import sessions

OLD = """
WITH session AS (
    INSERT INTO sessions (id, account_id, device, expires_at)
    SELECT uuidv7(-days * interval '1 day'), :account_id::uuid, days::text, now() + (90 - days) * interval '1 day'
    FROM unnest(ARRAY[0, 89, 90, 92, 93, 400]) days
    RETURNING id, device
),
token AS (INSERT INTO refresh_tokens (sha256, session_id) SELECT sha256(uuid_send(id)), id FROM session)
SELECT id FROM session
"""


def test_sessions_are_forgotten_91_days_after_they_began_with_their_tokens(database):
    account = database.account().account_id
    database.sql(OLD, account_id=account)
    with database.connection() as conn:
        assert [sessions.forget(conn, 2) for _ in range(3)] == [2, 1, 0]
    left = database.sql(
        "SELECT device, count(sha256) AS tokens FROM sessions LEFT JOIN refresh_tokens ON session_id = id"
        " WHERE account_id = :id::uuid GROUP BY id ORDER BY id DESC",
        id=account,
    )
    assert left == [{"device": device, "tokens": 1} for device in ("0", "89", "90")]
