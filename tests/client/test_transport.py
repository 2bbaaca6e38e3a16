"""The client over real TLS, and through the proxy of an office; and that it needs nothing but Python 3.9."""

import ast
import select
import socket
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from renderiq_client import Client, NetworkError
from tests.fault_proxy import FaultProxy

SOURCES = sorted((Path(__file__).parents[2] / "clients" / "python" / "renderiq_client").glob("*.py"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of localhost, and its key, in one file; it vouches for itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.OID_COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(pem))
    return path


@pytest.fixture
def secure(stack, certificate):
    """The API behind TLS: its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running = FaultProxy(stack.base_url, context)
    yield running.server_port
    running.close()


class Office(BaseHTTPRequestHandler):
    """A proxy that only tunnels, and only for those who say who they are."""

    def do_CONNECT(self):
        self.server.seen.append((self.path, self.headers["Proxy-Authorization"]))
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            pairs = {self.connection: there, there: self.connection}
            while True:
                for ready in select.select(list(pairs), [], [], 30)[0]:
                    data = ready.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    pairs[ready].sendall(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def office():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Office)
    server.seen = []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_call_goes_over_tls(stack, secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert Client(f"https://localhost:{secure}", stack.api_key).me()["user"]["email"] == stack.email


def test_who_is_not_who_it_should_be_gets_no_key_and_no_second_try(stack, secure):
    with pytest.raises(NetworkError, match="is not who it should be: self-signed certificate"):
        Client(f"https://localhost:{secure}", stack.api_key).me()


def test_a_certificate_of_another_host_is_refused(stack, secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(NetworkError, match="is not who it should be: .*not valid for '127.0.0.1'"):
        Client(f"https://127.0.0.1:{secure}", stack.api_key).me()


def test_a_call_goes_through_the_offices_proxy(stack, secure, certificate, office, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("https_proxy", f"http://user:p%40ss@127.0.0.1:{office.server_port}")
    monkeypatch.setenv("no_proxy", "")
    assert Client(f"https://localhost:{secure}", stack.api_key).me()["user"]["email"] == stack.email
    assert office.seen == [(f"localhost:{secure}", "Basic dXNlcjpwQHNz")]
    monkeypatch.setenv("no_proxy", "localhost")
    Client(f"https://localhost:{secure}", stack.api_key).me()
    assert len(office.seen) == 1


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_it_is_python_3_9_and_imports_the_standard_library_only(source):
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    packages = {name.partition(".")[0] for name in imported(tree)}
    assert packages <= {"renderiq_client", *sys.stdlib_module_names}
