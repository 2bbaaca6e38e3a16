"""The parts that tests share: one running stack for the whole session."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from common.db import Connection, connect_url
from renderiq_client import Client
from tests.support import leaks

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 60
# How fast something is belongs to `make bench`: a busy machine fails no test.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
# A shell's background job ignores Ctrl-C, one under nohup the end of its terminal; and so would every process that a
# test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass
class RunningStack:
    base_url: str
    email: str
    password: str
    api_key: str
    data: Path
    process: subprocess.Popen

    @property
    def ports(self):
        """The port of each part."""
        return json.loads((self.data / "config.json").read_text())["ports"]

    def connect(self) -> Connection:
        """A connection to the stack's database, as its owner; the caller closes it."""
        password = (self.data / "postgres" / "password").read_text()
        url = f"postgresql://renderiq_owner:{password}@127.0.0.1:{self.ports['postgres']}/renderiq"
        return Connection(connect_url(url))

    def sql(self, statement: str, **params):
        """Rows of the stack's database, asked as its owner."""
        conn = self.connect()
        try:
            return conn.rows(statement, **params)
        finally:
            conn.close()

    def client(self, key=None, **options):
        """The reference client with `key`, else with the account's own."""
        return Client(self.base_url, key or self.api_key, **options)


def start_stack(data: Path, **env: str) -> RunningStack:
    """`make serve` on a free port, in a process of its own."""
    (data / "stack.json").unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.serve", "--port", "0", "--data", str(data), "--not-durable"],
        cwd=ROOT,
        env=dict(os.environ) | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + START_TIMEOUT_S
    while not (data / "stack.json").exists():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"the stack did not start: {process.stderr.read().decode()}")
        time.sleep(0.05)
    told = json.loads((data / "stack.json").read_text())
    return RunningStack(told["baseUrl"], told["email"], told["password"], told["apiKey"], data, process)


def stop_stack(stack: RunningStack) -> None:
    """End it; whatever was tested on it, no secret may have come into a log line or a table."""
    found = leaks(stack) if stack.process.poll() is None else []
    stack.process.terminate()
    stack.process.wait(30)
    stack.process.stderr.close()
    assert found == []


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A running stack whose limits are out of the tests' way."""
    names = ("USER_RATE_PER_MINUTE", "PLATFORM_RATE_PER_MINUTE", "FAILURES_PER_MINUTE")
    names += ("SIGNINS_PER_MINUTE_OF_ADDRESS", "SIGNINS_PER_MINUTE_OF_ACCOUNT")
    names += ("SIGNINS_PER_MINUTE_OF_ACCOUNT_AND_ADDRESS",)
    raised = dict.fromkeys(names, "100000")
    running = start_stack(tmp_path_factory.mktemp("stack"), **raised)
    yield running
    stop_stack(running)
