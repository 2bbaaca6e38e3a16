"""Sign-in, refresh and sign-out. Every refusal of a sign-in is the same, in the same time."""

import hashlib
import ipaddress
import math
from uuid import UUID

from common.auth import passwords, refresh_tokens, tokens
from common.auth.caller import Call, Caller
from common.clock import now
from common.config import settings
from common.dal import accounts as dal
from common.dal import callers
from common.db import Connection, Row
from common.errors import RateLimited, Unauthenticated
from common.schemas.accounts import (
    Balance,
    CookieSession,
    Credential,
    Me,
    Refresh,
    Session,
    SignedIn,
    SignIn,
    SignOut,
    User,
)

LIFETIME_S = 3600


def sign_in(conn: Connection, call: Call, body: SignIn) -> SignedIn | CookieSession:
    """A new session for an e-mail address and its password.

    Unauthenticated `invalid_credentials` for whatever is wrong, after the same work; RateLimited when the
    address tries too often.
    """
    buckets = _take(conn, call.address, body.email)
    account = dal.find_by_email(conn, body.email)
    right = passwords.verify(account["password_hash"] if account else None, body.password)
    if account is None or not right or buckets is None or account["disabled_at"]:
        raise _invalid_credentials()
    callers.give_back(conn, buckets)
    if passwords.needs_rehash(account["password_hash"]):
        fresh = passwords.hash_password(body.password)
        dal.update_password_hash(conn, account["id"], account["password_hash"], fresh)
    device = body.device or call.platform.name
    return _cookie_session(conn, account, device) if body.cookie else _token_session(conn, account, device)


def refresh(conn: Connection, body: Refresh) -> SignedIn:
    """New tokens for a refresh token, by the rules of the contract.

    Unauthenticated `invalid_refresh_token` when it is unknown or ended; a token that was used before ends its
    session, for somebody else has it.
    """
    used = refresh_tokens.digest(body.refresh_token)
    with conn.transaction():
        row = dal.lock_refresh_token(conn, used)
        successor = refresh_tokens.generate()
        if row and row["state"] in ("fresh", "repeatable"):
            dal.exchange_refresh_token(conn, row["session_id"], used, refresh_tokens.digest(successor))
        elif row and row["state"] == "reused":
            dal.end_session(conn, row["session_id"], "refresh token reused")
    if row is None or row["state"] in ("ended", "reused"):
        raise Unauthenticated("The refresh token is not valid, or no longer.", code="invalid_refresh_token")
    return _signed_in({**row, "id": row["account_id"]}, row["session_id"], successor)


def sign_out(conn: Connection, caller: Caller, body: SignOut) -> None:
    """End this session, or all of the account's."""
    if body.everywhere:
        dal.end_all_sessions(conn, caller.account_id, "signed out everywhere")
    elif caller.session_id:
        dal.end_session(conn, caller.session_id, "signed out")


def me(conn: Connection, caller: Caller) -> Me:
    """Who is calling, and with what."""
    row = dal.me(conn, caller.account_id)
    sessions = [
        Session.model_validate(session | {"current": session["id"] == str(caller.session_id)})
        for session in row.pop("sessions")
    ]
    return Me(
        user=User(id=caller.account_id, email=caller.email, name=caller.name),
        credits=Balance(**row),
        credential=Credential(
            kind=caller.kind, key_id=caller.key_id, name=caller.key_name, scopes=sorted(caller.scopes)
        ),
        platform=caller.platform.name,
        sessions=sessions if caller.kind == "session" else None,
    )


def _take(conn: Connection, address: str, email: str) -> dict[str, float] | None:
    """The limits that this try has taken from, with how much; None when the account is locked from here.

    A stranger elsewhere takes from another bucket, so nobody is locked out by others. RateLimited when the address
    has failed too often, for whatever accounts.
    """
    config = settings()
    network = _network(address)
    person = hashlib.sha256(email.lower().encode()).hexdigest()
    buckets = {
        f"signin:{network}": 60 / config.signin_address_rate,
        f"signin:{network}:{person}": 60 / config.signin_account_rate,
    }
    waits = [callers.attempt(conn, bucket, interval_s) for bucket, interval_s in buckets.items()]
    if waits[0] > 0:
        seconds = math.ceil(waits[0])
        raise RateLimited(
            f"Too many failed sign-ins from this address; try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
            retry_after=seconds,
            violated_policies=["address"],
        )
    return buckets if waits[1] <= 0 else None


def _token_session(conn: Connection, account: Row, device: str) -> SignedIn:
    token = refresh_tokens.generate()
    session_id = dal.insert_session(
        conn, account["id"], device, cookie_sha256=None, refresh_sha256=refresh_tokens.digest(token)
    )
    if session_id is None:
        raise _invalid_credentials()
    return _signed_in(account, session_id, token)


def _cookie_session(conn: Connection, account: Row, device: str) -> CookieSession:
    cookie = refresh_tokens.generate()
    session_id = dal.insert_session(
        conn, account["id"], device, cookie_sha256=refresh_tokens.digest(cookie), refresh_sha256=None
    )
    if session_id is None:
        raise _invalid_credentials()
    return CookieSession(user=_user(account), cookie=cookie)


def _signed_in(account: Row, session_id: UUID, refresh_token: str) -> SignedIn:
    config = settings()
    key = config.require("token_private_key")
    return SignedIn(
        access_token=tokens.issue(
            private_key_pem=key,
            kid=tokens.public_jwk(key)["kid"],
            issuer=config.token_issuer,
            audience=config.token_audience,
            account_id=account["id"],
            session_id=session_id,
            now=now(),
            lifetime=LIFETIME_S,
        ),
        expires_in=LIFETIME_S,
        refresh_token=refresh_token,
        user=_user(account),
    )


def _user(account: Row) -> User:
    return User(id=account["id"], email=account["email"], name=account["name"])


def _invalid_credentials() -> Unauthenticated:
    return Unauthenticated("The e-mail address or the password is wrong.", code="invalid_credentials")


def _network(address: str) -> str:
    """An IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:  # noqa: PLR2004
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
