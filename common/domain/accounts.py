"""Accounts, as an operator keeps them: made, let in, kept out, given credits."""

from typing import Any
from uuid import UUID

from common.auth import passwords
from common.dal import accounts as dal
from common.dal import credits as credits_dal
from common.dal import keys as keys_dal
from common.dal import sessions as sessions_dal
from common.db import Connection, Row
from common.domain import audit, paging
from common.errors import Conflict, Invalid, NotFound

MAX_EMAIL, MAX_NAME = 254, 200
#: More than any account of ours will ever have, and far from where sums would overflow.
MAX_GRANT = 1_000_000_000


def create(
    conn: Connection, *, email: str, name: str, password: str | None, external_subject: str | None, credits_: int
) -> UUID:
    """A new account with its first credits. Invalid; Conflict `email_taken` or `subject_taken`.

    Without a password it can only sign in at the external issuer, as `external_subject`.
    """
    _check_email(email)
    if not 0 < len(name.strip()) <= MAX_NAME:
        raise Invalid(f"A name has 1 to {MAX_NAME} characters.")
    if password is None and not external_subject:
        raise Invalid("An account has a password, an external subject, or both.")
    account_id = dal.insert(conn, email, name.strip(), _hashed(password), external_subject)
    audit.by_operator(conn, account_id, "account.created", account_id, email=email)
    if credits_:
        _grant(conn, account_id, credits_, "first credits")
    return account_id


def get(conn: Connection, email: str) -> Row:
    """The account of an e-mail address. NotFound."""
    row = dal.find_by_email(conn, email)
    if row is None:
        raise NotFound(f"No account has the e-mail address {email}.")
    return row


def disable(conn: Connection, email: str) -> UUID:
    """Keep an account out from the next request on, and end its sessions. Conflict when it is disabled already."""
    account_id: UUID = get(conn, email)["id"]
    if not dal.set_disabled(conn, account_id, disabled=True):
        raise Conflict(f"{email} is disabled already.")
    audit.by_operator(conn, account_id, "account.disabled", account_id)
    end_sessions(conn, email)
    return account_id


def enable(conn: Connection, email: str) -> UUID:
    """Let an account in again, with the keys that it had. Conflict when it is not disabled."""
    account_id: UUID = get(conn, email)["id"]
    if not dal.set_disabled(conn, account_id, disabled=False):
        raise Conflict(f"{email} is not disabled.")
    audit.by_operator(conn, account_id, "account.enabled", account_id)
    return account_id


def grant(conn: Connection, email: str, amount: int, reason: str) -> Row:
    """Add credits; the balance that the account has then. Invalid, NotFound."""
    account_id: UUID = get(conn, email)["id"]
    _grant(conn, account_id, amount, reason)
    return credits_dal.get_balance(conn, account_id)


def list_keys(conn: Connection, email: str) -> list[dict[str, Any]]:
    """The account's keys, newest first, a row for each secret that is good; no secret is in it."""
    return keys_dal.list_page(conn, get(conn, email)["id"], paging.LAST, 1000)


def end_sessions(conn: Connection, email: str) -> int:
    """End every session of an account; how many there were."""
    account_id: UUID = get(conn, email)["id"]
    ended = sessions_dal.end_all(conn, account_id, "ended by an operator")
    for row in ended:
        audit.by_operator(conn, account_id, "session.ended", row["id"])
    return len(ended)


def _grant(conn: Connection, account_id: UUID, amount: int, reason: str) -> None:
    if not 0 < amount <= MAX_GRANT:
        raise Invalid(f"A grant is of 1 to {MAX_GRANT} credits.")
    credits_dal.grant(conn, account_id, amount)
    audit.by_operator(conn, account_id, "credits.granted", None, amount=amount, reason=reason)


def _check_email(email: str) -> None:
    name, _, domain = email.rpartition("@")
    if (
        not name
        or "." not in domain
        or len(email) > MAX_EMAIL
        or any(not c.isprintable() or c.isspace() for c in email)
    ):
        raise Invalid(f"{email!r} is not an e-mail address.")


def _hashed(password: str | None) -> str | None:
    if password is None:
        return None
    try:
        passwords.check_policy(password)
    except ValueError as error:
        raise Invalid(f"{str(error).capitalize()}.") from None
    return passwords.hash_password(password)
