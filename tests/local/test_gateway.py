"""The gateway answers whatever comes over the wire, or ends the connection; nothing keeps it from others."""

import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.support import request, send

HEALTH = "/api/plugins/health"
PROJECTS = "/api/plugins/projects"


def raw(stack, data, timeout_s=10.0):
    """All that comes back for the bytes `data` until the gateway closes, which the request asks for."""
    parts, got = urlsplit(stack.base_url), b""
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout_s) as conn:
        conn.sendall(data)
        try:
            while chunk := conn.recv(65536):
                got += chunk
        except ConnectionResetError:  # it was refused before all of it was read
            assert got
    return got


def project():
    return b'{"name": "%s"}' % uuid4().hex.encode()


def posting(stack, *headers):
    return [b"X-API-Key: " + stack.api_key.encode(), b"Content-Type: application/json", *headers]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PUT", "PROPFIND"])
def test_a_method_that_a_path_does_not_have_is_told_which_it_has(stack, method):
    answer = send(stack.base_url, method, HEALTH)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    assert (answer.code if answer.body else "method_not_allowed") == "method_not_allowed"


@pytest.mark.parametrize(
    "target",
    [
        *("/api//plugins/health", f"{HEALTH}/", "/api/plugins/../plugins/health", "/api/plugins/%2e%2e/plugins/health"),
        *("/", "*", "//", "///", "//evil.example/x", "/.", "/..", "/api/plugins/%", "/api/plugins/%zz", "/%ff%fe"),
        *("/api/plugins/%00", "/api/plugins/keys/a%2fb", f"{HEALTH};x=1", "/api\\plugins\\health", "/" + "a" * 100_000),
        *("/API/PLUGINS/HEALTH", "/api/plugins/health%20", "/api/plugins/%C0%AFhealth", "/%3Cscript%3E"),
    ],
    ids=lambda target: target[:30],
)
def test_what_is_no_endpoints_path_is_not_found(stack, target):
    answer = send(stack.base_url, "GET", target)
    assert (answer.status, answer.code) == (404, "not_found"), answer.body


def test_a_percent_encoded_path_is_the_path_it_stands_for(stack):
    assert send(stack.base_url, "GET", "/api/plugins/%68ealth?a%=b#c").status == 200


@pytest.mark.parametrize(
    "body",
    [
        lambda text: b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text),
        lambda text: b"".join(b"1\r\n%c\r\n" % c for c in text) + b"0\r\n\r\n",
    ],
    ids=["one", "many"],
)
def test_a_body_may_come_in_chunks(stack, body):
    headers = posting(stack, b"Transfer-Encoding: chunked")
    assert send(stack.base_url, "POST", PROJECTS, headers, body(project())).status == 201


def test_who_asks_before_sending_a_body_is_told_to_go_on(stack):
    parts, body = urlsplit(stack.base_url), project()
    lines = [b"POST /api/plugins/projects HTTP/1.1", b"Host: x", b"Connection: close", b"Expect: 100-continue"]
    lines += posting(stack, b"Content-Length: %d" % len(body))
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as conn:
        conn.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        assert conn.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        conn.sendall(body)
        assert conn.recv(1000).startswith(b"HTTP/1.1 201 ")


def test_who_asks_so_without_a_body_is_answered(stack):
    assert send(stack.base_url, "GET", HEALTH, [b"Expect: 100-continue"]).status == 200


def test_without_a_content_length_there_is_no_body(stack):
    text = b"POST /api/plugins/projects HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    got = raw(stack, text + b"\r\n".join(posting(stack)) + b"\r\n\r\n")
    assert b"invalid_request" in got


def test_pipelined_requests_are_answered_in_their_order(stack):
    parts = [f"GET {HEALTH} HTTP/1.1\r\nHost: x\r\nX-Request-Id: request-{n}\r\n".encode() for n in range(20)]
    got = raw(stack, b"\r\n".join(parts) + b"Connection: close\r\n\r\n")
    order = [line.split()[1] for line in got.split(b"\r\n") if line.lower().startswith(b"x-request-id")]
    assert order == [b"request-%d" % n for n in range(20)]


@pytest.mark.parametrize(
    ("lines", "statuses"),
    [
        ([b"Content-Length: -1"], (400,)),
        ([b"Content-Length: 1e3"], (400,)),
        ([b"Content-Length: 0x10"], (400,)),
        ([b"Content-Length: 5, 5"], (400,)),
        ([b"Content-Length: 5", b"Content-Length: 6"], (400,)),
        ([b"Content-Length: 99999999999999999999"], (413,)),
        ([b"Content-Length: 3"], (400,)),
        ([b"Transfer-Encoding: gzip, chunked"], (400, 501)),
        ([b"X-Big: " + b"a" * 400_000], (400, 431)),
        ([b"no colon"], (400,)),
        ([b"X : space"], (400,)),
        ([b"X-Nul: a\x00b"], (400,)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_request_that_is_no_http_is_refused(stack, lines, statuses):
    body = b'{"name": "a", "description": "b"}'
    lines = [b"POST /api/plugins/projects HTTP/1.1", b"Host: x", b"Connection: close", *posting(stack), *lines]
    got = raw(stack, b"\r\n".join(lines) + b"\r\n\r\n" + body)
    assert int(got.split()[1]) in statuses, got[:200]


def test_chunks_that_are_none_are_refused(stack):
    answer = send(
        stack.base_url, "POST", PROJECTS, posting(stack, b"Transfer-Encoding: chunked"), b"zz\r\nab\r\n0\r\n\r\n"
    )
    assert answer.status == 400


def test_what_is_not_http_at_all_is_refused(stack):
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
    ):
        assert raw(stack, data).split()[1] == b"400"


def test_connections_that_never_finish_keep_nobody_waiting(stack):
    parts = urlsplit(stack.base_url)
    halves = (b"POST /api/plugins/projects HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"GET / HT", b"")
    with ExitStack() as open_ones:
        for n in range(300):
            conn = open_ones.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=10))
            conn.sendall(halves[n % 3])
        started = time.monotonic()
        assert request(stack.base_url, "GET", "/health").status == 200
        assert time.monotonic() - started < 5


def test_a_caller_who_leaves_before_the_answer_disturbs_nobody(stack):
    parts = urlsplit(stack.base_url)
    for _ in range(100):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as conn:
            conn.sendall(f"GET {HEALTH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert request(stack.base_url, "GET", "/health").status == 200
