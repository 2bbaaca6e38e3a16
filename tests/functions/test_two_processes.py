"""What holds across server processes: revocation on the next request, and limits to the request."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ROOT, start_stack, stop_stack
from tests.support import Tenant, accounts, bearer, request

THREADS = 16


class Server:
    """One more process of all functions, beside the stack's own and on the same database."""

    def __init__(self, stack):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = json.loads((stack.data / "environment.json").read_text())
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tools.local.gateway", "--port", str(port)),
                *("--table", "terraform/functions.json", "--functions", "functions"),
                *("--issuer-key", str(stack.data / "issuer-key.pem"), "--issuer-email", environment["TASK_ACCOUNT"]),
            ],
            cwd=ROOT,
            env=environment,
        )
        self.base_url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)

    def answers(self):
        try:
            return request(self.base_url, "GET", "/health").status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="module")
def other(stack):
    server = Server(stack)
    yield server
    server.stop()


def revoke_key(stack, tenant, made):
    return request(stack.base_url, "DELETE", f"/keys/{made['id']}", **bearer(tenant.token()))


def rotate_out(stack, tenant, made):
    path, body = f"/keys/{made['id']}/rotate", {"graceSeconds": 0}
    return request(stack.base_url, "POST", path, body=body, **bearer(tenant.token()))


def disable_account(stack, tenant, _made):
    return accounts(stack, "disable", tenant.email)


def key_of(tenant):
    made = tenant.key(["keys:read", "keys:write"])
    return made, bearer(made["key"])


def token_of(tenant):
    token = tenant.token()
    return token, bearer(token)


def sign_out(stack, _tenant, token):
    return request(stack.base_url, "POST", "/auth/signout", **bearer(token))


@pytest.mark.parametrize(
    ("credential", "end"),
    [
        (key_of, revoke_key),
        (key_of, rotate_out),
        (key_of, disable_account),
        (token_of, sign_out),
        (token_of, disable_account),
    ],
    ids=[
        "revoked key",
        "rotated-out secret",
        "disabled account's key",
        "signed-out session",
        "disabled account's token",
    ],
)
def test_once_it_has_ended_here_no_request_there_succeeds(stack, other, credential, end):
    tenant = Tenant(stack)
    made, sent = credential(tenant)
    over, late, early = threading.Event(), [], []

    def hammer():
        while True:
            begun_after = over.is_set()
            status = request(other.base_url, "GET", "/auth/me", **sent).status
            (late if begun_after else early).append(status)
            if begun_after and len(late) > 100:
                return

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    while early.count(200) < 50:
        time.sleep(0.01)
    end(stack, tenant, made)
    over.set()
    for thread in threads:
        thread.join()
    assert set(late) == {401}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two processes with small limits: 120 a minute for a user, 90 for a platform."""
    small = {"USER_RATE_PER_MINUTE": "120", "PLATFORM_RATE_PER_MINUTE": "90"}
    running = start_stack(tmp_path_factory.mktemp("pair"), **small)
    server = Server(running)
    yield running, server
    server.stop()
    stop_stack(running)


def storm(servers, secret, platforms, requests):
    """Answers, and for how many seconds they were asked for, of many threads on every server."""
    started = time.monotonic()
    with ThreadPoolExecutor(THREADS * len(servers)) as threads:
        answers = list(
            threads.map(
                lambda n: request(
                    servers[n % len(servers)].base_url,
                    "GET",
                    "/projects",
                    X_Renderiq_Platform=platforms[n % len(platforms)],
                    **bearer(secret),
                ),
                range(requests),
            )
        )
    return answers, time.monotonic() - started


def fresh(stack):
    """A new tenant's account and the secret of its key, with all of its limits."""
    tenant = Tenant(stack)
    secret = tenant.key(["projects:read"])["key"]
    stack.sql("DELETE FROM rate_limits WHERE account_id = :id::uuid RETURNING 1", id=tenant.id)
    return tenant.id, secret


@pytest.mark.parametrize(
    ("platforms", "burst", "rate"), [(["rhino"], 90, 1.5), (["rhino", "revit"], 120, 2.0)], ids=["platform", "user"]
)
def test_two_processes_accept_just_what_the_limit_allows(pair, platforms, burst, rate):
    stack, server = pair
    secret = fresh(stack)[1]
    answers, seconds = storm([stack, server], secret, platforms, 300)
    accepted = [answer.status for answer in answers].count(200)
    assert burst <= accepted <= burst + int(seconds * rate) + 1
    assert {answer.status for answer in answers} == {200, 429}


def test_a_refusal_takes_nothing_from_either_bucket(pair):
    stack, server = pair
    account_id, secret = fresh(stack)
    arrivals = "SELECT arrivals FROM rate_limits WHERE account_id = :id::uuid"
    refused = 0
    while not refused:
        before = stack.sql(arrivals, id=account_id)
        answers, _ = storm([stack, server], secret, ["rhino"], 100)
        refused = {answer.status for answer in answers} == {429}
    assert stack.sql(arrivals, id=account_id) == before


def test_limits_that_a_crash_has_cleared_do_no_harm(tmp_path):
    running = start_stack(tmp_path)
    try:
        assert request(running.base_url, "GET", "/projects", **bearer(running.api_key)).status == 200
        assert running.sql("SELECT count(*) AS n FROM rate_limits")[0]["n"] == 1
        server = tmp_path / "postgres" / "data" / "postmaster.pid"
        killed = server.read_text().split()[0]
        os.kill(int(killed), signal.SIGKILL)
        while request(running.base_url, "GET", "/health").status != 200 or killed in server.read_text():
            time.sleep(0.1)  # the stack starts it again
        assert running.sql("SELECT count(*) AS n FROM rate_limits")[0]["n"] == 0
        answer = request(running.base_url, "GET", "/projects", **bearer(running.api_key))
        assert answer.headers["RateLimit"].startswith('"user";r=599;')
    finally:
        stop_stack(running)
