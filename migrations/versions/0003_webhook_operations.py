"""Webhooks in operation: secrets that overlap, counts, recoveries, statistics and the operator's views.

`plugin_webhooks.pending` is kept by every statement that moves a delivery into or out of `pending` and `delivering`,
all of which lock the webhook's row first: it is exact, and reading it costs the same with any number of deliveries.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SECRETS = """
CREATE TABLE plugin_webhook_secrets (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    webhook_id uuid NOT NULL REFERENCES plugin_webhooks ON DELETE CASCADE,
    -- Encrypted (Fernet).
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When a rotated-out secret ends; null for the current one. All that are valid sign.
    valid_until timestamptz
);
CREATE INDEX plugin_webhook_secrets_of_webhook ON plugin_webhook_secrets (webhook_id, id);
CREATE UNIQUE INDEX plugin_webhook_secrets_current ON plugin_webhook_secrets (webhook_id) WHERE valid_until IS NULL;
INSERT INTO plugin_webhook_secrets (webhook_id, sealed, valid_until)
SELECT id, previous_secret, previous_valid_until FROM plugin_webhooks WHERE previous_valid_until > now();
INSERT INTO plugin_webhook_secrets (webhook_id, sealed) SELECT id, secret FROM plugin_webhooks;
ALTER TABLE plugin_webhooks DROP COLUMN secret, DROP COLUMN previous_secret, DROP COLUMN previous_valid_until
"""

COUNTS = """
ALTER TABLE plugin_webhooks
    ADD COLUMN pending bigint NOT NULL DEFAULT 0,
    -- Not active any more, with more pending deliveries than were ended with it: the sweep ends the rest.
    ADD COLUMN ending boolean NOT NULL DEFAULT false;
CREATE INDEX plugin_webhooks_ending ON plugin_webhooks (id) WHERE ending;
UPDATE plugin_webhooks w
SET pending = (SELECT count(*) FROM webhook_deliveries d
               WHERE d.webhook_id = w.id AND d.status IN ('pending', 'delivering'));
-- Each attempt updates its webhook's row: room for HOT updates.
ALTER TABLE plugin_webhooks SET (fillfactor = 50)
"""

RECOVERIES = """
-- What is to be put back, worked in batches: a row is the order, and what it did stands in the deliveries.
CREATE TABLE webhook_recoveries (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    webhook_id uuid NOT NULL REFERENCES plugin_webhooks ON DELETE CASCADE,
    statuses text[] NOT NULL,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    -- As it was answered.
    matched bigint NOT NULL,
    enqueued bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);
CREATE INDEX webhook_recoveries_of_webhook ON webhook_recoveries (webhook_id, id);
CREATE INDEX webhook_recoveries_open ON webhook_recoveries (id) WHERE completed_at IS NULL
"""

ATTEMPTS = """
ALTER TABLE webhook_attempts ADD COLUMN webhook_id uuid REFERENCES plugin_webhooks ON DELETE CASCADE;
UPDATE webhook_attempts a SET webhook_id = d.webhook_id FROM webhook_deliveries d WHERE d.id = a.delivery_id;
ALTER TABLE webhook_attempts ALTER COLUMN webhook_id SET NOT NULL
"""

INDEXES = """
-- A webhook's statistics read nothing but this.
CREATE INDEX webhook_attempts_of_webhook ON webhook_attempts (webhook_id, started_at)
    INCLUDE (duration_ms, error_class);
-- Lists by each filter, in the list's order; the first also counts by status and finds what to recover.
CREATE INDEX webhook_deliveries_of_webhook_status ON webhook_deliveries (webhook_id, status, id);
CREATE INDEX webhook_deliveries_of_account_status ON webhook_deliveries (account_id, status, id);
CREATE INDEX webhook_deliveries_of_account_event ON webhook_deliveries (account_id, event_type, id);
CREATE INDEX webhook_deliveries_of_account_error ON webhook_deliveries (account_id, last_error_class, id)
    WHERE last_error_class IS NOT NULL;
DROP INDEX webhook_deliveries_pending;
-- The views' hours. BRIN: a few pages, for tables that grow in the order of time.
CREATE INDEX webhook_attempts_by_hour ON webhook_attempts
    USING brin (date_bin('1 hour', started_at, timestamptz 'epoch'));
CREATE INDEX webhook_deliveries_by_hour ON webhook_deliveries
    USING brin (date_bin('1 hour', completed_at, timestamptz 'epoch'))
"""

VIEWS = """
-- For the operator; a condition on `hour` reads only those hours.
CREATE VIEW webhook_success_by_hour AS
SELECT date_bin('1 hour', completed_at, timestamptz 'epoch') AS hour,
       count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
       count(*) FILTER (WHERE status = 'dead') AS dead,
       count(*) FILTER (WHERE status = 'skipped') AS skipped,
       round(count(*) FILTER (WHERE status = 'succeeded')::numeric
             / nullif(count(*) FILTER (WHERE status IN ('succeeded', 'dead')), 0), 4) AS success_rate
FROM webhook_deliveries WHERE completed_at IS NOT NULL
GROUP BY hour;

CREATE VIEW webhook_latency_by_hour AS
SELECT date_bin('1 hour', started_at, timestamptz 'epoch') AS hour,
       count(*) AS attempts,
       count(*) FILTER (WHERE error_class IS NULL) AS succeeded,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms
FROM webhook_attempts
GROUP BY hour;

CREATE VIEW webhook_failures_by_hour AS
SELECT date_bin('1 hour', started_at, timestamptz 'epoch') AS hour,
       error_class, status_code, count(*) AS attempts, count(DISTINCT webhook_id) AS webhooks
FROM webhook_attempts WHERE error_class IS NOT NULL
GROUP BY hour, error_class, status_code
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON plugin_webhook_secrets TO app;
GRANT SELECT, INSERT, UPDATE ON webhook_recoveries TO app
"""

UNDO = """
DROP VIEW webhook_failures_by_hour, webhook_latency_by_hour, webhook_success_by_hour;
DROP INDEX webhook_deliveries_by_hour, webhook_attempts_by_hour, webhook_deliveries_of_account_error,
    webhook_deliveries_of_account_event, webhook_deliveries_of_account_status, webhook_deliveries_of_webhook_status,
    webhook_attempts_of_webhook;
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id) WHERE status = 'pending';
ALTER TABLE webhook_attempts DROP COLUMN webhook_id;
DROP TABLE webhook_recoveries;
ALTER TABLE plugin_webhooks DROP COLUMN pending, DROP COLUMN ending, RESET (fillfactor);
ALTER TABLE plugin_webhooks
    ADD COLUMN secret bytea, ADD COLUMN previous_secret bytea, ADD COLUMN previous_valid_until timestamptz;
UPDATE plugin_webhooks w SET secret = s.sealed
FROM plugin_webhook_secrets s WHERE s.webhook_id = w.id AND s.valid_until IS NULL;
UPDATE plugin_webhooks w SET previous_secret = s.sealed, previous_valid_until = s.valid_until
FROM (SELECT DISTINCT ON (webhook_id) webhook_id, sealed, valid_until FROM plugin_webhook_secrets
      WHERE valid_until > now() ORDER BY webhook_id, id DESC) s
WHERE s.webhook_id = w.id;
ALTER TABLE plugin_webhooks ALTER COLUMN secret SET NOT NULL;
DROP TABLE plugin_webhook_secrets
"""


def upgrade() -> None:
    """Make what webhooks need in operation."""
    for statements in (SECRETS, COUNTS, RECOVERIES, ATTEMPTS, INDEXES, VIEWS, GRANTS):
        op.execute(statements)


def downgrade() -> None:
    """Take it back; of several rotated-out secrets the newest stays."""
    op.execute(UNDO)
