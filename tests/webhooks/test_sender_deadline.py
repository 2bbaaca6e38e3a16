"""The guarded sender's one deadline, over receivers that take their time."""

import contextlib
import socket

import pytest

from common.webhooks.sender import send
from tests.webhooks.receivers import (
    BODY,
    GENEROUS_MS,
    HEADERS,
    HOST,
    SHORT_S,
    Receiver,
    drip,
    flood,
    silent,
)


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
