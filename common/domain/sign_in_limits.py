"""Brute force: how often a sign-in may fail.

Three buckets: of the address, of the account from this address, and of the account from everywhere. The first one
answers 429; the others lock the account without telling, once the password has been hashed, and drain by
themselves within a minute. A stranger who keeps the account's bucket full does not lock out its owner, whose own
networks (those that it has signed in from lately) do not look at it.
"""

import hashlib
from dataclasses import dataclass

from common.auth.failures import too_often
from common.auth.limits import WINDOW_S
from common.config import settings
from common.dal import callers
from common.db import Connection


@dataclass(frozen=True, slots=True)
class Tried:
    """What a sign-in took: from which buckets, in seconds, and which of the account's were full."""

    taken: dict[str, float]
    full_here: bool
    full_everywhere: bool

    def locked(self, *, known: bool) -> bool:
        """Whether the account is locked for a caller from a network that it `known`-ly uses, or from another."""
        return self.full_here or (self.full_everywhere and not known)

    def give_back(self, conn: Connection) -> None:
        """The sign-in was a good one and costs nothing."""
        for bucket, interval_s in self.taken.items():
            callers.give_back(conn, bucket, interval_s)


def take(conn: Connection, network: str, email: str) -> Tried:
    """Count a sign-in. RateLimited when the network has failed too often, for whatever accounts.

    `email` is as the database folds it: by another folding one account could be guessed at under several names
    (Python's makes two characters of `İ`, PostgreSQL's an `i`).

    Each bucket is taken from only when the one before it had room: a single address cannot fill an account's.
    """
    config = settings()
    person = hashlib.sha256(email.encode()).hexdigest()
    address, pair, account = f"signin:{network}", f"signin:{network}:{person}", f"signin:{person}"
    taken: dict[str, float] = {}

    def full(bucket: str, rate: int) -> float:
        wait = callers.attempt(conn, bucket, WINDOW_S / rate)
        if wait <= 0:
            taken[bucket] = WINDOW_S / rate
        return wait

    wait = full(address, config.signin_address_rate)
    if wait > 0:
        raise too_often("sign-ins", wait)
    full_here = full(pair, config.signin_pair_rate) > 0
    full_everywhere = not full_here and full(account, config.signin_account_rate) > 0
    return Tried(taken, full_here, full_everywhere)
