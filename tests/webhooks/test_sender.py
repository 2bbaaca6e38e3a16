"""What the guarded sender sends, and that no answer whatever makes it raise."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.webhooks.exchange import MAX_BODY_BYTES
from common.webhooks.sender import send
from tests.webhooks.receivers import (
    BODY,
    HEADERS,
    HOST,
    Receiver,
)


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
