"""Runs the local stack until Ctrl-C or SIGTERM: `python -m tools.serve [--port 8080] [--data .local]`."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from tools.local.processes import StartError
from tools.local.stack import ROOT, Running, Stack


def main() -> int:
    """Serve; 1 when a part did not start."""
    parser = argparse.ArgumentParser(prog="python -m tools.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="the one port for everything; 0: any free one")
    parser.add_argument("--data", type=Path, default=ROOT / ".local", help="where the stack's data lies")
    parser.add_argument("--not-durable", action="store_true", help="faster, and lost when the machine fails")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    stack = Stack(arguments.data.resolve(), arguments.port, durable=not arguments.not_durable)
    try:
        with stack:
            print(_told(stack.start()), flush=True)
            ended.wait()
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


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
