"""PostgreSQL: a small pool of pg8000 connections, prepared statements and transactions.

A prepared statement that stays on its connection costs one round trip where pg8000's own `run` costs
three (57 µs and 176 µs on a local socket), so every statement of the DAL is prepared once a connection.
This is the only package that knows the driver.
"""

from common.db.connection import CommitUnknown, Connection, ConnectionLost, Row, round_trips
from common.db.opening import connect_url, open_raw
from common.db.pooling import Pool, in_transaction, pool, reading, run_hooks, transaction

__all__ = [
    "CommitUnknown",
    "Connection",
    "ConnectionLost",
    "Pool",
    "Row",
    "connect_url",
    "in_transaction",
    "open_raw",
    "pool",
    "reading",
    "round_trips",
    "run_hooks",
    "transaction",
]
