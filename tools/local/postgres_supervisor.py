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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWUSER = 0x10000000
#: From linux/prctl.h and linux/capability.h.
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE, CAPABILITY_VERSION_3 = 1, 0x20080522
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOBODY = 65534
#: Nothing of a stack is to be left a second after its end.
PATIENCE_S = 0.4


def main() -> int:
    """The program's exit code."""
    folder, *argv = sys.argv[1:]
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if os.geteuid() == 0 or not has_name(os.geteuid()):
        become_nobody(Path(folder))
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, cwd="/", preexec_fn=restore_signals)  # noqa: PLW1509

    def watch() -> None:
        while os.read(0, 1024):
            pass
        end(process, Path(argv[0]).name)

    threading.Thread(target=watch, daemon=True).start()
    return process.wait()


def end(process: "subprocess.Popen[bytes]", program: str) -> None:
    """PostgreSQL's fast shutdown, or the immediate one when the disk is slow: what is committed stays in both.

    What initdb leaves is worth nothing until it is whole.
    """
    process.send_signal(signal.SIGKILL if program == "initdb" else signal.SIGINT)
    time.sleep(PATIENCE_S)
    process.send_signal(signal.SIGQUIT)


def restore_signals() -> None:
    """What this supervisor ignores, the server must hear; and where it can, it ends with a killed supervisor."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def has_name(uid: int) -> bool:
    """Whether the system knows the user: initdb asks for its name."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def become_nobody(folder: Path) -> None:
    """PostgreSQL refuses to run as root: look like nobody in a user namespace, else become an ordinary user.

    In the namespace the files stay ours and no system account is touched.
    """
    uid, gid = os.geteuid(), os.getegid()
    if sys.platform == "linux" and ctypes.CDLL(None).unshare(CLONE_NEWUSER) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{NOBODY} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{NOBODY} {gid} 1")
        return
    if uid:
        sys.exit(f"the user {uid} has no name, and user namespaces are not allowed here")
    user = pwd.getpwnam("nobody")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    os.setgroups([])
    os.setgid(user.pw_gid)
    with kept_access():
        os.setuid(user.pw_uid)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        sys.exit(f"PostgreSQL runs as {user.pw_name}, who cannot reach {folder}: choose another folder with DATA=")


@contextmanager
def kept_access() -> Iterator[None]:
    """Let who stops being root within the block still reach what lies in root's folders, and its programs too.

    On Linux, where root has that capability itself: see capabilities(7) for how an ambient one outlives exec.
    """
    if sys.platform != "linux":
        yield
        return
    libc, override = ctypes.CDLL(None), 1 << CAP_DAC_OVERRIDE
    libc.prctl(PR_SET_KEEPCAPS, 1)
    yield
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, for the first 32 capabilities and for the others.
    libc.capset(header, (ctypes.c_uint32 * 6)(override, override, override, 0, 0, 0))
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


if __name__ == "__main__":
    code = main()
    # The watching thread reads for ever: leave without joining it.
    os._exit(code & 255)
