"""A signed-in client stays signed in, by itself, from several threads, and tells nobody its tokens."""

import threading
import time
from dataclasses import replace
from http.client import HTTPMessage

import pytest

from renderiq_client import Client, NetworkError, RenderiqError, Tokens
from renderiq_client.transport import Answer
from tests import fault_proxy
from tests.support import Tenant

REFRESH = "^POST /api/plugins/auth/refresh"


class Kept:
    """What a plugin keeps: the newest tokens."""

    def __init__(self):
        self.all = []

    def __call__(self, tokens):
        self.all.append(tokens)

    @property
    def newest(self):
        return self.all[-1]


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def signed_in(stack, proxy, kept):
    client = Client(proxy.url, on_tokens=kept)
    client.sign_in(stack.email, stack.password, device="Test")
    return client


def again(proxy, kept, **changed):
    """A client that goes on with what was kept, after it was `changed`."""
    return Client(proxy.url, tokens=replace(kept.newest, **changed), on_tokens=kept)


def refreshes(proxy):
    return sum("auth/refresh" in request for request in proxy.seen)


def test_signing_in_tells_who_one_is_and_keeps_the_tokens(stack, proxy, kept):
    client = Client(proxy.url, on_tokens=kept)
    assert client.sign_in(stack.email, stack.password)["email"] == stack.email
    assert client.me()["credential"]["kind"] == "session"
    assert len(kept.all) == 1
    assert refreshes(proxy) == 0


def test_kept_tokens_go_on_with_the_session(signed_in, proxy, kept):
    me = again(proxy, kept).me()
    assert me["credential"]["kind"] == "session"
    assert [session["device"] for session in me["sessions"] if session["current"]] == ["Test"]


def test_an_access_token_is_refreshed_before_it_ends(signed_in, proxy, kept):
    old = kept.newest
    client = again(proxy, kept, expires_at=time.time() + 30)
    client.me()
    client.me()
    assert refreshes(proxy) == 1
    assert kept.newest.refresh != old.refresh
    assert kept.newest.expires_at > time.time() + 3000


def test_an_access_token_that_is_refused_is_refreshed_and_the_call_repeated(signed_in, proxy, kept):
    client = again(proxy, kept, access="not.a.token")
    assert client.me()["credential"]["kind"] == "session"
    assert refreshes(proxy) == 1


def test_many_threads_refresh_once(signed_in, proxy, kept):
    client = again(proxy, kept, access="not.a.token")
    told, start = [], threading.Barrier(8)

    def call():
        start.wait()
        told.append(client.me()["user"]["email"])

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 8
    assert refreshes(proxy) == 1


@pytest.mark.parametrize("fault", [fault_proxy.lost_answer, fault_proxy.truncated_body, fault_proxy.unavailable])
def test_a_refresh_whose_answer_is_lost_is_repeated(signed_in, proxy, kept, fault):
    client = again(proxy, kept, expires_at=0)
    proxy.inject(fault, into=REFRESH)
    assert client.me()["credential"]["kind"] == "session"
    assert refreshes(proxy) == 2
    assert again(proxy, kept, expires_at=0).me()["credential"]["kind"] == "session"


def test_tokens_are_kept_before_they_are_used(signed_in, proxy, kept):
    def refuse(_):
        raise OSError("the keychain is locked")

    client = Client(proxy.url, tokens=replace(kept.newest, expires_at=0), on_tokens=refuse)
    proxy.seen.clear()
    with pytest.raises(OSError, match="keychain"):
        client.me()
    assert proxy.seen == ["POST /api/plugins/auth/refresh"]


def test_an_ended_session_says_so(signed_in, proxy, kept):
    signed_in.sign_out()
    with pytest.raises(RenderiqError) as refused:
        again(proxy, kept).me()
    assert (refused.value.status, refused.value.code) == (401, "invalid_refresh_token")
    assert refused.value.request_id


def test_after_signing_out_nobody_is_calling(signed_in):
    signed_in.sign_out()
    with pytest.raises(RenderiqError) as refused:
        signed_in.me()
    assert refused.value.code == "unauthenticated"


@pytest.mark.parametrize("everywhere", [True, False])
def test_signing_out_ends_this_session_or_all_of_them(stack, everywhere):
    tenant = Tenant(stack)
    here, there = Client(stack.base_url), Client(stack.base_url)
    for client in (here, there):
        client.sign_in(tenant.email, tenant.password)
    here.sign_out(everywhere=everywhere)
    if everywhere:
        with pytest.raises(RenderiqError, match="401"):
            there.me()
    else:
        assert there.me()["credential"]["kind"] == "session"


def test_a_key_may_take_the_place_of_a_session(signed_in, stack):
    signed_in.use_key(stack.api_key)
    assert signed_in.me()["credential"]["kind"] == "api_key"


def test_a_wrong_password_is_one_clear_error(stack, proxy):
    with pytest.raises(RenderiqError, match="401 invalid_credentials: The e-mail address or the password is wrong"):
        Client(proxy.url).sign_in(stack.email, "wrong password")


def test_no_secret_is_printed(signed_in, stack, kept):
    tokens = kept.newest
    shown = f"{signed_in!r} {tokens!r} {Client(stack.base_url, stack.api_key)!r}"
    assert not any(secret in shown for secret in (tokens.access, tokens.refresh, stack.api_key))


@pytest.mark.parametrize(
    "url", ["http://api.example.com", "ftp://127.0.0.1", "api.example.com", "http://127.0.0.1.nip.io"]
)
def test_a_key_is_not_sent_in_the_clear_to_another_machine(url):
    with pytest.raises(ValueError, match="https"):
        Client(url, "rq_sk_test_x")


def test_nothing_that_answers_is_a_network_error_of_its_own():
    client = Client("http://127.0.0.1:9", tokens=Tokens("a", "r", time.time() + 1000), tries=2)
    with pytest.raises(NetworkError, match="no answer: ConnectionRefusedError"):
        client.me()


def test_an_answer_shows_its_body_to_no_log():
    assert "secret" not in repr(Answer(200, HTTPMessage(), b'{"accessToken": "secret"}'))
