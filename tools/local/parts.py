"""Parts of a running stack, killed to see that nothing is lost (Linux). The stack itself starts them again."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

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
        """Find the stack's own process, which looks after its parts."""
        self._module, self._data, self._port = f"tools.local.{name}", data, port
        self._stack = _parent(self.pid)

    @property
    def pid(self) -> int:
        """The process that runs now. LookupError when it is down."""
        return pid_of(self._module, self._data)

    def kill(self) -> None:
        """SIGKILL. The stack is held meanwhile, so that it does not start the part again before `start`."""
        os.kill(self._stack, signal.SIGSTOP)
        os.kill(self.pid, signal.SIGKILL)
        self._wait_until(lambda: not self._listens())

    def start(self) -> None:
        """Let the stack start it again, and wait until it listens. TimeoutError when it does not."""
        os.kill(self._stack, signal.SIGCONT)
        self._wait_until(self._listens)

    def stop(self) -> None:
        """Let the stack go on, whatever became of the part."""
        os.kill(self._stack, signal.SIGCONT)

    def _wait_until(self, good: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT_S
        while not good():
            if time.monotonic() > end:
                raise TimeoutError(f"{self._module} did not end or start; see {self._data / 'logs'}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self._port)) == 0


def _parent(pid: int) -> int:
    """Field 4 of /proc/<pid>/stat, counted behind the command's name, which may hold anything."""
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
