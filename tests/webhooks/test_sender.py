"""The guarded sender against servers, names and networks that mean it ill; over real sockets, DNS and TLS."""

import contextlib
import gzip
import json
import re
import socket
import ssl
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import dns.name
import dns.resolver
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.webhooks import connection
from common.webhooks.exchange import MAX_BODY_BYTES, MAX_HEAD_BYTES
from common.webhooks.outcome import Failed
from common.webhooks.sender import send
from tests.webhooks.receivers import (
    HOST,
    NO_CONTENT,
    Certificates,
    NameServer,
    Receiver,
    answer,
    drip,
    flood,
    reset,
    silent,
)

BODY = b'{"type":"webhook.test"}'
HEADERS = {"webhook-id": "msg_1", "content-type": "application/json"}
#: What a test allows a sender whose deadline is SHORT_S: far below for ever, far above a loaded machine's delays.
SHORT_S, GENEROUS_MS = 0.6, 8_000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def running():
    """Starts receivers and name servers, and stops them after the test."""
    with contextlib.ExitStack() as stack:

        def start(server):
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def local_names(running):
    """Every name is this machine."""
    return running(NameServer(A=["127.0.0.1"])).resolver()


@pytest.fixture
def receive(running, certificates):
    """A receiver over TLS that answers by `script`."""

    def start(script=NO_CONTENT, tls=None, **options):
        return running(Receiver(script, tls or certificates.server(), **options))

    return start


@pytest.fixture
def post(certificates, local_names):
    """Send to a receiver, by name and TLS, with everything guarded but loopback."""

    def run(receiver, path="/hooks", *, host=HOST, resolver=None, tls=None, body=BODY, **options):
        return send(
            f"https://{host}:{receiver.port}{path}",
            body,
            HEADERS,
            allow_local=True,
            resolver=resolver or local_names,
            tls=tls or certificates.trusting,
            **options,
        )

    return run


@pytest.fixture
def answered(receive, post):
    """What becomes of one attempt that is answered by `script`."""

    def run(script, **options):
        return post(receive(script), **options)

    return run


# --- what is sent -----------------------------------------------------------------------------------------------


def test_a_message_arrives_as_it_was_given(receive, post):
    receiver = receive()
    outcome = post(receiver, "/hooks;v=1?a=b&c=%20")
    assert (outcome.ok, outcome.status_code, outcome.error_class, outcome.error) == (True, 204, None, None)
    ((head, body),) = receiver.requests
    first, *lines = head.split("\r\n")
    assert first == "POST /hooks;v=1?a=b&c=%20 HTTP/1.1"
    assert body == BODY
    headers = dict(line.lower().split(": ") for line in lines)
    assert len(headers) == len(lines)
    assert headers == {
        "host": f"{HOST}:{receiver.port}",
        "webhook-id": "msg_1",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "connection": "close",
        "accept-encoding": "identity",
    }


def test_the_name_is_in_sni_and_the_address_is_the_vetted_one(receive, post):
    receiver = receive()
    outcome = post(receiver)
    assert receiver.names == [HOST]
    assert outcome.remote_address == "127.0.0.1"


def test_every_phase_is_timed(receive, post):
    outcome = post(receive())
    timings = outcome.timings
    phases = [timings.dns_ms, timings.connect_ms, timings.tls_ms, timings.first_byte_ms]
    assert all(phase is not None and phase >= 0 for phase in phases)
    assert sum(phases) <= outcome.duration_ms + len(phases)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/\r\nx-injected: 1",
        "https://hooks.example.com/ HTTP/1.1",
        "https://hooks.example.com\r\n/",
        "https://hooks.example.com/?a\x00b",
        "https://hooks.example.com/\x7f",
    ],
)
def test_nothing_in_a_url_becomes_a_header(local_names, url):
    outcome = send(url, BODY, HEADERS, allow_local=True, resolver=local_names)
    assert outcome.error_class == "address_not_allowed"


def test_the_receiver_of_a_url_without_a_path_is_asked_for_its_root(receive, post):
    receiver = receive()
    post(receiver, "?token=a")
    assert receiver.requests[0][0].startswith("POST /?token=a HTTP/1.1\r\n")


def test_the_url_is_checked_at_every_attempt(local_names):
    outcome = send("http://hooks.example.com/", BODY, HEADERS, allow_local=True, resolver=local_names)
    assert outcome.error_class == "address_not_allowed"
    assert "https" in outcome.error


def test_no_proxy_of_the_environment_is_used(running, receive, post, monkeypatch):
    proxy = running(Receiver())
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
    assert post(receive()).ok
    assert proxy.connections == 0


# --- names and addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "169.254.169.254", "0.0.0.0", "192.0.0.8", "192.88.99.1", "224.0.0.1", "100.100.100.200"],
)
def test_a_name_with_one_forbidden_address_among_several_is_refused(running, receive, post, address):
    names = running(NameServer(A=["127.0.0.1", address]))
    receiver = receive()
    outcome = post(receiver, resolver=names.resolver())
    assert (outcome.error_class, outcome.remote_address, receiver.connections) == ("address_not_allowed", None, 0)


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:0:a9fe:a9fe::1",
        "2606:4700::5efe:a9fe:a9fe",
        "fd20:ce::254",
        "fe80::1",
    ],
)
def test_a_forbidden_ipv6_address_beside_an_allowed_ipv4_one_is_refused(running, receive, post, address):
    names = running(NameServer(A=["127.0.0.1"], AAAA=[address]))
    receiver = receive()
    outcome = post(receiver, resolver=names.resolver())
    assert (outcome.error_class, receiver.connections) == ("address_not_allowed", 0)


def test_an_alias_of_a_forbidden_address_is_refused(running, receive, post):
    names = running(NameServer(via="metadata.example.net.", A=["169.254.169.254"]))
    assert post(receive(), resolver=names.resolver()).error_class == "address_not_allowed"


def test_loopback_is_refused_unless_it_is_allowed(receive, local_names, certificates):
    receiver = receive()
    outcome = send(
        f"https://{HOST}:{receiver.port}/",
        BODY,
        HEADERS,
        allow_local=False,
        resolver=local_names,
        tls=certificates.trusting,
    )
    assert (outcome.error_class, receiver.connections) == ("address_not_allowed", 0)
    assert outcome.timings.dns_ms is not None
    assert outcome.timings.connect_ms is None


def test_a_name_is_looked_up_once_so_rebinding_it_changes_nothing(running, receive, post):
    names = running(NameServer(A=[["127.0.0.1"], ["169.254.169.254"]]))
    assert post(receive(), resolver=names.resolver()).remote_address == "127.0.0.1"
    assert names.asked == [(f"{HOST}.", "A"), (f"{HOST}.", "AAAA")]


def test_a_name_that_became_private_after_it_was_registered_is_refused(running, receive, post):
    resolver = running(NameServer(A=[["127.0.0.1"], ["10.0.0.1"]])).resolver()
    assert post(receive(), resolver=resolver).ok
    assert post(receive(), resolver=resolver).error_class == "address_not_allowed"


def test_search_domains_have_no_say(running, receive, post):
    names = running(NameServer(A="NXDOMAIN", AAAA="NXDOMAIN"))
    resolver = names.resolver()
    resolver.search, resolver.ndots = [dns.name.from_text("internal.example.net.")], 5
    resolver.use_search_by_default = True
    assert post(receive(), resolver=resolver).error_class == "dns"
    assert {name for name, _ in names.asked} == {f"{HOST}."}


def test_a_receiver_that_has_ipv6_only_is_reached(running, receive, post):
    names = running(NameServer(AAAA=["::1"]))
    receiver = receive(address="::1")
    outcome = post(receiver, resolver=names.resolver())
    assert (outcome.ok, outcome.remote_address) == (True, "::1")


@pytest.mark.parametrize("failure", ["NXDOMAIN", "SERVFAIL", "REFUSED"])
def test_a_name_server_that_denies_ipv6_does_not_hide_the_ipv4_address(running, receive, post, failure):
    assert post(receive(), resolver=running(NameServer(A=["127.0.0.1"], AAAA=failure)).resolver()).ok


@pytest.mark.parametrize("failure", ["NXDOMAIN", "SERVFAIL", "REFUSED", []])
def test_a_name_without_an_address_is_told(running, receive, post, failure):
    outcome = post(receive(), resolver=running(NameServer(A=failure, AAAA=failure)).resolver())
    assert outcome.error_class == "dns"
    assert HOST in outcome.error


def test_a_name_server_that_never_answers_costs_the_deadline_and_leaves_nothing_behind(running, receive, post):
    resolver = running(NameServer(A="silence")).resolver()
    receiver, before = receive(), threading.active_count()
    for _ in range(3):
        outcome = post(receiver, resolver=resolver, deadline_s=SHORT_S)
        assert outcome.error_class == "timeout"
        assert SHORT_S * 900 <= outcome.duration_ms < GENEROUS_MS
    assert threading.active_count() == before


def test_without_a_resolver_the_machine_s_own_is_asked(running, receive, certificates, monkeypatch):
    names, receiver = running(NameServer(A=["127.0.0.1"])), receive()
    monkeypatch.setattr(dns.resolver, "default_resolver", names.resolver())
    url = f"https://{HOST}:{receiver.port}/"
    assert send(url, BODY, HEADERS, allow_local=True, tls=certificates.trusting).ok
    assert names.asked


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_local_receiver_needs_no_name_server_and_no_tls(running, host):
    names = running(NameServer(A="SERVFAIL"))
    receiver = running(Receiver(address="::1" if host == "[::1]" else "127.0.0.1"))
    outcome = send(f"http://{host}:{receiver.port}/", BODY, HEADERS, allow_local=True, resolver=names.resolver())
    assert outcome.ok
    assert f"\r\nhost: {host}:{receiver.port}\r\n" in receiver.requests[0][0].lower() + "\r\n"
    assert names.asked == []


def test_the_next_address_is_tried_when_one_does_not_answer(running, receive, post):
    names = running(NameServer(A=["127.0.0.2", "127.0.0.1"]))
    assert post(receive(), resolver=names.resolver()).remote_address == "127.0.0.1"


def test_a_name_with_many_addresses_does_not_make_a_scanner_of_the_sender(running, receive, post):
    dead = [f"127.0.1.{last}" for last in range(1, 21)]
    names = running(NameServer(A=[*dead, "127.0.0.1"]))
    receiver = receive()
    outcome = post(receiver, resolver=names.resolver())
    assert (outcome.error_class, receiver.connections) == ("connect", 0)


def test_a_connection_that_went_elsewhere_is_not_used(running):
    receiver = running(Receiver())
    with socket.create_connection(("127.0.0.1", receiver.port)) as sock:
        connection.check_peer(sock, "127.0.0.1")
        with pytest.raises(Failed, match="elsewhere") as refused:
            connection.check_peer(sock, "127.0.0.2")
    assert refused.value.error_class == "address_not_allowed"


def test_a_refused_connection_is_told(local_names, certificates):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = send(
        f"https://{HOST}:{port}/", BODY, HEADERS, allow_local=True, resolver=local_names, tls=certificates.trusting
    )
    assert (outcome.error_class, outcome.error) == ("connect", "no connection: Connection refused")


# --- TLS --------------------------------------------------------------------------------------------------------


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


# --- answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        *((200, None), (201, None), (202, None), (204, None), (299, None)),
        *((300, "redirect"), (304, "redirect"), (399, "redirect")),
        *((400, "http_4xx"), (401, "http_4xx"), (429, "http_4xx"), (499, "http_4xx"), (410, "gone")),
        *((500, "http_5xx"), (503, "http_5xx"), (599, "http_5xx")),
        *((101, "protocol"), (600, "protocol"), (999, "protocol")),
    ],
)
def test_only_2xx_is_success_and_every_other_status_has_its_class(answered, status, error_class):
    outcome = answered(f"HTTP/1.1 {status} Words\r\n\r\n".encode())
    assert (outcome.ok, outcome.status_code, outcome.error_class) == (error_class is None, status, error_class)
    assert (outcome.error is None) == outcome.ok


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "where", ["itself", "http://169.254.169.254/latest/meta-data", "/elsewhere", "//x", "nonsense:"]
)
def test_a_redirect_is_never_followed(receive, post, status, where):
    receiver = receive()
    location = f"https://{HOST}:{receiver.port}/again" if where == "itself" else where
    receiver.script = answer(status, f"Location: {location}")
    outcome = post(receiver)
    assert (outcome.ok, outcome.error_class, receiver.connections) == (False, "redirect", 1)


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_interim_answers_are_passed_over(answered, status):
    interim = f"HTTP/1.1 {status} Wait\r\nLink: </a>\r\nRetry-After: 9\r\n\r\n".encode()
    outcome = answered(interim * 3 + answer(200, "X-Final: 1", body=b"done"))
    assert (outcome.ok, outcome.status_code, outcome.response_body) == (True, 200, b"done")
    assert outcome.response_headers == {"x-final": "1", "content-length": "4"}
    assert outcome.retry_after is None


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"\x00\xff" * 100,
        b"HTTP/1.1 abc Words\r\n\r\n",
        b"HTTP/1.1 99 Words\r\n\r\n",
        b"HTTP/1.1 1000 Words\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 smtp.example.com ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(200)) + b"\r\n",
    ],
)
def test_what_is_not_http_is_told_as_such(answered, raw):
    outcome = answered(raw)
    assert (outcome.ok, outcome.error_class) == (False, "protocol")


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        (b"X-Big: " + b"a" * (MAX_HEAD_BYTES - 100), True),
        (b"X-Big: " + b"a" * MAX_HEAD_BYTES, False),
        (b"\r\n".join(b"X-%d: " % i + b"a" * 1000 for i in range(50)), True),
        (b"\r\n".join(b"X-%d: " % i + b"a" * 1000 for i in range(90)), False),
    ],
)
def test_headers_have_room_up_to_64_kib(answered, headers, fits):
    outcome = answered(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\nContent-Length: 0\r\n\r\n")
    assert (outcome.ok, outcome.error_class) == ((True, None) if fits else (False, "protocol"))


def test_headers_are_told_as_text_without_control_characters(answered):
    raw = "HTTP/1.1 200 OK\r\nX-Name: Zoë\r\nX-Twice: 1\r\nx-twice: 2\r\nX-Folded: a\r\n b\r\n".encode()
    outcome = answered(raw + b"X-Nul: a\x00b\x1b[31m\r\nX-Latin: \xe9\r\nX-Tab: a\tb\r\nContent-Length: 0\r\n\r\n")
    headers = outcome.response_headers
    assert (headers["x-name"], headers["x-twice"], headers["x-tab"]) == ("Zoë", "1, 2", "a\tb")
    assert headers["x-nul"] == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m"
    assert headers["x-latin"] == "\N{REPLACEMENT CHARACTER}"
    assert not any(re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value) for value in headers.values())


def test_a_body_is_kept_as_it_came_whatever_it_is(answered):
    raw = bytes(range(256))
    assert answered(answer(500, body=raw)).response_body == raw


def test_a_body_is_never_unpacked(answered):
    bomb = gzip.compress(b"\x00" * (16 << 20))
    outcome = answered(answer(200, "Content-Encoding: gzip", body=bomb))
    assert outcome.ok
    assert outcome.response_body == bomb[:MAX_BODY_BYTES]


@pytest.mark.parametrize("framing", [b"", b"Content-Length: 1073741824\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_endless_body_is_cut_and_costs_little_memory(answered, framing):
    piece = b"a" * 4000
    chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if b"chunked" in framing else piece
    script = flood(chunk, after=b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
    answered(NO_CONTENT)  # imports
    tracemalloc.start()
    try:
        outcome = answered(script)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome.ok
    assert outcome.response_body == b"a" * MAX_BODY_BYTES
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("piece", "after"),
    [(b"1;" + b"e" * 60_000 + b"\r\na\r\n", b""), (b"X-Trailer: " + b"t" * 4_000 + b"\r\n", b"0\r\n")],
    ids=["extensions", "trailers"],
)
def test_what_surrounds_the_chunks_is_bounded_too(receive, post, piece, after):
    receiver = receive(flood(piece, after=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + after))
    assert post(receiver).ok
    assert receiver.taken < 32 << 20  # the rest of it is the kernel's buffers


def test_no_more_of_a_body_is_awaited_than_is_kept(answered):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    outcome = answered(drip(b"", after=head + b"a" * MAX_BODY_BYTES), deadline_s=30)
    assert outcome.response_body == b"a" * MAX_BODY_BYTES
    assert outcome.duration_ms < GENEROUS_MS


def test_a_body_ends_where_its_length_says_though_the_connection_stays_open(answered):
    outcome = answered(drip(b"", after=answer(200, body=b"short") + b"HTTP/1.1 500 Smuggled\r\n\r\n"))
    assert (outcome.ok, outcome.status_code, outcome.response_body) == (True, 200, b"short")
    assert outcome.duration_ms < GENEROUS_MS


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"3\r\nabc\r\nzz\r\n", b"abc"),
        (b"3\r\nabc\r\n-5\r\nxxxxxxxx", b"abc"),
        (b"3;" + b"e" * 70_000 + b"\r\nabc\r\n", b""),
        (b"ffffffffffffffffffffff\r\nabc", b"abc"),
        (b"10\r\nabc", b"abc"),
        (b"\r\n\r\n", b""),
        (b"0\r\nX-Trailer: " + b"t" * 70_000 + b"\r\n\r\n", b""),
    ],
)
def test_broken_chunks_end_the_body_and_the_status_decides(answered, raw, kept):
    outcome = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n" + raw)
    assert (outcome.ok, outcome.error_class) == (True, None)
    assert outcome.response_body[: len(kept)] == kept


def test_a_chunk_of_size_minus_one_reads_no_more_than_any_other_body(answered):
    outcome = answered(flood(b"a" * 4096, after=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"))
    assert outcome.ok
    assert len(outcome.response_body) <= MAX_BODY_BYTES


@pytest.mark.parametrize("length", ["-1", "9" * 5000, "abc", "5, 5", ""])
def test_a_nonsensical_length_does_no_harm(answered, length):
    outcome = answered(f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello".encode())
    assert (outcome.ok, outcome.response_body) == (True, b"hello")


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        *(("0", 0, 0), ("120", 120, 120), ("31536000", 31536000, 31536000)),
        *(("-5", None, None), ("soon", None, None), ("1.5", None, None), ("", None, None)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("{in a minute}", 50, 60),
    ],
)
def test_retry_after_is_read(answered, value, least, most):
    moment = datetime.now(UTC) + timedelta(seconds=60)
    value = value.replace("{in a minute}", moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    outcome = answered(answer(503, f"Retry-After: {value}"))
    assert outcome.retry_after is None if least is None else least <= outcome.retry_after <= most


@pytest.mark.parametrize("how", [reset, b""])
def test_a_connection_that_breaks_after_the_request_is_told(answered, how):
    outcome = answered(how)
    assert (outcome.error_class, outcome.status_code) == ("connect", None)


def test_a_connection_that_breaks_in_the_body_leaves_the_status_to_decide(answered):
    def script(conn, receiver):
        conn.sendall(b"HTTP/1.1 500 Broken\r\nContent-Length: 100\r\n\r\nsome")
        time.sleep(0.2)
        reset(conn, receiver)

    outcome = answered(script)
    assert (outcome.error_class, outcome.status_code, outcome.response_body) == ("http_5xx", 500, b"some")


# --- the one deadline -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        silent,
        drip(b"H", after=b"HTTP/1.1 2"),
        drip(b"X", after=b"HTTP/1.1 200 OK\r\n"),
        drip(b"HTTP/1.1 103 Hints\r\n\r\n"),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silence", "status", "headers", "103", "100"],
)
def test_an_answer_that_takes_its_time_ends_at_the_deadline(answered, script):
    outcome = answered(script, deadline_s=SHORT_S)
    assert (outcome.error_class, outcome.status_code) == ("timeout", None)
    assert SHORT_S * 900 <= outcome.duration_ms < GENEROUS_MS


@pytest.mark.parametrize("piece", [b"HTTP/1.1 103 Hints\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"a" * 4096])
def test_a_flood_before_the_answer_is_cut(answered, piece):
    outcome = answered(flood(piece * 100, after=b"HTTP/1.1 100 Continue\r\nX: "), deadline_s=30)
    assert outcome.error_class == "protocol"
    assert outcome.duration_ms < GENEROUS_MS


@pytest.mark.parametrize(
    ("framing", "piece", "seen"),
    [
        (b"", b"a", b"a"),
        (b"Content-Length: 10000\r\n", b"a", b"a"),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n", b""),
    ],
)
def test_a_body_that_drips_ends_at_the_deadline_and_the_status_decides(answered, framing, piece, seen):
    outcome = answered(drip(piece, after=b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n"), deadline_s=SHORT_S)
    assert (outcome.ok, outcome.status_code) == (True, 200)
    assert outcome.response_body.startswith(seen)
    assert set(outcome.response_body) <= {ord("a")}
    assert outcome.duration_ms < GENEROUS_MS


def test_a_handshake_that_drips_ends_at_the_deadline(running, post):
    hello = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + b"\x00" * 16000

    def script(conn, receiver):
        for byte in hello:
            if receiver.over.wait(0.02):
                return
            conn.sendall(bytes([byte]))

    outcome = post(running(Receiver(script, reads=False)), deadline_s=SHORT_S)
    assert (outcome.error_class, outcome.timings.tls_ms) == ("timeout", None)
    assert SHORT_S * 900 <= outcome.duration_ms < GENEROUS_MS


@pytest.mark.parametrize("secure", [True, False], ids=["tls", "plain"])
def test_a_receiver_that_takes_the_request_in_drips_ends_at_the_deadline(running, post, certificates, secure):
    def script(conn, receiver):
        while not receiver.over.wait(0.02):
            for _ in range(4):  # a TLS record each
                conn.recv(16 << 10)

    receiver = running(Receiver(script, certificates.server() if secure else None, reads=False))
    body = b"a" * (64 << 20)
    if secure:
        outcome = post(receiver, body=body, deadline_s=SHORT_S)
    else:
        outcome = send(f"http://127.0.0.1:{receiver.port}/", body, HEADERS, allow_local=True, deadline_s=SHORT_S)
    assert (outcome.error_class, outcome.status_code) == ("timeout", None)
    assert SHORT_S * 900 <= outcome.duration_ms < GENEROUS_MS


def test_a_receiver_that_does_not_take_the_connection_ends_at_the_deadline(local_names, certificates):
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(8):  # more than the queue of connections holds: the next ones hang
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        outcome = send(
            f"https://{HOST}:{port}/",
            BODY,
            HEADERS,
            allow_local=True,
            deadline_s=SHORT_S,
            resolver=local_names,
            tls=certificates.trusting,
        )
    assert (outcome.error_class, outcome.timings.connect_ms) == ("timeout", None)
    assert SHORT_S * 900 <= outcome.duration_ms < GENEROUS_MS


# --- whatever it is ---------------------------------------------------------------------------------------------

LINES = st.sampled_from(
    [
        *(b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"),
        *(b"Retry-After: 7", b"Retry-After: \xff", b"Retry-After: Thu, 99 Foo 0000 99:99:99 +9999", b": nameless"),
        *(b"Content-Type: text/\x00", b" folded", b"no colon", b"X: \x85\x0b\x0c\x1c", b"Connection: close", b"\rX: y"),
    ]
)
ANSWERS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda start, lines, body: start + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body,
        st.one_of(
            st.integers(0, 1100).map(lambda status: b"HTTP/1.1 %d OK" % status),
            st.sampled_from([b"HTTP/1.0 200", b"HTTP/1.1 \xb200 OK", b"HTTP/1.1 2_00", b"HTTP/1.9 200 \x00"]),
        ),
        st.lists(st.one_of(LINES, st.binary(max_size=40)), max_size=5),
        st.one_of(st.binary(max_size=80), st.just(b"5\r\nhello\r\n-1\r\n"), st.just(b"5\r\nhello\r\n0\r\nX\r\n\r\n")),
    ),
)


@pytest.fixture(scope="module")
def told():
    """A receiver over plain HTTP whose answer is set for each example."""
    receiver = Receiver()
    yield receiver
    receiver.stop()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raw=ANSWERS)
def test_no_answer_makes_the_sender_raise_or_tell_what_cannot_be(told, raw):
    told.script = raw
    outcome = send(f"http://127.0.0.1:{told.port}/", BODY, HEADERS, allow_local=True)
    assert outcome.ok == (outcome.status_code is not None and 200 <= outcome.status_code < 300)
    assert outcome.ok == (outcome.error_class is None) == (outcome.error is None)
    assert len(outcome.response_body) <= MAX_BODY_BYTES
    assert outcome.retry_after is None or outcome.retry_after >= 0
    stored = json.dumps(outcome.response_headers) + (outcome.error or "")
    assert "\\u0000" not in stored
    assert "\x00" not in stored
