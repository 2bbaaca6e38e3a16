"""The guarded sender and hostile answers, over real sockets."""

import gzip
import re
import time
import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from common.webhooks.exchange import MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_KEPT_CHARACTERS
from tests.webhooks.receivers import (
    GENEROUS_MS,
    HOST,
    NO_CONTENT,
    answer,
    drip,
    flood,
    reset,
)


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
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 103 Hints\r\n\r\n",
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
    outcome = answered(
        raw + b"X-Nul: a\x00b\x1b[31m\x7f\xc2\x9b\r\nX-Latin: \xe9\r\nX-Tab: a\tb\r\nContent-Length: 0\r\n\r\n"
    )
    headers = outcome.response_headers
    assert (headers["x-name"], headers["x-twice"], headers["x-tab"]) == ("Zoë", "1, 2", "a\tb")
    assert (
        headers["x-nul"] == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m" + "\N{REPLACEMENT CHARACTER}" * 2
    )
    assert headers["x-latin"] == "\N{REPLACEMENT CHARACTER}"
    assert not any(re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value) for value in headers.values())


@pytest.mark.parametrize(
    "lines",
    [
        [b"X-Big: " + b"a" * 60_000, b"X-Late: 1"],
        [b"X-%d: " % n + b"\xe9" * 1000 for n in range(60)],
        [b"X" * 30_000 + b"%d: 1" % n for n in range(2)],
        [b"X-Twice: " + b"a" * 1000] * 60,
    ],
    ids=["a long one", "many", "long names", "one name"],
)
def test_no_more_of_the_headers_is_kept_than_can_be_shown(answered, lines):
    outcome = answered(b"\r\n".join([b"HTTP/1.1 503 Busy", b"Server: odd", *lines, b"Retry-After: 7", b"", b""]))
    assert (outcome.status_code, outcome.retry_after) == (503, 7)
    assert outcome.response_headers["server"] == "odd"
    assert sum(len(name) + len(value) for name, value in outcome.response_headers.items()) <= MAX_KEPT_CHARACTERS


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


def reset_after(sent):
    """A receiver that breaks the connection once this much of its answer is there."""

    def script(conn, receiver):
        conn.sendall(sent)
        time.sleep(0.2)
        reset(conn, receiver)

    return script


def test_a_connection_that_breaks_within_the_headers_is_no_answer(answered):
    outcome = answered(reset_after(b"HTTP/1.1 200 OK\r\nContent-Le"))
    assert (outcome.ok, outcome.status_code) == (False, None)
    assert outcome.error_class in ("connect", "protocol")


@pytest.mark.parametrize("how", [reset, b""])
def test_a_connection_that_breaks_after_the_request_is_told(answered, how):
    outcome = answered(how)
    assert (outcome.error_class, outcome.status_code) == ("connect", None)


def test_a_connection_that_breaks_in_the_body_leaves_the_status_to_decide(answered):
    outcome = answered(reset_after(b"HTTP/1.1 500 Broken\r\nContent-Length: 100\r\n\r\nsome"))
    assert (outcome.error_class, outcome.status_code, outcome.response_body) == ("http_5xx", 500, b"some")
