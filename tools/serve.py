"""Runs the local stack until Ctrl-C or SIGTERM: `python -m tools.serve [--port 8080] [--data .local]`."""

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from tools.local.processes import StartError
from tools.local.stack import POLL_S, ROOT, Running, Stack

MAX_PORT = 65535
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Serve until a signal ends it; 1 when a part did not start or could not be kept alive."""
    parser = argparse.ArgumentParser(prog="python -m tools.serve", description=__doc__)
    parser.add_argument("--port", type=_port, default=8080, help="the one port for everything; 0: any free one")
    parser.add_argument("--data", type=Path, default=ROOT / ".local", help="where the stack's data lies")
    parser.add_argument("--not-durable", action="store_true", help="faster, and lost when the machine fails")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this process, our parent, does")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a folder may have any name
    for number in SIGNALS:
        # `nohup` has the end of its terminal ignored.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    if arguments.with_parent is not None:
        threading.Thread(target=_end_with, args=(arguments.with_parent,), daemon=True).start()
    try:
        with Stack(arguments.data.resolve(), arguments.port, durable=not arguments.not_durable) as stack:
            print(_told(stack.start()), flush=True)
            stack.keep_alive()
    except (StartError, OSError) as error:
        sys.stderr.write(f"{error}\n")
    return 1


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to {MAX_PORT}")
    return int(text)


def _end(*_: Any) -> NoReturn:
    """End in order, once: a second Ctrl-C must not leave half of it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def _end_with(parent: int) -> None:
    """End as soon as our parent is another process, while we start too: make may be killed at any moment."""
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _told(running: Running) -> str:
    return f"""
  Renderiq Plugin API, on this machine only
    e-mail     {running.email}
    password   {running.password}
    API key    {running.api_key}
    data       {running.data_dir}

ready {running.base_url}"""


if __name__ == "__main__":
    sys.exit(main())
