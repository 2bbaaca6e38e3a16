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
    database.sql(OLD, account_id=database.account().account_id)
    with database.connection() as conn:
        assert [sessions.forget(conn, 2) for _ in range(3)] == [2, 1, 0]
    left = database.sql("SELECT device FROM sessions JOIN refresh_tokens ON session_id = id ORDER BY id DESC")
    assert [row["device"] for row in left] == ["0", "89", "90"]
    assert database.sql("SELECT count(*) AS n FROM refresh_tokens")[0]["n"] == 3
