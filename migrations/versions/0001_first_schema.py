"""The first schema: accounts, keys, credits, projects, uploads, renders, webhooks.

Two roles: the owner runs this; `app` is what the functions are, and may not change what is append-only.
Every table that a list pages over has an index in the list's order, so that cost does not grow with it.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN CREATE ROLE app NOLOGIN; END IF;
END $$
"""

ACCOUNTS = """
CREATE TABLE accounts (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    email text NOT NULL,
    name text NOT NULL,
    password_hash text,
    external_subject text CONSTRAINT accounts_external_subject_taken UNIQUE,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX accounts_email_taken ON accounts (lower(email));

CREATE TABLE sessions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    device text NOT NULL,
    -- SHA-256 of the dashboard's cookie; null for a plugin's session.
    cookie_sha256 bytea UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    end_reason text
);
CREATE INDEX sessions_of_account ON sessions (account_id, id) WHERE ended_at IS NULL;

CREATE TABLE refresh_tokens (
    sha256 bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    -- The token this one came from; null for the first of its session.
    parent_sha256 bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    -- Set when a lost answer was repeated: the repeated answer's token counts instead.
    replaced_at timestamptz
);
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_of_parent ON refresh_tokens (parent_sha256);

CREATE TABLE plugin_api_keys (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name text NOT NULL,
    scopes text[] NOT NULL,
    -- Empty: any platform.
    platforms text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX plugin_api_keys_of_account ON plugin_api_keys (account_id, id);

CREATE TABLE plugin_api_key_secrets (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    key_id uuid NOT NULL REFERENCES plugin_api_keys ON DELETE CASCADE,
    sha256 bytea NOT NULL UNIQUE,
    hint text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- When a rotated-out secret ends; null for the current one.
    valid_until timestamptz,
    first_used_at timestamptz,
    last_used_at timestamptz,
    last_used_platform text
);
CREATE INDEX plugin_api_key_secrets_of_key ON plugin_api_key_secrets (key_id, id);
"""

LIMITS = """
-- GCRA: a theoretical arrival time for each bucket, the user's first, then one a platform. Nothing of
-- value is lost when an UNLOGGED table empties. No index on the times: HOT updates need that.
CREATE UNLOGGED TABLE rate_limits (
    account_id uuid PRIMARY KEY,
    arrivals timestamptz[] NOT NULL
) WITH (fillfactor = 50);

-- The same for what has no account: failures by address, sign-ins by address and by e-mail.
CREATE UNLOGGED TABLE attempt_limits (
    bucket text PRIMARY KEY,
    arrival timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE idempotency_keys (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    key text NOT NULL,
    function text NOT NULL,
    request_sha256 bytea NOT NULL,
    status smallint NOT NULL,
    resource_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (account_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
"""

CREDITS = """
CREATE TABLE credit_accounts (
    account_id uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    granted bigint NOT NULL DEFAULT 0 CHECK (granted >= 0),
    available bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT credit_accounts_add_up CHECK (available + held + spent = granted)
);

CREATE TABLE credit_entries (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('grant', 'hold', 'capture', 'release')),
    amount bigint NOT NULL CHECK (amount > 0),
    available_after bigint NOT NULL CHECK (available_after >= 0),
    render_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'grant') = (render_id IS NULL))
);
CREATE INDEX credit_entries_of_account ON credit_entries (account_id, id);
-- A render is held, captured and released at most once each.
CREATE UNIQUE INDEX credit_entries_once ON credit_entries (render_id, kind) WHERE render_id IS NOT NULL;
"""

WORK = """
CREATE TABLE projects (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- So that a render's project is its own account's.
    UNIQUE (account_id, id)
);
CREATE UNIQUE INDEX projects_name_taken ON projects (account_id, lower(name));

CREATE TABLE uploads (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'ready', 'canceled', 'expired')),
    purpose text NOT NULL CHECK (purpose IN ('snapshot', 'depth', 'normal')),
    file_name text NOT NULL,
    content_type text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes BETWEEN 1 AND 268435456),
    -- What the caller declared, then what Cloud Storage found; base64.
    md5 text,
    object_name text NOT NULL UNIQUE,
    generation bigint,
    width integer,
    height integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    completed_at timestamptz,
    UNIQUE (account_id, id)
);
CREATE INDEX uploads_to_expire ON uploads (expires_at) WHERE status = 'pending';

CREATE TABLE renders (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    key_id uuid REFERENCES plugin_api_keys ON DELETE SET NULL,
    project_id uuid,
    upload_id uuid NOT NULL,
    depth_upload_id uuid,
    normal_upload_id uuid,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'processing', 'succeeded', 'failed', 'canceled', 'expired')),
    stage text NOT NULL DEFAULT 'queued',
    prompt text NOT NULL,
    style text,
    quality text NOT NULL CHECK (quality IN ('draft', 'standard', 'high')),
    geometry_fidelity smallint CHECK (geometry_fidelity BETWEEN 0 AND 100),
    seed bigint NOT NULL,
    -- {name, version, ai, deterministic}
    engine jsonb NOT NULL,
    quoted bigint NOT NULL CHECK (quoted > 0),
    charged bigint NOT NULL DEFAULT 0 CHECK (charged IN (0, quoted)),
    -- The hold of credits: it ends only in the transaction that ends the render.
    hold text NOT NULL DEFAULT 'held' CHECK (hold IN ('held', 'captured', 'released')),
    -- [{role, object, contentType, width, height, bytes, sha256}]
    files jsonb,
    -- {code, message, retryable}
    error jsonb,
    -- {sourcePlatform, pluginVersion, userAgent, callbackUrl}
    metadata jsonb NOT NULL,
    -- The outbox: how often it was claimed, which task may claim it, when the sweep looks after it.
    attempt integer NOT NULL DEFAULT 0,
    generation integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    sweep_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    completed_at timestamptz,
    CONSTRAINT renders_project_id_fkey
        FOREIGN KEY (account_id, project_id) REFERENCES projects (account_id, id),
    CONSTRAINT renders_upload_id_fkey FOREIGN KEY (account_id, upload_id) REFERENCES uploads (account_id, id),
    CONSTRAINT renders_depth_fkey
        FOREIGN KEY (account_id, depth_upload_id) REFERENCES uploads (account_id, id),
    CONSTRAINT renders_normal_fkey
        FOREIGN KEY (account_id, normal_upload_id) REFERENCES uploads (account_id, id),
    CONSTRAINT renders_hold_ends_with_render
        CHECK ((hold = 'held') = (status IN ('queued', 'processing'))
               AND (hold = 'captured') = (status = 'succeeded'))
) WITH (fillfactor = 80);
CREATE INDEX renders_of_account ON renders (account_id, id);
CREATE INDEX renders_of_project ON renders (project_id, id) WHERE project_id IS NOT NULL;
CREATE INDEX renders_open ON renders (account_id) WHERE status IN ('queued', 'processing');
CREATE INDEX renders_to_sweep ON renders (sweep_at) WHERE sweep_at IS NOT NULL;
"""

WEBHOOKS = """
CREATE TABLE plugin_webhooks (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    url text NOT NULL,
    events text[] NOT NULL,
    description text,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled', 'failing')),
    disabled_at timestamptz,
    disabled_reason text,
    -- Encrypted (Fernet); the previous one signs too until its time.
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_valid_until timestamptz,
    -- Deliveries by how they ended, kept by each settled attempt: a list must not count a million rows.
    succeeded bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    last_delivery_at timestamptz,
    -- What decides about auto-disabling: kept by each settled attempt.
    last_success_at timestamptz,
    failing_since timestamptz,
    failures_in_row integer NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX plugin_webhooks_of_account ON plugin_webhooks (account_id, id) WHERE deleted_at IS NULL;

CREATE TABLE webhook_deliveries (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    webhook_id uuid NOT NULL REFERENCES plugin_webhooks ON DELETE CASCADE,
    -- The same for every webhook that an event goes to; the receiver's `webhook-id`.
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    -- {type, timestamp, data}, without URLs: they are signed at sending.
    payload jsonb NOT NULL,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'delivering', 'succeeded', 'dead', 'canceled', 'skipped')),
    -- Finished attempts, and how far the schedule has come (a manual retry does not advance it).
    attempts integer NOT NULL DEFAULT 0,
    scheduled integer NOT NULL DEFAULT 0,
    trigger text NOT NULL DEFAULT 'schedule' CHECK (trigger IN ('schedule', 'manual', 'recover')),
    due_at timestamptz,
    generation integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    sweep_at timestamptz,
    last_status_code smallint,
    last_error_class text,
    created_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    CONSTRAINT webhook_deliveries_once UNIQUE (webhook_id, event_id),
    CHECK ((status IN ('pending', 'delivering')) = (sweep_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX webhook_deliveries_of_account ON webhook_deliveries (account_id, id);
CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_in_flight ON webhook_deliveries (webhook_id) WHERE status = 'delivering';
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_to_sweep ON webhook_deliveries (sweep_at) WHERE sweep_at IS NOT NULL;

CREATE TABLE webhook_attempts (
    delivery_id uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    number integer NOT NULL,
    trigger text NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    -- {dnsMs, connectMs, tlsMs, firstByteMs}
    timings jsonb NOT NULL,
    remote_address text,
    status_code smallint,
    error_class text,
    error text,
    request_headers jsonb NOT NULL,
    response_headers jsonb NOT NULL,
    response_body text,
    PRIMARY KEY (delivery_id, number)
);
"""

GRANTS = """
GRANT USAGE ON SCHEMA public TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
REVOKE UPDATE, DELETE ON credit_entries, webhook_attempts FROM app;
REVOKE DELETE ON accounts, credit_accounts, renders, plugin_api_keys FROM app;
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM app
"""

TABLES = (
    "webhook_attempts, webhook_deliveries, plugin_webhooks, renders, uploads, projects, credit_entries,"
    " credit_accounts, idempotency_keys, attempt_limits, rate_limits, plugin_api_key_secrets,"
    " plugin_api_keys, refresh_tokens, sessions, accounts"
)


def upgrade() -> None:
    """Make every table, then grant `app` what it may do with it."""
    for statements in (ROLE, ACCOUNTS, LIMITS, CREDITS, WORK, WEBHOOKS, GRANTS):
        op.execute(statements)


def downgrade() -> None:
    """Drop what the upgrade made; the role stays, since other databases may use it."""
    op.execute(f"DROP TABLE {TABLES}")
