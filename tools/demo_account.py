"""The local stack's demo account: made once a data folder, with credits and a key that may do everything."""

import json
import secrets
from pathlib import Path

from common import db
from common.auth import api_keys
from common.auth.scopes import ALL
from common.dal import keys
from common.dal.accounts import rename_away
from common.db import Connection
from common.domain import accounts, audit
from tools.local.files import read_json, write_private

EMAIL = "demo@renderiq.example"
NAME = "Demo"
CREDITS = 1000
KEY_PREFIX = "rq_sk_test_"


def ensure(database_url: str, data: Path) -> dict[str, str]:
    """The account's `email`, `password` and `api_key`, made when `data` has none yet.

    They are kept in `data/account.json`, readable by its owner only: they are good for the local stack alone.
    """
    known = data / "account.json"
    if known.exists():
        return read_json(known, lambda found: {"email", "password", "api_key"} == found.keys())
    made = {"email": EMAIL, "password": secrets.token_urlsafe(12), "api_key": api_keys.generate(KEY_PREFIX)}
    conn = Connection(db.connect_url(database_url))
    try:
        _make(conn, made)
    finally:
        conn.close()
    write_private(known, json.dumps(made))
    return made


def _make(conn: Connection, made: dict[str, str]) -> None:
    """In one transaction. An account left by a run that was killed before it noted the password gives way."""
    with conn.transaction():
        rename_away(conn, EMAIL)
        account_id = accounts.create(
            conn, email=EMAIL, name=NAME, password=made["password"], external_subject=None, credits_=CREDITS
        )
        key = keys.insert(
            conn,
            account_id,
            name="Demo key",
            scopes=sorted(ALL),
            platforms=[],
            expires_at=None,
            max_age_days=None,
            sha256=api_keys.digest(made["api_key"]),
            hint=api_keys.hint(made["api_key"]),
        )
        if key:
            audit.by_operator(conn, account_id, "key.created", key["id"], name=key["name"], hint=key["hint"])
