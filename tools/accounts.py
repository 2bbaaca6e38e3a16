"""The operator's commands: `python -m tools.accounts create ada@example.com --name "Ada" --credits 100`.

The database is the one that the environment configures for the functions, or with `--data` that of a local stack.
Passwords are asked for or read from standard input, never taken from the command line, where other users see them.
"""

import argparse
import getpass
import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import db
from common.auth import tokens
from common.config import ConfigError, settings
from common.db import Connection
from common.domain import accounts
from common.errors import Problem
from common.schemas.base import rfc3339
from tools.local.files import write_private
from tools.local.processes import StartError

Result = dict[str, Any] | list[dict[str, Any]]


def main(words: list[str] | None = None) -> int:
    """0 when it is done, 1 when it was refused, 2 when the command is wrong."""
    given = parser().parse_args(words)
    try:
        result: Result = given.run(given)
    except (Problem, ConfigError, StartError, OSError, ValueError) as error:
        sys.stderr.write(f"accounts: {error}\n")
        return 1
    print(json.dumps(result, indent=2, default=str) if given.json else readable(result))
    return 0


def parser() -> argparse.ArgumentParser:
    """What may be typed."""
    top = argparse.ArgumentParser(prog="python -m tools.accounts", description=(__doc__ or "").partition("\n\n")[0])
    top.set_defaults(data=None, json=False)
    _common(top)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    command = _command(commands, "create", create, "make an account")
    command.add_argument("--name", required=True, help="how the person is called")
    command.add_argument("--credits", type=int, default=0, help="the first grant (default: none)")
    command.add_argument("--external-subject", help="who the account is at the external issuer (OIDC `sub`)")
    command.add_argument("--no-password", action="store_true", help="it signs in at the external issuer only")
    command.add_argument("--generate-password", action="store_true", help="make one up and show it once")
    _command(commands, "disable", disable, "keep an account out, from the next request on")
    _command(commands, "enable", enable, "let a disabled account in again")
    command = _command(commands, "grant", grant, "add credits")
    command.add_argument("amount", type=int)
    command.add_argument("--reason", default="", help="kept in the audit log")
    _command(commands, "keys", keys, "list the API keys of an account, a line a secret")
    _command(commands, "end-sessions", end_sessions, "sign an account out everywhere")
    text = "make a new key for a local stack's access tokens (a deployed one: tools.secrets)"
    _common(commands.add_parser("rotate-signing-key", help=text)).set_defaults(run=rotate_signing_key)
    return top


def create(given: argparse.Namespace) -> Result:
    """Make an account; a password that was made up is in the result, and nowhere else."""
    password = None if given.no_password else _password(generate=given.generate_password)
    account_id = _transaction(
        given,
        lambda conn: accounts.create(
            conn,
            email=given.email,
            name=given.name,
            password=password,
            external_subject=given.external_subject,
            credits_=given.credits,
        ),
    )
    told = {"id": account_id, "email": given.email, "credits": given.credits}
    return told | ({"password": password} if given.generate_password else {})


def disable(given: argparse.Namespace) -> Result:
    """Keep an account out."""
    return {"id": _transaction(given, lambda conn: accounts.disable(conn, given.email)), "disabled": True}


def enable(given: argparse.Namespace) -> Result:
    """Let an account in."""
    return {"id": _transaction(given, lambda conn: accounts.enable(conn, given.email)), "disabled": False}


def grant(given: argparse.Namespace) -> Result:
    """Add credits."""
    balance: dict[str, Any] = _transaction(
        given, lambda conn: accounts.grant(conn, given.email, given.amount, given.reason)
    )
    return balance


def keys(given: argparse.Namespace) -> Result:
    """The keys of an account."""
    shown = ("id", "name", "hint", "scopes", "platforms", "expires_at", "revoked_at", "valid_until", "last_used_at")
    rows = _transaction(given, lambda conn: accounts.list_keys(conn, given.email))
    return [{name: row[name] for name in (*shown, "last_used_platform")} for row in rows]


def end_sessions(given: argparse.Namespace) -> Result:
    """Sign an account out everywhere."""
    return {"ended": _transaction(given, lambda conn: accounts.end_sessions(conn, given.email))}


def rotate_signing_key(given: argparse.Namespace) -> Result:
    """A new private key; its public half is published before that of the old one, whose last tokens stay good."""
    if not given.data:
        raise ValueError("name a local stack's folder with --data; for a deployed one see docs/runbook.md")
    config = _local_config(given.data)
    config["token_key"], public_key = tokens.generate_key()
    config["jwks"] = tokens.jwks([public_key, *config["jwks"]["keys"][:1]])
    write_private(given.data / "config.json", json.dumps(config, indent=2))
    return {"kid": public_key["kid"], "next": "start the stack again"}


def readable(result: Result) -> str:
    """Aligned lines; a block for each of several."""
    if isinstance(result, list):
        return "\n\n".join(readable(item) for item in result) or "none"
    width = max(map(len, result))
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {_plain(value)}" for name, value in result.items())


def _common(given: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What may stand before the command or after it."""
    where = "a running local stack's folder, instead of the environment"
    given.add_argument("--data", type=Path, default=argparse.SUPPRESS, help=where)
    given.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    return given


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], Result], text: str) -> Any:
    command = _common(commands.add_parser(name, help=text, description=text))
    command.add_argument("email")
    command.set_defaults(run=run)
    return command


def _transaction(given: argparse.Namespace, work: Callable[[Connection], Any]) -> Any:
    url = _local_url(given.data) if given.data else ""
    pool = db.Pool(lambda: db.connect_url(url) if url else db.open_raw(settings()), 1)
    with pool.connection() as conn, conn.transaction():
        return work(conn)


def _local_url(data: Path) -> str:
    from tools.local.postgres import Postgres

    port = _local_config(data)["ports"]["postgres"]
    return Postgres(data.resolve() / "postgres", port).app_url


def _local_config(data: Path) -> dict[str, Any]:
    from tools.local.stack import read_config

    if not (data / "config.json").exists():
        raise ValueError(f"{data} is not the folder of a local stack")
    return read_config(data)


def _password(*, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(15)
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if first != getpass.getpass("Again: "):
        raise ValueError("the passwords differ")
    return first


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "any"
    return rfc3339(value) if hasattr(value, "astimezone") else str(value)


if __name__ == "__main__":
    sys.exit(main())
