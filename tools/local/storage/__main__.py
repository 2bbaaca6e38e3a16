"""`python -m tools.local.storage`: serve the stand-in until the supervisor ends."""

import argparse
import json
from pathlib import Path

from tools.local.processes import die_with_parent
from tools.local.storage import cors
from tools.local.storage.request import Bucket
from tools.local.storage.server import Server, load_signers
from tools.local.storage.store import Store


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tools.local.storage", description="Cloud Storage, locally")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="where objects lie")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--signer", action="append", default=[], help="EMAIL=public_key.pem whose signatures count")
    parser.add_argument("--cors", type=Path, help="the bucket's CORS configuration, as gcloud takes it (JSON)")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    if arguments.with_parent:
        die_with_parent()
    rules = json.loads(arguments.cors.read_text()) if arguments.cors else cors.DEFAULT
    bucket = Bucket(arguments.bucket, Store(arguments.data), load_signers(arguments.signer), rules)
    Server((arguments.host, arguments.port), bucket).serve_forever()


if __name__ == "__main__":
    main()
