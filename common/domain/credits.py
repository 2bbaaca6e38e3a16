"""Credits: what an account has, and what a render costs it."""

from common.auth.caller import Caller
from common.dal import credits as dal
from common.db import Connection
from common.domain.prices import PRICES
from common.schemas.credits import Credits


def get(conn: Connection, caller: Caller) -> Credits:
    """The caller's balance and the prices."""
    return Credits(**dal.get_balance(conn, caller.account_id), prices=PRICES)
