"""How a connection is opened: by URL locally, through the Cloud SQL connector in the cloud."""

from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from common.config import Settings

CONNECT_TIMEOUT_S = 10
#: Above the server's own statement timeout, so that the server is the one to end a slow statement.
SOCKET_TIMEOUT_S = 15
STATEMENT_TIMEOUT_MS = 10_000


def open_raw(config: Settings) -> Any:
    """A `pg8000.dbapi.Connection` as `config` says: by URL, else through the Cloud SQL connector."""
    raw = connect_url(config.database_url) if config.database_url else _connect_cloud_sql(config)
    raw.autocommit = True
    raw._usock.settimeout(SOCKET_TIMEOUT_S)  # noqa: SLF001 - with the connector's socket pg8000 ignores its timeout
    try:
        raw.execute_simple(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}; SET timezone = 'UTC'")
    except BaseException:
        raw.close()
        raise
    return raw


def connect_url(url: str) -> Any:
    """A plain, autocommitting connection to `postgresql://user:password@host:port/name`, without TLS (it is local)."""
    import pg8000.dbapi

    parts = urlsplit(url)
    raw = pg8000.dbapi.connect(
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        database=parts.path.lstrip("/"),
        ssl_context=False,
        timeout=CONNECT_TIMEOUT_S,
    )
    raw.autocommit = True
    return raw


@cache
def _connector() -> Any:
    from google.cloud.sql.connector import Connector

    return Connector(refresh_strategy="lazy")


def _connect_cloud_sql(config: Settings) -> Any:
    instance, user = config.require("instance_connection_name"), config.require("db_user")
    return _connector().connect(
        instance,
        "pg8000",
        user=user,
        db=config.require("db_name"),
        enable_iam_auth=True,
        ip_type="PRIVATE",
        ssl_context=False,
    )
