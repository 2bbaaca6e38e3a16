"""PostgreSQL: a small pool of pg8000 connections, prepared statements and transactions.

A prepared statement that stays on its connection costs one round trip where pg8000's own `run` costs
three (57 µs and 176 µs on a local socket), so every statement of the DAL is prepared once a connection.
This is the only module that knows the driver.
"""

import logging
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from common.config import Settings, settings
from common.errors import Conflict, Invalid, Problem, Unavailable

Row = dict[str, Any]
Result = TypeVar("Result")

CONNECT_TIMEOUT_S = 10
#: Above the server's own statement timeout, so that the server is the one to end a slow statement.
SOCKET_TIMEOUT_S = 15
STATEMENT_TIMEOUT_MS = 10_000

#: The constraints that a caller can run into, and what it means.
CONSTRAINTS: dict[str, Callable[[], Problem]] = {
    "accounts_email_taken": lambda: Conflict("An account has this e-mail address.", code="email_taken"),
    "accounts_external_subject_taken": lambda: Conflict("An account has this subject.", code="subject_taken"),
    "projects_name_taken": lambda: Conflict("A project of this name exists.", code="name_taken"),
    "idempotency_keys_pkey": lambda: Conflict(
        "The first request with this Idempotency-Key is still running.", code="idempotency_in_flight"
    ),
    "renders_project_id_fkey": lambda: Invalid("There is no such project."),
}
#: The statement took too long, met a deadlock or a lock: the same request may succeed in a moment.
_BUSY = {"57014", "40001", "40P01", "55P03", "53200", "53300"}
#: A type changed under a cached statement; the connection was ended by the server.
_STALE = {"0A000", "25P03", "57P01", "57P02", "57P03", "57P05", "08006", "08003"}
_RETRY = {"Retry-After": "1"}

#: How often this request has waited for the database; logged with it, for that is where its time goes.
round_trips: ContextVar[int] = ContextVar("round_trips", default=0)


def _count() -> None:
    round_trips.set(round_trips.get() + 1)


class Connection:
    """One connection, used by one thread at a time. Autocommits outside `transaction`."""

    def __init__(self, raw: Any) -> None:
        """`raw` is a `pg8000.dbapi.Connection`."""
        self._raw = raw
        self._statements: dict[str, Any] = {}
        self._hooks: list[Callable[[], None]] = []
        self.in_transaction = False
        self.usable = True

    def rows(self, sql: str, **params: Any) -> list[Row]:
        """The rows that `sql` returns, each by column name. One round trip once it is prepared."""
        try:
            statement = self._statements.get(sql) or self._prepare(sql)
            _count()
            found = statement.run(**params) or []
        except BaseException as error:
            raise self._translated(error) from error
        names = [column["name"] for column in statement.columns or ()]
        return [dict(zip(names, row, strict=True)) for row in found]

    def one(self, sql: str, **params: Any) -> Row:
        """The one row that `sql` returns."""
        (row,) = self.rows(sql, **params)
        return row

    def maybe(self, sql: str, **params: Any) -> Row | None:
        """The row that `sql` returns, if any."""
        return next(iter(self.rows(sql, **params)), None)

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` once the transaction is committed; its failure is logged and changes nothing."""
        self._hooks.append(hook)

    @contextmanager
    def transaction(self) -> Iterator["Connection"]:
        """Returning commits, raising rolls back."""
        self._simple("BEGIN")
        self.in_transaction = True
        try:
            yield self
            self._commit()
        except BaseException:
            self._hooks.clear()
            self._roll_back()
            raise
        finally:
            self.in_transaction = False

    def take_hooks(self) -> list[Callable[[], None]]:
        """The hooks of what was committed; the caller runs them without holding the connection."""
        hooks, self._hooks = self._hooks, []
        return hooks

    def is_stale(self) -> bool:
        """Whether the server has said something unasked, which to an idle connection is its end. No round trip."""
        waiting = select.poll()
        waiting.register(self._raw._usock, select.POLLIN)  # noqa: SLF001 - pg8000 has no public name for its socket
        return bool(waiting.poll(0))

    def set_timeout(self, seconds: float | None) -> None:
        """How long a round trip may take; None: as long as it takes."""
        self._raw._usock.settimeout(seconds)  # noqa: SLF001 - pg8000 has no public name for its socket

    def close(self) -> None:
        """End the connection."""
        self.usable = False
        try:
            self._raw.close()
        except Exception as error:  # noqa: BLE001 - a broken connection may fail in any way as it ends
            logging.getLogger(__name__).debug("closing a connection failed: %r", error)

    def _prepare(self, sql: str) -> Any:
        from pg8000.native import PreparedStatement

        _count()
        statement = self._statements[sql] = PreparedStatement(self._raw, sql)
        return statement

    def _simple(self, sql: str) -> None:
        _count()
        try:
            self._raw.execute_simple(sql)
        except BaseException as error:
            raise self._translated(error) from error

    def _commit(self) -> None:
        try:
            self._simple("COMMIT")
        except ConnectionLost as lost:
            raise CommitUnknown(lost.detail, headers=_RETRY) from lost

    def _roll_back(self) -> None:
        if not self.usable:
            return
        try:
            self._simple("ROLLBACK")
        except ConnectionLost:
            self.usable = False

    def _translated(self, error: BaseException) -> BaseException:
        """The one place that turns a driver's error into ours.

        Only what the server told leaves the connection usable: after anything else half an answer may be on its way.
        """
        from pg8000.exceptions import DatabaseError, InterfaceError

        original = error  # the driver has no types: what is narrowed to its errors is Any
        if isinstance(error, DatabaseError) and error.args and isinstance(error.args[0], dict):
            fields: dict[str, str] = error.args[0]
            if known := CONSTRAINTS.get(fields.get("n", "")):
                return known()
            if fields.get("C") in _BUSY:
                return Unavailable("The database is busy; try again in a moment.", headers=_RETRY)
            if fields.get("C") not in _STALE:
                return original
            self.usable = False
            return ConnectionLost(repr(error), headers=_RETRY)
        self.usable = False
        return ConnectionLost(repr(error), headers=_RETRY) if isinstance(error, OSError | InterfaceError) else original


class ConnectionLost(Unavailable):
    """The database did not answer."""


class CommitUnknown(ConnectionLost):
    """The database did not answer to the commit: it may have happened."""


class Pool:
    """At most `size` connections; the one used last is used next."""

    def __init__(self, connect: Callable[[], Any], size: int, patience_s: float = CONNECT_TIMEOUT_S) -> None:
        """`connect` opens a raw connection. Who finds none free waits for `patience_s` seconds."""
        self._connect = connect
        self._patience_s = patience_s
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(size)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for as long as the block runs. Unavailable when none is free or reachable."""
        if not self._free.acquire(timeout=self._patience_s):
            raise Unavailable("The service is busy; try again in a moment.", headers=_RETRY)
        try:
            conn = self._take()
            try:
                yield conn
            finally:
                self._give_back(conn)
        finally:
            self._free.release()

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """`work` on a connection, and once more on a fresh one when the first turns out to be dead.

        For work of which nothing lasts when its connection is lost: one statement, reads, or one transaction.
        """
        try:
            with self.connection() as conn:
                return work(conn)
        except CommitUnknown:
            raise
        except ConnectionLost:
            self.drop_idle()
            with self.connection() as conn:
                return work(conn)

    def drop_idle(self) -> None:
        """End all connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()

    def _take(self) -> Connection:
        while conn := self._pop():
            if not conn.is_stale():
                return conn
            conn.close()
        try:
            return Connection(self._connect())
        except Exception as error:
            raise ConnectionLost(f"cannot connect: {error!r}", headers=_RETRY) from error

    def _pop(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, conn: Connection) -> None:
        conn.take_hooks()
        if not conn.usable or conn.in_transaction:
            conn.close()
            return
        with self._lock:
            self._idle.append(conn)


@cache
def pool() -> Pool:
    """The process's pool, made on first use: gunicorn forks after it has imported the function."""
    config = settings()
    return Pool(lambda: open_raw(config), config.threads)


def open_raw(config: Settings) -> Any:
    """A `pg8000.dbapi.Connection` as `config` says: by URL, else through the Cloud SQL connector."""
    raw = connect_url(config.database_url) if config.database_url else _connect_cloud_sql(config)
    raw.autocommit = True
    raw._usock.settimeout(SOCKET_TIMEOUT_S)  # noqa: SLF001 - with the connector's socket pg8000 ignores its timeout
    raw.execute_simple(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}; SET timezone = 'UTC'")
    return raw


def connect_url(url: str) -> Any:
    """A plain connection to `postgresql://user:password@host:port/name`, without TLS (it is local)."""
    import pg8000.dbapi

    parts = urlsplit(url)
    return pg8000.dbapi.connect(
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        database=parts.path.lstrip("/"),
        ssl_context=False,
        timeout=CONNECT_TIMEOUT_S,
    )


@cache
def _connector() -> Any:
    from google.cloud.sql.connector import Connector

    return Connector(refresh_strategy="lazy")


def _connect_cloud_sql(config: Settings) -> Any:
    instance, user = config.require("instance"), config.require("db_user")
    return _connector().connect(
        instance,
        "pg8000",
        user=user,
        db=config.require("db_name"),
        enable_iam_auth=True,
        ip_type="PRIVATE",
        ssl_context=False,
    )


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection of the pool, autocommitting: for one statement or for several that need not agree."""
    with pool().connection() as conn:
        yield conn


@contextmanager
def transaction() -> Iterator[Connection]:
    """A transaction on a connection of the pool; its hooks run after the connection is given back."""
    with pool().connection() as conn:
        with conn.transaction():
            yield conn
        hooks = conn.take_hooks()
    run_hooks(hooks)


def in_transaction(work: Callable[[Connection], Result]) -> Result:
    """What `work` returns in a transaction, tried once more when its connection is lost before the commit."""

    def run(conn: Connection) -> tuple[Result, list[Callable[[], None]]]:
        with conn.transaction():
            done = work(conn)
        return done, conn.take_hooks()

    done, hooks = pool().run(run)
    run_hooks(hooks)
    return done


def run_hooks(hooks: list[Callable[[], None]]) -> None:
    """Run what was to happen after the commit. A failure is logged: the sweep mends it."""
    for hook in hooks:
        try:
            hook()
        except Exception:
            logging.getLogger(__name__).exception("a hook after the commit failed; the sweep will mend it")
