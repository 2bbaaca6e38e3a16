"""Child processes that never outlive their supervisor, however it ends.

A child's standard input is a pipe from the supervisor and nothing else holds its other end: when the supervisor
ends in any way, SIGKILL included, the kernel closes it, the child reads the end and leaves.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

#: How long a child may take to leave by itself before it is killed; seconds.
GRACE_S = 5.0


class StartError(RuntimeError):
    """A part of the stack did not start; the message says which and where its log is."""


class Child:
    """One `python -m module` of the stack; its output goes to a log file."""

    def __init__(
        self, name: str, module: str, args: list[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it."""
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *args, "--with-parent"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=Path(__file__).parents[2],
                env=dict(os.environ) | dict(env or {}),
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait until `ready`; StartError when the child ends first or takes too long."""
        end = time.monotonic() + timeout_s
        while not ready():
            if not self.alive or time.monotonic() > end:
                raise StartError(f"{self.name} did not start; see {self._log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Close its input, and kill it if that is not enough."""
        close(self._process.stdin)
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def close(stream: IO[bytes] | None) -> None:
    """Close a pipe whose reader may have gone already."""
    try:
        if stream:
            stream.close()
    except BrokenPipeError:
        return


def die_with_parent() -> None:
    """End this process as soon as its supervisor does; called first thing by every child."""
    # A Ctrl-C in the terminal is the supervisor's to handle: it ends its children in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()
