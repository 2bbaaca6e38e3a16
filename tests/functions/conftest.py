"""What the tests of the API share: a second account, and a snapshot that is ready to be rendered."""

from pathlib import Path
from uuid import uuid4

import pytest

from common.auth import api_keys
from common.auth.scopes import ALL

SAMPLES = Path(__file__).parents[2] / "docs" / "samples"


@pytest.fixture(scope="session")
def new_account(stack):
    """Makes an account with credits and a key that may do everything: (account id, API key)."""

    def make(credits=100):
        key = api_keys.generate("rq_sk_test_")
        account = stack.sql(
            """
            WITH account AS (
                INSERT INTO accounts (email, name) VALUES (:email::text, 'Somebody') RETURNING id
            ),
            credits AS (
                INSERT INTO credit_accounts (account_id, granted, available)
                SELECT id, :credits::bigint, :credits FROM account
            ),
            entry AS (
                INSERT INTO credit_entries (account_id, kind, amount, available_after)
                SELECT id, 'grant', :credits, :credits FROM account WHERE :credits > 0
            ),
            key AS (
                INSERT INTO plugin_api_keys (account_id, name, scopes)
                SELECT id, 'key', :scopes::text[] FROM account RETURNING id
            )
            INSERT INTO plugin_api_key_secrets (key_id, sha256, hint)
            SELECT id, :sha256::bytea, :hint::text FROM key
            RETURNING (SELECT id FROM account) AS id
            """,
            email=f"{uuid4()}@renderiq.example",
            credits=credits,
            scopes=sorted(ALL),
            sha256=api_keys.digest(key),
            hint=api_keys.hint(key),
        )[0]["id"]
        return account, key

    return make


@pytest.fixture(scope="session")
def snapshot_of(stack, tmp_path_factory):
    """Uploads a sample for an account's key; the upload's id."""

    def upload(key, picture="room_viewport", purpose="snapshot"):
        path = tmp_path_factory.mktemp("upload") / "picture.png"
        path.write_bytes((SAMPLES / f"{picture}.png").read_bytes())
        return stack.client(key).upload(path, purpose)["id"]

    return upload
