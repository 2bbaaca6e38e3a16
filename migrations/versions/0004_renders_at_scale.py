"""Renders at scale: lists by filter, counted projects, a checked ledger, and what the operator wants to know.

Whatever a list filters by is in an index before the id, so that a page costs the same with ten renders and with
ten million; a project knows how many renders it has instead of counting them.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LISTS = """
-- A status or a platform that is not asked for is looked up value by value (there are 6 and 7 of them).
CREATE INDEX renders_of_account_by
    ON renders (account_id, status, (metadata ->> 'sourcePlatform'), id);
DROP INDEX renders_of_project;
CREATE INDEX renders_of_project_by
    ON renders (project_id, status, (metadata ->> 'sourcePlatform'), id) WHERE project_id IS NOT NULL;

ALTER TABLE projects ADD COLUMN render_count bigint NOT NULL DEFAULT 0 CHECK (render_count >= 0);
UPDATE projects p SET render_count = (SELECT count(*) FROM renders r WHERE r.project_id = p.id);
"""

LEDGER = """
-- An entry's render exists, and what is charged is what was captured.
ALTER TABLE credit_entries
    ADD CONSTRAINT credit_entries_render_id_fkey FOREIGN KEY (render_id) REFERENCES renders ON DELETE CASCADE;
ALTER TABLE renders
    ADD CONSTRAINT renders_charged_if_captured CHECK ((hold = 'captured') = (charged = quoted));

-- What is done once a day, and when it last was.
CREATE TABLE housekeeping (
    name text PRIMARY KEY,
    done_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON housekeeping TO app;
"""

TELEMETRY = """
CREATE VIEW adoption_daily AS
SELECT (created_at AT TIME ZONE 'UTC')::date AS day,
       metadata ->> 'sourcePlatform' AS platform,
       count(*) AS renders,
       count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
       count(*) FILTER (WHERE status = 'failed') AS failed,
       count(*) FILTER (WHERE status = 'canceled') AS canceled,
       count(*) FILTER (WHERE status = 'expired') AS expired,
       count(DISTINCT account_id) AS users,
       sum(charged)::bigint AS credits_charged
FROM renders
GROUP BY 1, 2;
COMMENT ON VIEW adoption_daily IS 'Renders, their ends, distinct users and credits, by UTC day and platform.';

CREATE VIEW plugin_users_daily AS
SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(DISTINCT account_id) AS users
FROM renders
WHERE metadata ->> 'sourcePlatform' <> 'unknown'
GROUP BY 1;
COMMENT ON VIEW plugin_users_daily IS 'Distinct accounts that rendered from any plugin, by UTC day.';

CREATE VIEW plugin_versions_daily AS
SELECT (created_at AT TIME ZONE 'UTC')::date AS day,
       metadata ->> 'sourcePlatform' AS platform,
       coalesce(metadata ->> 'pluginVersion', 'unknown') AS plugin_version,
       count(*) AS renders,
       count(DISTINCT account_id) AS users
FROM renders
GROUP BY 1, 2, 3;
COMMENT ON VIEW plugin_versions_daily IS 'Which plugin versions are in use, by UTC day and platform.';

CREATE VIEW key_use_daily AS
SELECT (r.created_at AT TIME ZONE 'UTC')::date AS day,
       r.key_id,
       k.account_id,
       k.name,
       count(*) AS renders,
       sum(r.charged)::bigint AS credits_charged,
       max(r.created_at) AS last_render_at
FROM renders r
JOIN plugin_api_keys k ON k.id = r.key_id
GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW key_use_daily IS 'Renders and credits by UTC day and API key; renders by a session have no key.';
"""


def upgrade() -> None:
    """Indexes, the counter, the constraints and the views."""
    for statements in (LISTS, LEDGER, TELEMETRY):
        op.execute(statements)


def downgrade() -> None:
    """Take them back; `renders_of_project` is as it was."""
    op.execute("""
        DROP VIEW key_use_daily, plugin_versions_daily, plugin_users_daily, adoption_daily;
        DROP TABLE housekeeping;
        ALTER TABLE renders DROP CONSTRAINT renders_charged_if_captured;
        ALTER TABLE credit_entries DROP CONSTRAINT credit_entries_render_id_fkey;
        ALTER TABLE projects DROP COLUMN render_count;
        DROP INDEX renders_of_project_by, renders_of_account_by;
        CREATE INDEX renders_of_project ON renders (project_id, id) WHERE project_id IS NOT NULL;
    """)
