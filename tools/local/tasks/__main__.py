"""`python -m tools.local.tasks`: serve the stand-in until the supervisor ends."""

import argparse
import json
import logging
import threading
from pathlib import Path

from tools.local.identity import Issuer
from tools.local.processes import die_with_parent
from tools.local.tasks.api import Api
from tools.local.tasks.dispatcher import Dispatcher
from tools.local.tasks.store import Store


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tools.local.tasks", description="Cloud Tasks, locally")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--queues", type=Path, required=True, help="queue resources, as JSON")
    parser.add_argument("--issuer-key", type=Path, required=True)
    parser.add_argument("--issuer-email", required=True)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    if arguments.with_parent:
        die_with_parent()
    logging.getLogger("waitress").setLevel(logging.ERROR)
    issuer = Issuer(arguments.issuer_key.read_text(), arguments.issuer_email)
    dispatcher = Dispatcher(Store(arguments.data), issuer)
    api = Api(dispatcher)
    for body in json.loads(arguments.queues.read_text()):
        api.put_queue(body)
    threading.Thread(target=dispatcher.run, name="dispatch", daemon=True).start()

    from waitress import serve

    serve(api, host=arguments.host, port=arguments.port, threads=8, ident=None)


if __name__ == "__main__":
    main()
