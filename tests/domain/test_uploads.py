"""An upload's completion while Cloud Storage takes its time."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common import config, db
from common.clients import storage
from common.dal import uploads as dal
from common.domain import uploads
from common.errors import Conflict


class Slow(BaseHTTPRequestHandler):
    """A Cloud Storage that has nothing, and that meanwhile somebody else asks the database."""

    def do_GET(self):
        with db.pool().connection() as conn:
            self.server.meanwhile.append(conn.one("SELECT 1 AS n")["n"])
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def slow_storage(database, monkeypatch):
    """Functions on the test's database with one connection, and with a storage that is slow."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.meanwhile = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DATABASE_URL", database.app_url)
    monkeypatch.setenv("THREADS", "1")
    monkeypatch.setenv("GCS_BUCKET", "media")
    monkeypatch.setenv("STORAGE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    cached = (config.settings, db.pool, storage._bucket)
    for found in cached:
        found.cache_clear()
    yield server
    storage._bucket().client._http.close()
    db.pool().drop_idle()
    for found in cached:
        found.cache_clear()
    server.shutdown()
    server.server_close()


def test_no_connection_is_held_while_cloud_storage_is_asked(database, slow_storage):
    caller = database.account()
    upload = database.upload(caller)
    database.sql("UPDATE uploads SET status = 'pending', generation = NULL WHERE id = :id::uuid", id=upload)
    with pytest.raises(Conflict, match="has not arrived"):
        uploads.complete(caller, upload)
    assert set(slow_storage.meanwhile) == {1}


def test_an_upload_that_is_canceled_while_it_is_verified_stays_canceled(database):
    caller = database.account()
    upload = database.upload(caller)
    database.sql("UPDATE uploads SET status = 'pending' WHERE id = :id::uuid RETURNING 1", id=upload)
    with database.connection() as conn:
        uploads.cancel(conn, caller, upload)
        assert dal.complete(conn, caller.account_id, upload, md5="", generation=2, width=1, height=1) is None
        assert dal.find(conn, caller.account_id, upload)["status"] == "canceled"
