"""`python -m tools.local.tasks`: serve the stand-in until the supervisor ends."""

import argparse
import json
import logging
import os
import sys
import threading
import traceback
from pathlib import Path

from tools.local.identity import Issuer
from tools.local.processes import die_with_parent
from tools.local.tasks.api import Api
from tools.local.tasks.dispatcher import Dispatcher
from tools.local.tasks.store import Store
from tools.local.tasks.values import ApiError

THREADS = 8


def main() -> None:
    """Serve."""
    arguments = _arguments()
    if arguments.with_parent:
        die_with_parent()
    logging.getLogger("waitress").setLevel(logging.ERROR)
    issuer = Issuer(arguments.issuer_key.read_text(), arguments.issuer_email)
    dispatcher = Dispatcher(Store(arguments.data), issuer)
    api = Api(dispatcher)
    try:
        for body in json.loads(arguments.queues.read_text()):
            api.declare(body)
    except ApiError as error:
        sys.exit(f"{arguments.queues}: {error}")

    from waitress import create_server

    server = create_server(api, host=arguments.host, port=arguments.port, threads=THREADS, ident=None)
    threading.Thread(target=_dispatch, args=(dispatcher,), name="dispatch", daemon=True).start()
    print(f"ready http://{arguments.host}:{server.effective_port}", flush=True)
    server.run()


def _dispatch(dispatcher: Dispatcher) -> None:
    """A stand-in that takes tasks and sends none would be worse than none: end the process."""
    try:
        dispatcher.run()
    finally:
        traceback.print_exc()
        os._exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.local.tasks", description="Cloud Tasks, locally")
    parser.add_argument("--host", default="127.0.0.1", help="an address")
    parser.add_argument("--port", type=int, required=True, help="0: any free one, told by the line `ready`")
    parser.add_argument("--data", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--queues", type=Path, required=True, help="queue resources, as JSON")
    parser.add_argument("--issuer-key", type=Path, required=True)
    parser.add_argument("--issuer-email", required=True)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    return parser.parse_args()


if __name__ == "__main__":
    main()
