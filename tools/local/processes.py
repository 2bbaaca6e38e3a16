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
#: How much of a log a failure tells.
TOLD_LINES = 5


class StartError(RuntimeError):
    """A part of the stack did not start; the message says which and where its log is."""


class Child:
    """One `python -m module` of the stack; its output goes to a log file."""

    def __init__(
        self, name: str, module: str, args: list[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it."""
        self.name = name
        self._command = [sys.executable, "-m", module, *args, "--with-parent"]
        self._env = dict(os.environ) | dict(env or {})
        self._log = log
        self.start()

    def start(self) -> None:
        """Start it, again too."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=Path(__file__).parents[2],
                env=self._env,
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
                raise StartError(self.failure(f"{self.name} did not start"))
            time.sleep(0.02)

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self._process.wait()

    def failure(self, what: str) -> str:
        """`what` happened, with how it ended and the end of its log."""
        return failure(what, self._process.poll(), self._log)

    def leave(self) -> None:
        """Tell it to leave, by closing its input."""
        close(self._process.stdin)

    def stop(self) -> None:
        """Tell it to leave, and kill it if that is not enough."""
        self.leave()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def failure(what: str, code: int | None, log: Path) -> str:
    """`what` happened to a process that ended with `code` (None: it runs), and the last lines of its log."""
    how = "it still runs" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
    lines = log.read_text(errors="replace").splitlines()[-TOLD_LINES:] if log.exists() else []
    return "\n    ".join([f"{what} ({how}); its log is {log}", *lines])


def command_of(pid: int) -> str:
    """The command line of a process; empty when there is none."""
    linux = Path(f"/proc/{pid}/cmdline")
    if linux.parent.parent.joinpath("self").exists():
        try:
            return linux.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    found = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout


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
