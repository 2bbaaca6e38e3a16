"""URLs that `signBlob` signs, by Google's own code over real TLS; only Google's server is ours.

It is reached through a proxy, as HTTPS_PROXY names one, that has a certificate of Google's host.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ROOT = Path(__file__).parents[2]
IAM = "iamcredentials.googleapis.com"
ACCOUNT = "uploads@project.iam.gserviceaccount.com"
SIGN = """
import json
from common.clients import storage
from common.errors import Unavailable
for _ in range(2):
    try:
        print(storage.read_url("renders/a.jpg").url)
    except Unavailable as error:
        print("unavailable", error.detail)
"""


class Google(BaseHTTPRequestHandler):
    """The token endpoint, over HTTP, and `signBlob`, in a tunnel."""

    protocol_version = "HTTP/1.1"

    def do_CONNECT(self):
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            self.answer(200, {"access_token": "ours", "expires_in": 3600, "token_type": "Bearer"})
            return
        self.server.seen.append((self.path, self.headers["Authorization"]))
        status = self.server.statuses.pop(0)
        if status is None:
            self.server.over.wait(30)
            self.close_connection = True
            return
        signature = self.server.key.sign(
            base64.b64decode(json.loads(body)["payload"]), padding.PKCS1v15(), hashes.SHA256()
        )
        self.answer(status, {"keyId": "k", "signedBlob": base64.b64encode(signature).decode()})

    def finish(self):
        super().finish()
        self.connection.close()

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def google(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Google)
    server.tls = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert(IAM).configure_cert(server.tls)
    server.key = rsa.generate_private_key(65537, 2048)
    server.seen, server.statuses, server.over = [], [], threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(google, tmp_path):
    address = f"http://127.0.0.1:{google.server_port}"
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    known = {"type": "service_account", "client_email": ACCOUNT, "private_key": pem.decode()}
    (tmp_path / "adc.json").write_text(json.dumps(known | {"token_uri": f"{address}/token", "project_id": "project"}))
    return {
        "PATH": os.environ["PATH"],
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "adc.json"),
        "HTTPS_PROXY": address,
        "NO_PROXY": "127.0.0.1",
        "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem"),
        "GCS_BUCKET": "pictures",
        "STORAGE_SIGNING_ACCOUNT": ACCOUNT,
    }


def signed(environment):
    """What two calls for the same URL give."""
    done = subprocess.run(
        [sys.executable, "-c", SIGN], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


def canonical_request(url):
    """What a V4 signature signs, by https://cloud.google.com/storage/docs/authentication/canonical-requests."""
    parts = urlsplit(url)
    query = parts.query.partition("&X-Goog-Signature=")[0]
    lines = ["GET", parts.path, query, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"]
    digest = hashes.Hash(hashes.SHA256())
    digest.update("\n".join(lines).encode())
    asked = parse_qs(query)
    scope = asked["X-Goog-Credential"][0].partition("/")[2]
    return "\n".join(["GOOG4-RSA-SHA256", asked["X-Goog-Date"][0], scope, digest.finalize().hex()])


def test_a_url_is_signed_by_sign_blob_once_an_hour(google, environment):
    google.statuses = [200]
    first, second = signed(environment)
    assert first == second
    assert google.seen == [(f"/v1/projects/-/serviceAccounts/{ACCOUNT}:signBlob", "Bearer ours")]
    assert first.startswith("https://storage.googleapis.com/pictures/renders/a.jpg?")
    asked = parse_qs(urlsplit(first).query)
    assert asked["X-Goog-Credential"][0].startswith(f"{ACCOUNT}/")
    # From the full hour on, and for less than the 12 h after which a signature by `signBlob` ends.
    assert asked["X-Goog-Date"][0].endswith("0000Z")
    assert asked["X-Goog-Expires"] == [str(6 * 3600)]
    google.key.public_key().verify(
        bytes.fromhex(asked["X-Goog-Signature"][0]),
        canonical_request(first).encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )


def test_a_sign_blob_that_is_overloaded_is_asked_again(google, environment):
    google.statuses = [503, 200]
    first, second = signed(environment)
    assert first == second
    assert first.startswith("https://")


@pytest.mark.parametrize("statuses", [[None, None], [403]], ids=["it hangs", "it refuses"])
def test_while_nothing_can_be_signed_the_service_is_unavailable_and_later_it_is_not(google, environment, statuses):
    google.statuses = [*statuses, 200]
    first, second = signed(environment)
    assert first.startswith("unavailable Cloud Storage does not answer")
    assert second.startswith("https://")
