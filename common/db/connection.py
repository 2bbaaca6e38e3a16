"""One connection: its statements, its transaction, and what the driver's errors mean."""

import logging
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from common.errors import Conflict, Invalid, Problem, Unavailable

Row = dict[str, Any]

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
#: What an answer of 503 says of trying again.
RETRY = {"Retry-After": "1"}

#: How often this request has waited for the database; logged with it, for that is where its time goes.
round_trips: ContextVar[int] = ContextVar("round_trips", default=0)


def _count() -> None:
    round_trips.set(round_trips.get() + 1)


class ConnectionLost(Unavailable):
    """The database did not answer."""


class CommitUnknown(ConnectionLost):
    """The database did not answer to the commit: it may have happened."""


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
        # pg8000 leaves its buffer open, and so the socket, for as long as the traceback of what went wrong is kept.
        buffer = self._raw._sock  # noqa: SLF001 - pg8000 has no public name for it
        for end in (self._raw.close, buffer.close) if buffer else ():
            try:
                end()
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
            raise CommitUnknown(lost.detail, headers=RETRY) from lost

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
                return Unavailable("The database is busy; try again in a moment.", headers=RETRY)
            if fields.get("C") not in _STALE:
                return original
            self.usable = False
            return ConnectionLost(repr(error), headers=RETRY)
        self.usable = False
        return ConnectionLost(repr(error), headers=RETRY) if isinstance(error, OSError | InterfaceError) else original
