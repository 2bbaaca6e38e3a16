"""The endpoint table: what every function declares of itself, as `terraform/functions.json` and in the README.

`python -m tools.routes` writes both; `--check` fails when a committed one is stale; `--print` shows the table.
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
README = ROOT / "README.md"
BEGIN, END = "<!-- written by make routes -->", "<!-- end -->"


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


def readme(rows: list[dict[str, Any]]) -> str:
    """The README, its endpoint table made of `rows`."""
    lines = ["| function | method and path | scope | what it does |", "|---|---|---|---|"]
    lines += [f"| `{r['name']}` | {_place(r)} | {r['scope']} | {r['summary']} |" for r in rows]
    before, _, rest = README.read_text().partition(BEGIN)
    return "\n".join([before + BEGIN, *lines, END + rest.partition(END)[2]])


def main() -> int:
    """Write, check or print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.routes", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when what is committed is stale")
    parser.add_argument("--print", action="store_true", help="show the table")
    arguments = parser.parse_args()
    rows = [row(spec) for spec in specs()]
    files = {TABLE: json.dumps({"functions": rows}, indent=2) + "\n", README: readme(rows)}
    if arguments.print:
        for line in rows:
            sys.stdout.write(f"{line['method']:7} {line['path']:52} {line['scope']:15} {line['name']}\n")
        return 0
    if arguments.check:
        stale = [path for path, text in files.items() if path.read_text() != text]
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `make routes`\n")
        return 1 if stale else 0
    for path, text in files.items():
        path.write_text(text)
    return 0


def _place(row: dict[str, Any]) -> str:
    return "whatever matches nothing else" if row["method"] == "*" else f"{row['method']} `{row['path']}`"


if __name__ == "__main__":
    sys.exit(main())
