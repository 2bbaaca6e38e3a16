"""What is written to the audit log. No secret ever is: `details` holds names, hints and times."""

import getpass
import os
import socket
from typing import Any, Literal
from uuid import UUID

from common.auth.caller import Call, Caller
from common.dal import audit as dal
from common.db import Connection

Action = Literal[
    "account.created",
    "account.disabled",
    "account.enabled",
    "credits.granted",
    "key.created",
    "key.revoked",
    "key.rotated",
    "session.ended",
    "session.started",
    "webhook.deleted",
    "webhook.disabled",
    "webhook.registered",
    "webhook.secret_rotated",
    "webhook.updated",
]


def by_caller(conn: Connection, caller: Caller, action: Action, target_id: UUID | None, **details: Any) -> None:
    """A signed-in person or an API key did it."""
    dal.insert(
        conn,
        caller.account_id,
        actor=caller.kind,
        actor_id=caller.key_id or caller.session_id,
        action=action,
        target_id=target_id,
        details=details,
        platform=caller.platform.name,
        address=caller.address,
        request_id=caller.request_id,
    )


def by_session(
    conn: Connection, account_id: UUID, session_id: UUID, call: Call, action: Action, **details: Any
) -> None:
    """It happened to a session by a request that has no caller yet: a sign-in, a refresh."""
    dal.insert(
        conn,
        account_id,
        actor="session",
        actor_id=session_id,
        action=action,
        target_id=session_id,
        details=details,
        platform=call.platform.name,
        address=call.address,
        request_id=call.request_id,
    )


def by_operator(conn: Connection, account_id: UUID, action: Action, target_id: UUID | None, **details: Any) -> None:
    """An operator did it, by a command on the machine that is told."""
    dal.insert(
        conn,
        account_id,
        actor="operator",
        actor_id=None,
        action=action,
        target_id=target_id,
        details=details | {"operator": _operator()},
        platform=None,
        address=socket.gethostname(),
        request_id=None,
    )


def by_service(conn: Connection, account_id: UUID, action: Action, target_id: UUID | None, **details: Any) -> None:
    """Nobody asked for it: the service's own rules did it."""
    dal.insert(
        conn,
        account_id,
        actor="service",
        actor_id=None,
        action=action,
        target_id=target_id,
        details=details,
        platform=None,
        address=None,
        request_id=None,
    )


def _operator() -> str:
    """The user that runs the command; in a container it may have a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the second from Python 3.13 on
        return str(os.getuid())
