"""Rotation by age, the networks that an account signs in from, and the audit log.

`audit_events` tells who changed what, from where and when. It is append-only for `app`, and holds no secret.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEYS = """
-- Past 80 % of it a secret's answers ask for its rotation; null: never.
ALTER TABLE plugin_api_keys ADD COLUMN max_age_days integer CHECK (max_age_days BETWEEN 1 AND 3650);
CREATE UNIQUE INDEX plugin_api_key_secrets_one_current ON plugin_api_key_secrets (key_id) WHERE valid_until IS NULL;
"""

SESSIONS = """
-- The address, or the /64 of it, that the session was begun from: guessing from elsewhere does not lock it out.
ALTER TABLE sessions ADD COLUMN network text;
CREATE INDEX sessions_of_network ON sessions (account_id, network) WHERE network IS NOT NULL;
"""

AUDIT = """
CREATE TABLE audit_events (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts,
    at timestamptz NOT NULL DEFAULT now(),
    -- Who: a session or an API key by its id, an operator or the service itself.
    actor text NOT NULL CHECK (actor IN ('session', 'api_key', 'operator', 'service')),
    actor_id uuid,
    -- What: `key.created`, `session.ended` … and the thing it happened to.
    action text NOT NULL,
    target_id uuid,
    details jsonb NOT NULL DEFAULT '{}',
    -- From where; null for what no request asked for.
    platform text,
    address text,
    request_id text
);
CREATE INDEX audit_events_of_account ON audit_events (account_id, id);
GRANT SELECT, INSERT ON audit_events TO app;
"""


def upgrade() -> None:
    """Add what is new; nothing that is there changes."""
    for statements in (KEYS, SESSIONS, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """Drop what the upgrade made, the audit log with it."""
    op.execute("DROP TABLE audit_events")
    op.execute("DROP INDEX plugin_api_key_secrets_one_current")
    op.execute("DROP INDEX sessions_of_network")
    op.execute("ALTER TABLE sessions DROP COLUMN network")
    op.execute("ALTER TABLE plugin_api_keys DROP COLUMN max_age_days")
