"""What the tests of the stack's life share: `make serve` as a process, and everything that it started."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 60


def processes():
    """Every process's id, its parent's id and its command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if stat[0] != "Z":
                    found[int(entry.name)] = (int(stat[1]), command)
    return found


def descendants(pid):
    """The processes that `pid` started, and those that they started."""
    everything, family = processes(), {pid}
    while more := {child for child, (parent, _) in everything.items() if parent in family} - family:
        family |= more
    return family


def pid_of(word, family):
    """The first of the processes `family` whose command line holds `word`."""
    everything = processes()
    return next(pid for pid in sorted(family) if word in everything.get(pid, (0, ""))[1])


def wait_until(true, told="it did not come true", limit_s=LIMIT_S):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, told() if callable(told) else told
        time.sleep(0.01)


class Serving:
    """`python -m tools.serve`, in a session of its own as a terminal would give it."""

    def __init__(self, data, *flags, port=0, command=None, **options):
        self.data = Path(data)
        default = [
            sys.executable,
            "-m",
            "tools.serve",
            "--port",
            str(port),
            "--data",
            str(data),
            "--not-durable",
            *flags,
        ]
        self.log = Path(options.pop("log", f"{self.data}.out"))
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command or default,
                cwd=options.pop("cwd", ROOT),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )

    @property
    def told(self):
        return self.log.read_text()

    def ready(self):
        """Its base URL, once it says that it is ready."""
        wait_until(lambda: "\nready " in self.told or self.process.poll() is not None, lambda: self.told)
        assert "\nready " in self.told, self.told
        return self.told.rpartition("ready ")[2].split()[0]

    def failed(self):
        """What it tells when it does not start."""
        assert self.process.wait(LIMIT_S) == 1, self.told
        return self.told

    def end(self):
        self.process.terminate()
        return self.process.wait(LIMIT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(LIMIT_S)


def gone_within_a_second(family):
    end = time.monotonic() + 1
    while left := {pid: command for pid, (_, command) in processes().items() if pid in family}:
        if time.monotonic() > end:
            return left
        time.sleep(0.01)
    return {}


def kill(pids, number):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
