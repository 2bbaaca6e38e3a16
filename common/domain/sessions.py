"""Sign-in, refresh and sign-out. Every refusal of a sign-in is the same, in the same time."""

from uuid import UUID

from common import db
from common.auth import passwords, refresh_tokens, tokens
from common.auth.authenticate import update_required
from common.auth.caller import Call, Caller
from common.auth.failures import counted, network_of
from common.clock import now
from common.config import settings
from common.dal import accounts
from common.dal import sessions as dal
from common.db import Connection, Row
from common.domain import audit, sign_in_limits
from common.errors import Unauthenticated
from common.schemas.accounts import (
    Balance,
    CookieSession,
    Credential,
    Me,
    Refresh,
    Session,
    SignedIn,
    SignedOut,
    SignIn,
    SignOut,
    User,
)

LIFETIME_S = 3600


def sign_in(call: Call, body: SignIn) -> SignedIn | CookieSession:
    """A new session for an e-mail address and its password.

    Unauthenticated `invalid_credentials` for whatever is wrong, after the same work; RateLimited when the
    address tries too often; UpdateRequired. No connection is held while the password is hashed.
    """
    _refuse_outdated(call)
    network = network_of(call.address)
    with db.reading() as conn:
        account = accounts.find_for_sign_in(conn, body.email, network)
        tried = sign_in_limits.take(conn, network, account["address"])
    right = passwords.verify(account["password_hash"], body.password)
    if not right or account["disabled_at"] or tried.locked(known=account["knows_network"]):
        raise _invalid_credentials()
    _rehash(account, body.password)
    secret = refresh_tokens.generate()
    with db.transaction() as conn:
        tried.give_back(conn)
        session_id = _begin(conn, account, call, body, secret)
    if body.cookie:
        return CookieSession(user=_user(account), cookie=secret)
    return _signed_in(account, session_id, secret)


def refresh(call: Call, body: Refresh) -> SignedIn:
    """New tokens for a refresh token, by the rules of the contract.

    Unauthenticated `invalid_refresh_token` when it is unknown or ended; a token that was used before ends its
    session, for somebody else has it. RateLimited when the address fails too often; UpdateRequired.
    """
    _refuse_outdated(call)
    used, successor = refresh_tokens.digest(body.refresh_token), refresh_tokens.generate()
    with db.transaction() as conn:
        row = _exchanged(conn, call, used, refresh_tokens.digest(successor))
    if row is None:
        problem = Unauthenticated("The refresh token is not valid, or no longer.", code="invalid_refresh_token")
        raise counted(problem, call.address)
    return _signed_in({**row, "id": row["account_id"]}, row["session_id"], successor)


def sign_out(conn: Connection, caller: Caller, call: Call, body: SignOut) -> SignedOut:
    """End this session, or all of the account's."""
    if body.everywhere:
        for row in dal.end_all(conn, caller.account_id, "signed out everywhere"):
            audit.by_caller(conn, caller, "session.ended", row["id"], reason="signed out everywhere")
    elif caller.session_id and dal.end(conn, caller.session_id, "signed out"):
        audit.by_caller(conn, caller, "session.ended", caller.session_id, reason="signed out")
    return SignedOut(forget_cookie=bool(call.cookies))


def me(conn: Connection, caller: Caller) -> Me:
    """Who is calling, and with what."""
    row = accounts.me(conn, caller.account_id)
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


def _refuse_outdated(call: Call) -> None:
    """A plugin that may call nothing else does not sign in either: it is told what to fetch."""
    if outdated := update_required(call.platform, settings()):
        raise outdated


def _rehash(account: Row, password: str) -> None:
    """Keep the password's hash up to today's parameters."""
    if not passwords.needs_rehash(account["password_hash"]):
        return
    fresh = passwords.hash_password(password)
    with db.reading() as conn:
        accounts.update_password_hash(conn, account["id"], account["password_hash"], fresh)


def _begin(conn: Connection, account: Row, call: Call, body: SignIn, secret: str) -> UUID:
    """The new session: of the dashboard, whose cookie holds `secret`, or with `secret` as its refresh token."""
    device, digest = body.device or call.platform.name, refresh_tokens.digest(secret)
    session_id = dal.insert(
        conn,
        account["id"],
        device,
        network_of(call.address),
        cookie_sha256=digest if body.cookie else None,
        refresh_sha256=None if body.cookie else digest,
    )
    if session_id is None:  # disabled meanwhile
        raise _invalid_credentials()
    audit.by_session(conn, account["id"], session_id, call, "session.started", device=device, cookie=body.cookie)
    return session_id


def _exchanged(conn: Connection, call: Call, used: bytes, successor: bytes) -> Row | None:
    """The session and account of the token `used`, exchanged for `successor`; None when it is not good."""
    if not dal.lock_of_refresh_token(conn, used):
        return None
    row = dal.get_refresh_token(conn, used)
    if row["state"] in ("fresh", "repeatable"):
        dal.exchange_refresh_token(conn, row["session_id"], used, successor)
        return row
    if row["state"] == "reused" and dal.end(conn, row["session_id"], "refresh token reused"):
        reason = "refresh token reused"
        audit.by_session(conn, row["account_id"], row["session_id"], call, "session.ended", reason=reason)
    return None


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
