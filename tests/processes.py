"""The stack's processes, found by what they run and which data is theirs; killed, and started again (Linux)."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pid_of(module, data):
    """The process of the stack on `data` that runs `module`."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\x00")
            except OSError:
                continue
            if module.encode() in words and str(data).encode() in b" ".join(words):
                return int(entry.name)
    raise LookupError(module)


class Part:
    """A part of a running stack that a test kills and starts again, as it was."""

    def __init__(self, stack, name):
        module, data = f"tools.local.{name}", stack.data
        self.pid = pid_of(module, data)
        proc = Path("/proc") / str(self.pid)
        self.command = [word.decode() for word in (proc / "cmdline").read_bytes().split(b"\x00")[:-1]]
        pairs = (pair.partition(b"=") for pair in (proc / "environ").read_bytes().split(b"\x00") if pair)
        self.env = {name.decode(): value.decode() for name, _, value in pairs}
        self.log = data / "logs" / f"{name}.log"
        self.port = stack.ports[name]
        self.process = None

    def kill(self):
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self._reap()

    def start(self):
        """Start it again and wait until it listens."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=ROOT, env=self.env
            )
        self.pid = self.process.pid
        end = time.monotonic() + 30
        while not self._listens():
            assert time.monotonic() < end and self.process.poll() is None, self.command
            time.sleep(0.05)

    def stop(self):
        """End what was started here."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self._reap()

    def _listens(self):
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0

    def _reap(self):
        self.process.wait()
        self.process.stdin.close()
        self.process = None
