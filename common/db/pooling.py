"""The process's pool, and transactions on it."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from common.config import settings
from common.db.connection import RETRY, CommitUnknown, Connection, ConnectionLost
from common.db.opening import CONNECT_TIMEOUT_S, open_raw
from common.errors import Unavailable

Result = TypeVar("Result")


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
            raise Unavailable("The service is busy; try again in a moment.", headers=RETRY)
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
            raise ConnectionLost(f"cannot connect: {error!r}", headers=RETRY) from error

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
