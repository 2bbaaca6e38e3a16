"""The caller statement: credential, session, scope, platform and both limits in one round trip.

It runs alone, autocommitted, before any transaction: a refused request still counts, and a busy user's row is
locked for microseconds. There is no cache between a revocation and its effect.
"""

from uuid import UUID

from common.db import Connection, Row


def identify(
    conn: Connection,
    *,
    key_sha256: bytes | None = None,
    session_id: UUID | None = None,
    session_account_id: UUID | None = None,
    cookie_sha256: bytes | None = None,
    external_subject: str | None = None,
    scope: str,
    platform: str,
    buckets: list[str],
    cost: int,
    user_interval_s: float,
    platform_interval_s: float,
    spend: bool,
) -> Row | None:
    """The credential's row with what its limits say, or None when there is no such credential.

    A secret of a key, a session of an access token, a session of the dashboard's cookie (30 days idle at most),
    or the account of an external issuer's subject: whichever is not None.

    `scope` is a scope's name, `any` or `session`. A `platform` that is `unknown` counts as the only one that a key is
    bound to. `buckets` are the platforms in the order of `arrivals`, after the user's own. `cost` times an interval
    (seconds a request) is what a call takes; a burst is a minute's worth. Nothing is taken when the credential is
    refused, when one bucket is too full, or when `spend` is false.

    `platform` is what the call counts as. `spent` tells whether the cost was taken; `user_full_s` and
    `platform_full_s` how full the buckets are after it, in seconds until they are empty. `rotate_by` is set when a
    current secret is past 80 % of its key's greatest age.

    GCRA, as told in docs/limits.md. An arrival beyond a minute and 10 s from now is garbage (a clock that
    jumped): it counts as now, so that it heals. READ COMMITTED is needed: the conflicting update sees the row
    as it is when its lock is got.
    """
    return conn.maybe(
        """
        WITH credential AS (
            SELECT 'api_key' AS kind, k.account_id, k.id AS key_id, k.name AS key_name, k.scopes, k.platforms,
                   k.expires_at, k.revoked_at, s.id AS secret_id, s.valid_until, s.first_used_at, s.last_used_at,
                   s.last_used_platform, NULL::uuid AS session_id, NULL::timestamptz AS ended_at,
                   s.created_at AS made_at, k.max_age_days
            FROM plugin_api_key_secrets s JOIN plugin_api_keys k ON k.id = s.key_id
            WHERE s.sha256 = :key_sha256::bytea
            UNION ALL
            SELECT 'session', account_id, NULL, NULL, '{}', '{}', expires_at, NULL, NULL, NULL, NULL, last_used_at,
                   NULL, id, ended_at, NULL, NULL
            FROM sessions
            WHERE id = :session_id::uuid AND account_id = :session_account_id::uuid AND cookie_sha256 IS NULL
            UNION ALL
            SELECT 'session', account_id, NULL, NULL, '{}', '{}',
                   least(expires_at, last_used_at + interval '30 days'), NULL, NULL, NULL, NULL, last_used_at,
                   NULL, id, ended_at, NULL, NULL
            FROM sessions
            WHERE cookie_sha256 = :cookie_sha256::bytea
            UNION ALL
            SELECT 'session', id, NULL, NULL, '{}', '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                   NULL, NULL
            FROM accounts
            WHERE external_subject = :external_subject::text
        ),
        judged AS (
            SELECT c.*, a.email, a.name AS account_name, p.platform,
                   CASE
                       WHEN a.disabled_at IS NOT NULL OR c.ended_at IS NOT NULL THEN 'ended'
                       WHEN c.revoked_at IS NOT NULL THEN 'revoked'
                       WHEN c.expires_at <= now() THEN 'expired'
                       WHEN c.valid_until <= now() THEN 'rotated_out'
                       WHEN c.kind = 'api_key' AND :scope::text = 'session' THEN 'session_required'
                       WHEN c.kind = 'api_key' AND :scope <> 'any' AND NOT :scope = ANY (c.scopes)
                           THEN 'insufficient_scope'
                       WHEN cardinality(c.platforms) > 0 AND NOT p.platform = ANY (c.platforms)
                           THEN 'platform_not_allowed'
                       ELSE 'ok'
                   END AS verdict
            FROM credential c JOIN accounts a ON a.id = c.account_id
            CROSS JOIN LATERAL (
                SELECT CASE WHEN :platform::text = 'unknown' AND cardinality(c.platforms) = 1 THEN c.platforms[1]
                            ELSE :platform END AS platform
            ) p
        ),
        moment AS (SELECT now() AS at, now() + interval '70 seconds' AS sane),
        -- Where the platform's time stands among the arrivals: after the user's, which is the first.
        place AS (SELECT array_position(:buckets::text[], platform) + 1 AS n FROM judged),
        before AS (
            SELECT l.account_id,
                   CASE WHEN l.arrivals[1] > m.sane THEN m.at
                        ELSE greatest(l.arrivals[1], m.at) END AS user_at,
                   CASE WHEN l.arrivals[p.n] > m.sane THEN m.at
                        ELSE greatest(l.arrivals[p.n], m.at) END AS platform_at
            FROM rate_limits l JOIN judged j USING (account_id) CROSS JOIN place p CROSS JOIN moment m
        ),
        spent AS (
            INSERT INTO rate_limits AS l (account_id, arrivals)
            SELECT j.account_id,
                   (m.at + :cost::int * :user_interval_s::float8 * interval '1 second')
                   || array_fill(m.at, ARRAY[p.n - 2])
                   || (m.at + :cost * :platform_interval_s::float8 * interval '1 second')
            FROM judged j CROSS JOIN place p CROSS JOIN moment m
            WHERE j.verdict = 'ok' AND :spend::boolean
              AND :cost * greatest(:user_interval_s, :platform_interval_s) <= 60
            ON CONFLICT (account_id) DO UPDATE SET
                arrivals[1] = CASE WHEN l.arrivals[1] > now() + interval '70 seconds' THEN now()
                                   ELSE greatest(l.arrivals[1], now()) END
                              + :cost * :user_interval_s * interval '1 second',
                arrivals[(SELECT n FROM place)] =
                    CASE WHEN l.arrivals[(SELECT n FROM place)] > now() + interval '70 seconds' THEN now()
                         ELSE greatest(l.arrivals[(SELECT n FROM place)], now()) END
                    + :cost * :platform_interval_s * interval '1 second'
            WHERE (l.arrivals[1] > now() + interval '70 seconds'
                   OR greatest(l.arrivals[1], now()) + :cost * :user_interval_s * interval '1 second'
                      <= now() + interval '60 seconds')
              AND (l.arrivals[(SELECT n FROM place)] > now() + interval '70 seconds'
                   OR greatest(l.arrivals[(SELECT n FROM place)], now())
                      + :cost * :platform_interval_s * interval '1 second' <= now() + interval '60 seconds')
            RETURNING account_id, arrivals[1] AS user_at, arrivals[(SELECT n FROM place)] AS platform_at
        ),
        touched_secret AS (
            -- First used as soon as somebody has it: what it may do does not matter to a rotation.
            UPDATE plugin_api_key_secrets s
            SET last_used_at = CASE WHEN j.verdict = 'ok' THEN now() ELSE s.last_used_at END,
                last_used_platform = CASE WHEN j.verdict = 'ok' THEN j.platform ELSE s.last_used_platform END,
                first_used_at = coalesce(s.first_used_at, now())
            FROM judged j
            WHERE s.id = j.secret_id AND j.verdict NOT IN ('ended', 'revoked', 'expired', 'rotated_out')
              AND (j.first_used_at IS NULL
                   OR (j.verdict = 'ok' AND (j.last_used_at IS NULL OR j.last_used_at < now() - interval '1 minute'
                                             OR j.last_used_platform IS DISTINCT FROM j.platform)))
        ),
        touched_session AS (
            UPDATE sessions s SET last_used_at = now()
            FROM judged j
            WHERE s.id = j.session_id AND j.verdict = 'ok' AND j.last_used_at < now() - interval '1 minute'
        )
        SELECT j.verdict, j.kind, j.account_id, j.email, j.account_name, j.key_id, j.key_name, j.scopes,
               j.session_id, j.platform, j.platforms AS key_platforms, j.valid_until,
               CASE WHEN j.kind = 'api_key' THEN j.expires_at END AS key_expires_at,
               s.account_id IS NOT NULL AS spent,
               CASE WHEN j.valid_until IS NULL AND m.at >= j.made_at + j.max_age_days * interval '1 day' * 0.8
                    THEN j.made_at + j.max_age_days * interval '1 day' END AS rotate_by,
               extract(epoch FROM coalesce(s.user_at, b.user_at, m.at) - m.at)::float8 AS user_full_s,
               extract(epoch FROM coalesce(s.platform_at, b.platform_at, m.at) - m.at)::float8 AS platform_full_s
        FROM judged j CROSS JOIN moment m
        LEFT JOIN before b USING (account_id)
        LEFT JOIN spent s USING (account_id)
        """,
        key_sha256=key_sha256,
        session_id=session_id,
        session_account_id=session_account_id,
        cookie_sha256=cookie_sha256,
        external_subject=external_subject,
        scope=scope,
        platform=platform,
        buckets=buckets,
        cost=cost,
        user_interval_s=user_interval_s,
        platform_interval_s=platform_interval_s,
        spend=spend,
    )


def give_back(conn: Connection, bucket: str, interval_s: float) -> None:
    """Give back what `attempt` took from `bucket`: the attempt was a good one."""
    conn.rows(
        """
        UPDATE attempt_limits SET arrival = arrival - :interval_s::float8 * interval '1 second'
        WHERE bucket = :bucket::text
        RETURNING 1
        """,
        bucket=bucket,
        interval_s=interval_s,
    )


def forget_attempts(conn: Connection) -> int:
    """Delete the buckets that are empty, which say nothing; how many. Those in use are left to the next time."""
    row = conn.one(
        """
        WITH empty AS MATERIALIZED (
            SELECT bucket FROM attempt_limits WHERE arrival < now() FOR UPDATE SKIP LOCKED
        ),
        gone AS (DELETE FROM attempt_limits l USING empty WHERE l.bucket = empty.bucket RETURNING 1)
        SELECT count(*) AS forgotten FROM gone
        """
    )
    return int(row["forgotten"])


def attempt(conn: Connection, bucket: str, interval_s: float) -> float:
    """Take one attempt from `bucket` (a minute's worth of burst); seconds to wait, 0 when it was allowed."""
    row = conn.one(
        """
        WITH taken AS (
            INSERT INTO attempt_limits AS l (bucket, arrival)
            VALUES (:bucket::text, now() + :interval_s::float8 * interval '1 second')
            ON CONFLICT (bucket) DO UPDATE
            SET arrival = CASE WHEN l.arrival > now() + interval '70 seconds' THEN now()
                               ELSE greatest(l.arrival, now()) END + :interval_s * interval '1 second'
            WHERE l.arrival > now() + interval '70 seconds'
               OR greatest(l.arrival, now()) + :interval_s * interval '1 second' <= now() + interval '60 seconds'
            RETURNING bucket
        )
        SELECT CASE WHEN EXISTS (SELECT FROM taken) THEN 0
                    ELSE greatest(1, coalesce((
                        SELECT extract(epoch FROM l.arrival - now()) + :interval_s - 60
                        FROM attempt_limits l WHERE l.bucket = :bucket), 1))
               END::float8 AS wait_s
        """,
        bucket=bucket,
        interval_s=interval_s,
    )
    return float(row["wait_s"])
