"""Runs one PostgreSQL program and ends it when standard input does: `postgres_supervisor.py FOLDER PROGRAM ...`.

Run by `tools.local.postgres` with nothing but the standard library.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import threading
from pathlib import Path

CLONE_NEWUSER = 0x10000000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOBODY = 65534


def main() -> int:
    """The program's exit code."""
    folder, *argv = sys.argv[1:]
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if os.geteuid() == 0:
        stop_being_root(Path(folder))
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, cwd="/", preexec_fn=restore_signals)  # noqa: PLW1509

    def watch() -> None:
        while os.read(0, 1024):
            pass
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown

    threading.Thread(target=watch, daemon=True).start()
    return process.wait()


def restore_signals() -> None:
    """What this supervisor ignores, the server must hear."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def stop_being_root(folder: Path) -> None:
    """PostgreSQL refuses to run as root: look like nobody in a user namespace, else become an ordinary user.

    In the namespace the files stay root's and no system account is touched.
    """
    if sys.platform == "linux" and ctypes.CDLL(None).unshare(CLONE_NEWUSER) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        for name in ("uid_map", "gid_map"):
            Path("/proc/self", name).write_text(f"{NOBODY} 0 1")
        return
    user = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


if __name__ == "__main__":
    code = main()
    # The watching thread reads for ever: leave without joining it.
    os._exit(code & 255)
