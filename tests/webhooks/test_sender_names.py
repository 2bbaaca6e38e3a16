"""The guarded sender and names that mean it ill, over real DNS."""

import contextlib
import socket
import threading

import dns.name
import dns.resolver
import pytest

from common.webhooks import connection
from common.webhooks.outcome import Failed
from common.webhooks.sender import send
from tests.webhooks.receivers import (
    BODY,
    GENEROUS_MS,
    HEADERS,
    HOST,
    SHORT_S,
    NameServer,
    Receiver,
)


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


@pytest.mark.parametrize(("answers", "address"), [("A", "127.0.0.1"), ("AAAA", "::1")])
def test_a_name_server_that_answers_one_kind_only_does_not_hide_it(running, receive, post, answers, address):
    names = running(NameServer(**{"A": "silence", "AAAA": "silence", answers: [address]}))
    assert post(receive(address=address), resolver=names.resolver(), deadline_s=6).remote_address == address


def test_a_name_server_that_never_answers_costs_no_more_than_the_deadline_and_leaves_nothing_behind(
    running, receive, post
):
    resolver = running(NameServer(A="silence", AAAA="silence")).resolver()
    receiver, before = receive(), threading.active_count()
    for _ in range(3):
        outcome = post(receiver, resolver=resolver, deadline_s=SHORT_S)
        assert outcome.error_class == "timeout"
        assert SHORT_S * 500 <= outcome.duration_ms < GENEROUS_MS
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


def test_an_address_that_takes_no_connection_leaves_time_for_the_next_one(running, receive, post):
    receiver = receive()
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.2", receiver.port))
        full.listen(0)
        for _ in range(8):  # more than the queue of connections holds: the next ones hang
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.2", receiver.port))
        names = running(NameServer(A=["127.0.0.2", "127.0.0.1"]))
        outcome = post(receiver, resolver=names.resolver(), deadline_s=4)
    assert (outcome.ok, outcome.remote_address) == (True, "127.0.0.1")


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
