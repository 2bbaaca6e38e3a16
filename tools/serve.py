"""Runs the local stack until Ctrl-C or SIGTERM: `python -m tools.serve [--port 8080] [--data .local]`."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from tools.local.processes import StartError
from tools.local.stack import ROOT, Running, Stack

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Serve; 1 when a part did not start or could not be kept alive."""
    parser = argparse.ArgumentParser(prog="python -m tools.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="the one port for everything; 0: any free one")
    parser.add_argument("--data", type=Path, default=ROOT / ".local", help="where the stack's data lies")
    parser.add_argument("--not-durable", action="store_true", help="faster, and lost when the machine fails")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that started this does")
    arguments = parser.parse_args()
    parent = os.getppid()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a folder may have any name
    for number in SIGNALS:
        signal.signal(number, _end)
    try:
        with Stack(arguments.data.resolve(), arguments.port, durable=not arguments.not_durable) as stack:
            print(_told(stack.start()), flush=True)
            stack.keep_alive(lambda: not arguments.with_parent or os.getppid() == parent)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _end(*_: Any) -> NoReturn:
    """End in order, once: a second Ctrl-C must not leave half of it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


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
