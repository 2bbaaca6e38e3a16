"""Credits: what an account has and had, what a render costs it, and whether the books agree."""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any
from uuid import UUID

from common import db, engines, log
from common.auth.caller import Caller
from common.dal import credits as dal
from common.dal import housekeeping
from common.db import Connection, Row
from common.domain import paging
from common.domain.prices import PRICES
from common.errors import Unavailable
from common.schemas.base import Page, PageQuery
from common.schemas.credits import Credits, Entry

_BATCH = 500


def get(conn: Connection, caller: Caller) -> Credits:
    """The caller's balance and the prices."""
    available = {name: PRICES[name] for name in engines.names()}
    prices = available[engines.choose("auto").info.name]
    return Credits(**dal.get_balance(conn, caller.account_id), prices=prices, engine_prices=available)


def list_entries(conn: Connection, caller: Caller, query: PageQuery) -> Page[Entry]:
    """The caller's entries, newest first."""
    rows = dal.list_entries(conn, caller.account_id, paging.decode(query.cursor), query.limit + 1)
    items, next_cursor = paging.cut([Entry(**row) for row in rows], query.limit)
    return Page[Entry](items=items, next_cursor=next_cursor)


def reconcile_daily() -> None:
    """`reconcile`, when it was not done yet since midnight, UTC."""
    if db.in_transaction(partial(housekeeping.claim_day, name="reconcile")):
        log.event("credits_reconciled", differ=sum(1 for _ in reconcile()))


def reconcile() -> Iterator[dict[str, Any]]:
    """Each account whose balance, entries and renders do not agree, and in what; logged as an error event.

    An account at a time, each at one moment: nothing is locked, and a run may take as long as it needs. One that could
    not be asked for is `unchecked`, and the others are still checked.
    """
    for account_id in _accounts():
        try:
            with db.reading() as conn:
                differences = _differences(dal.compare(conn, account_id))
        except Unavailable as error:
            differences = {"unchecked": error.detail}
        if differences:
            log.event("credits_differ", level=logging.ERROR, accountId=account_id, **differences)
            yield {"accountId": account_id, **differences}


def _accounts() -> Iterator[UUID]:
    after = paging.FIRST
    while True:
        with db.reading() as conn:
            found = dal.list_accounts(conn, after, _BATCH)
        yield from found
        if len(found) < _BATCH:
            return
        after = found[-1]


def _differences(row: Row) -> dict[str, Any]:
    """What does not agree: each part of the balance beside what its entries or its renders add up to."""
    pairs = [
        (name, f"{source}_{name}")
        for source, names in (("entries", ("available", "held", "spent", "granted")), ("renders", ("held", "spent")))
        for name in names
    ]
    found = {told: f"{row[told]}, not {row[name]}" for name, told in pairs if row[told] != row[name]}
    return found | ({"unsettled": row["unsettled"]} if row["unsettled"] else {})
