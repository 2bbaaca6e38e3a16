"""The guarded sender and certificates, over real TLS."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from common.webhooks import connection
from common.webhooks.sender import send
from tests.webhooks.receivers import (
    BODY,
    HEADERS,
    HOST,
    Certificates,
    Receiver,
    answer,
    drip,
)


def long_ago():
    return {"not_before": datetime.now(UTC) - timedelta(days=9), "not_after": datetime.now(UTC) - timedelta(days=1)}


@pytest.mark.parametrize(
    ("names", "options", "reason"),
    [
        ((HOST,), long_ago(), "expired"),
        (("elsewhere.example.com",), {}, "Hostname mismatch"),
        (("*.com",), {}, "Hostname mismatch"),
        (("elsewhere.example.com",), {"common_name": HOST}, "Hostname mismatch"),
        (("127.0.0.1",), {"common_name": HOST}, "Hostname mismatch"),
    ],
)
def test_a_certificate_that_is_not_the_name_s_is_refused(receive, post, certificates, names, options, reason):
    receiver = receive(tls=certificates.server(*names, **options))
    outcome = post(receiver)
    assert (outcome.error_class, receiver.requests) == ("tls", [])
    assert reason in outcome.error


def test_a_certificate_of_an_unknown_authority_is_refused(receive, post, tmp_path):
    receiver = receive(tls=Certificates(tmp_path).server())
    outcome = post(receiver)
    assert (outcome.error_class, receiver.requests) == ("tls", [])
    assert "self-signed" in outcome.error or "issuer" in outcome.error


@pytest.fixture
def fresh_contexts():
    """Contexts are made once; what a test tells by the environment needs new ones, and must not stay."""
    connection.tls_context.cache_clear()
    yield
    connection.tls_context.cache_clear()


def test_the_system_s_authorities_are_trusted_when_no_other_is_named(
    receive, local_names, certificates, fresh_contexts, monkeypatch
):
    receiver = receive()
    url = f"https://{HOST}:{receiver.port}/"
    unknown = send(url, BODY, HEADERS, allow_local=True, resolver=local_names)
    assert (unknown.error_class, receiver.requests) == ("tls", [])
    connection.tls_context.cache_clear()
    monkeypatch.setenv("SSL_CERT_FILE", certificates.path)
    assert send(url, BODY, HEADERS, allow_local=True, resolver=local_names).ok


def test_a_receiver_that_speaks_plain_http_on_its_tls_port_is_told(running, post):
    assert post(running(Receiver(drip(b"HTTP/1.1 200 OK\r\n\r\n"), reads=False))).error_class == "tls"


def test_tls_older_than_1_2_is_refused(receive, post, certificates):
    old = certificates.server()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert post(receive(tls=old)).error_class == "tls"
    for context in (certificates.trusting, connection.tls_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.options & ssl.OP_NO_RENEGOTIATION


def test_tls_1_2_is_enough(receive, post, certificates):
    old = certificates.server()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert post(receive(tls=old)).ok


def test_a_receiver_that_asks_for_a_certificate_of_ours_is_told_as_tls(receive, post, certificates):
    demanding = certificates.server()
    demanding.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(demanding)
    assert post(receive(tls=demanding)).error_class == "tls"


def test_the_keys_of_connections_are_written_nowhere(receive, post, tmp_path, monkeypatch):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    fresh = Certificates(tmp_path)
    assert post(receive(tls=fresh.server()), tls=fresh.trusting).ok
    assert not (tmp_path / "keys.log").exists()


def test_http_1_1_is_asked_for(receive, post, certificates):
    modern = certificates.server()
    modern.set_alpn_protocols(["h2", "http/1.1"])
    outcome = post(
        receive(lambda conn, _: conn.sendall(answer(200, body=conn.selected_alpn_protocol().encode())), modern)
    )
    assert outcome.response_body == b"http/1.1"
