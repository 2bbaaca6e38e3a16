"""The endpoint table: what every function declares of itself, as `terraform/functions.json`.

`python -m tools.routes` writes it; `--check` fails when the committed one is stale; `--print` shows it.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from common.http.spec import Spec
from common.routing import INTERNAL, PUBLIC

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "terraform" / "functions.json"


def specs() -> list[Spec]:
    """The declaration of every function, by name."""
    names = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))
    return [importlib.import_module(f"functions.{name}.main").main.spec for name in names]


def row(spec: Spec) -> dict[str, Any]:
    """A function's line of the table."""
    route = spec.route
    return {
        "name": spec.name,
        "method": route.method,
        "path": route.full_path,
        "scope": route.scope,
        "internal": route.scope == INTERNAL,
        "public": route.scope == PUBLIC,
        "waits": route.waits,
        "needs": sorted(route.reaches),
        "summary": spec.summary.splitlines()[0] if spec.summary else "",
    }


def rendered() -> str:
    """The table as it is committed."""
    return json.dumps({"functions": [row(spec) for spec in specs()]}, indent=2) + "\n"


def main() -> int:
    """Write, check or print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.routes", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the committed table is stale")
    parser.add_argument("--print", action="store_true", help="show the table")
    arguments = parser.parse_args()
    text = rendered()
    if arguments.check:
        if not TABLE.exists() or TABLE.read_text() != text:
            sys.stderr.write("terraform/functions.json is stale: run `make routes`\n")
            return 1
        return 0
    if arguments.print:
        for line in json.loads(text)["functions"]:
            sys.stdout.write(f"{line['method']:7} {line['path']:52} {line['scope']:15} {line['name']}\n")
        return 0
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
