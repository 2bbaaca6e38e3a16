"""A running Cloud Storage stand-in, and what is needed to talk to it: shared by its tests."""

import os
import signal
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from google.auth.credentials import AnonymousCredentials
from google.auth.crypt import RSASigner
from google.cloud.storage import Client
from google.cloud.storage._signing import generate_signed_url_v4
from google.oauth2.service_account import Credentials

from tests.support import exchange
from tools.local import identity
from tools.local.processes import Child

BUCKET, EMAIL = "pictures", "signer@example.iam.gserviceaccount.com"
QUANTUM = 256 << 10


class Storage:
    """A running stand-in, and what is needed to talk to it."""

    def __init__(self, folder, *flags):
        self.folder, self.flags = folder, flags
        self.key = identity.generate_key_pem()
        (folder / "key.pub").write_text(identity.public_pem(self.key))
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        flags = ["--port", str(self.port), "--data", str(self.folder / "data"), "--bucket", BUCKET]
        flags += ["--signer", f"{EMAIL}={self.folder / 'key.pub'}", *self.flags]
        self.child = Child("storage", "tools.local.storage", flags, self.folder / "log")
        self.child.wait_until(self.answers)

    def answers(self):
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        os.kill(self.child._process.pid, signal.SIGKILL)
        self.child.stop()

    def bucket(self):
        client = Client("test", credentials=AnonymousCredentials(), client_options={"api_endpoint": self.url})
        return client.bucket(BUCKET)

    def sign(self, name, method, *, headers=None, expires_s=600, key=None, begins=None, email=EMAIL, **more):
        """A V4 signed URL, by the client library's own function; `begins` is now unless it is told."""
        return generate_signed_url_v4(
            Credentials(RSASigner.from_string(key or self.key), email, ""),
            resource=f"/{BUCKET}/{quote(name)}",
            expiration=timedelta(seconds=expires_s),
            method=method,
            headers=dict(headers or {}),
            api_access_endpoint=self.url,
            _request_timestamp=f"{begins or datetime.now(UTC):%Y%m%dT%H%M%SZ}",
            **more,
        )


START = {"Content-Type": "image/png", "x-goog-resumable": "start", "x-goog-if-generation-match": "0"}


def begin(storage, name):
    """The URI of a new resumable session."""
    status, headers, body = exchange("POST", storage.sign(name, "RESUMABLE", headers=START), headers=START)
    assert status == 201, body
    return headers["Location"]


def put(uri, data, start, total):
    end = start + len(data) - 1
    return exchange("PUT", uri, data, {"Content-Range": f"bytes {start}-{end}/{total}"})


def ask(uri, total="*"):
    status, headers, _ = exchange("PUT", uri, b"", {"Content-Range": f"bytes */{total}"})
    return status, headers.get("Range")
