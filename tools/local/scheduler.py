"""What Cloud Scheduler is in the cloud: posts the sweep, at start and every five seconds."""

import argparse
import http.client
import sys
import time
from pathlib import Path

from tools.local.identity import Issuer
from tools.local.processes import die_with_parent

INTERVAL_S = 5.0
PATH, AUDIENCE = "/internal/tasks/sweep", "renderiq-tasks-sweep"


def post(port: int, issuer: Issuer) -> None:
    """One sweep; what goes wrong is told, and the next one comes anyway."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        conn.request("POST", PATH, b"", {"Authorization": f"Bearer {issuer.mint(AUDIENCE)}"})
        status = conn.getresponse().status
        if status != 204:  # noqa: PLR2004 - done
            sys.stderr.write(f"the sweep answered {status}\n")
    except OSError as error:
        sys.stderr.write(f"the sweep could not be called: {error}\n")
    finally:
        conn.close()


def main() -> None:
    """Post until the supervisor ends."""
    parser = argparse.ArgumentParser(prog="python -m tools.local.scheduler", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the gateway's")
    parser.add_argument("--issuer-key", type=Path, required=True)
    parser.add_argument("--issuer-email", required=True)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    if arguments.with_parent:
        die_with_parent()
    issuer = Issuer(arguments.issuer_key.read_text(), arguments.issuer_email)
    while True:
        post(arguments.port, issuer)
        time.sleep(INTERVAL_S)


if __name__ == "__main__":
    main()
