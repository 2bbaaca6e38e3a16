"""Parts of a running stack, killed and started again as they were, to see that nothing is lost (Linux)."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30


def pid_of(module: str, data: Path) -> int:
    """The process of the stack on `data` that runs `module`. LookupError when there is none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\x00")
            except OSError:
                continue  # it has ended meanwhile
            if module.encode() in words and str(data).encode() in b" ".join(words):
                return int(entry.name)
    raise LookupError(module)


class Part:
    """`gateway`, `tasks` or `storage` of the running stack whose data lies in `data`; it listens on `port`."""

    def __init__(self, name: str, data: Path, port: int) -> None:
        """Find it, and how it was started."""
        self.pid = pid_of(f"tools.local.{name}", data)
        proc = Path("/proc") / str(self.pid)
        self._command = [word.decode() for word in (proc / "cmdline").read_bytes().split(b"\x00")[:-1]]
        pairs = (pair.partition(b"=") for pair in (proc / "environ").read_bytes().split(b"\x00") if pair)
        self._env = {key.decode(): value.decode() for key, _, value in pairs}
        self._log = data / "logs" / f"{name}.log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """SIGKILL, and wait until its port is free."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap()
        self._wait_until(lambda: not self._listens())

    def start(self) -> None:
        """Start it again and wait until it listens. RuntimeError when it does not."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=ROOT, env=self._env
            )
        self.pid = self._process.pid
        self._wait_until(self._listens)

    def stop(self) -> None:
        """End what was started here; the first one is its stack's."""
        if self._process:
            self._process.kill()
            self._reap()

    def _wait_until(self, good: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not good():
            if time.monotonic() > end or (self._process and self._process.poll() is not None):
                raise RuntimeError(f"it did not end or start; see {self._log}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self._port)) == 0

    def _reap(self) -> None:
        if self._process:
            self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()
            self._process = None
