"""When a step of the demo does not hold, it says which and why, and exits with 1."""

import os
import re
import signal
import sys

from tests.local.serving import Serving, descendants, gone_within_a_second, pid_of, wait_until


def demo(data, log):
    return Serving(data, command=[sys.executable, "-m", "tools.demo", "--data", str(data)], log=log)


def test_a_stack_that_cannot_start_is_told(tmp_path):
    data = tmp_path / "data"
    with Serving(data) as serving:
        serving.ready()
        with demo(data, tmp_path / "demo.out") as running:
            told = running.failed()
    assert "\N{BALLOT X} start PostgreSQL" in told
    assert "another stack runs on" in told
    assert "Traceback" not in told


def test_a_step_that_fails_is_named_and_nothing_is_left_behind(tmp_path):
    data = tmp_path / "data"
    with demo(data, tmp_path / "demo.out") as running:
        wait_until(lambda: "sign in" in running.told, lambda: running.told)
        family = descendants(running.process.pid)
        os.kill(pid_of("tools.local.gateway", family), signal.SIGKILL)
        told = running.failed()
        assert gone_within_a_second(family) == {}
    assert re.search("\N{BALLOT X} (create|register|read|upload|order)", told), told
    assert "the demo failed; the logs of its parts are in" in told
    assert "Traceback" not in told
    assert "everything held" not in told
