"""The command line: `python -m renderiq_client render room.png --prompt "a bright room"`.

The API key comes from RENDERIQ_API_KEY or a file, never from the command line, where other users would see it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from renderiq_client.client import Client
from renderiq_client.errors import RenderiqError

WIDTH = 30


class Bar:
    """A progress bar on a terminal; elsewhere a line at each tenth."""

    def __init__(self, label: str) -> None:
        """Nothing is shown yet."""
        self._label = label
        self._last = -1
        self._live = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` is done."""
        percent = done * 100 // max(total, 1)
        step = percent if self._live else percent // 10
        if step == self._last:
            return
        self._last = step
        if self._live:
            filled = percent * WIDTH // 100
            bar = "█" * filled + "░" * (WIDTH - filled)
            end = "\n" if done >= total else ""
            print(f"\r{self._label} {bar} {percent:3} %", end=end, file=sys.stderr, flush=True)
        else:
            print(f"{self._label} {percent} %", file=sys.stderr)


def main(words: list[str] | None = None) -> int:
    """0 when it worked, 1 when the service refused, 2 when the command is wrong."""
    arguments = parser().parse_args(words)
    try:
        key = arguments.key_file.read_text().strip() if arguments.key_file else os.environ.get("RENDERIQ_API_KEY")
        if not key:
            print("set RENDERIQ_API_KEY, or name a file with --key-file", file=sys.stderr)
            return 2
        result = arguments.run(Client(arguments.base_url, key, platform="cli"), arguments)
    except (RenderiqError, OSError, TimeoutError) as error:
        print(f"renderiq: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if arguments.json else readable(result))
    return 0


def parser() -> argparse.ArgumentParser:
    """What may be typed."""
    top = argparse.ArgumentParser(prog="python -m renderiq_client", description="Render viewport pictures.")
    top.add_argument("--base-url", default=os.environ.get("RENDERIQ_BASE_URL", "http://127.0.0.1:8080"))
    top.add_argument("--key-file", type=Path, help="a file that holds the API key")
    top.add_argument("--json", action="store_true", help="print the API's JSON")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("render", help="upload a picture, render it, download the result")
    command.add_argument("picture", type=Path)
    command.add_argument("--prompt", required=True)
    command.add_argument("--quality", choices=("draft", "standard", "high"), default="standard")
    command.add_argument("--output", type=Path, help="where the result goes (default: beside the picture)")
    command.set_defaults(run=render)
    command = commands.add_parser("upload", help="upload a picture")
    command.add_argument("picture", type=Path)
    command.add_argument("--purpose", choices=("snapshot", "depth", "normal"), default="snapshot")
    command.set_defaults(run=lambda client, given: client.upload(given.picture, given.purpose, Bar("upload")))
    command = commands.add_parser("wait", help="wait for a render")
    command.add_argument("render_id")
    command.set_defaults(run=lambda client, given: client.wait(given.render_id))
    commands.add_parser("whoami", help="who the key belongs to").set_defaults(run=lambda client, _: client.me())
    commands.add_parser("credits", help="what is left").set_defaults(run=lambda client, _: client.credits())
    return top


def render(client: Client, given: argparse.Namespace) -> dict[str, Any]:
    """The whole job; the answer is the render, with `savedTo`."""
    upload = client.upload(given.picture, progress=Bar("upload"))
    order = client.render(upload["id"], given.prompt, quality=given.quality)
    done = client.wait(order["id"], on_stage=lambda now: print(f"render {now['stage']}", file=sys.stderr))
    if done["status"] != "succeeded":
        raise RenderiqError(0, done["error"] or {"code": done["status"]})
    file = done["output"]["files"][0]
    suffix = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}.get(file["contentType"], "")
    output = given.output or given.picture.with_name(f"{given.picture.stem}-rendered{suffix}")
    client.download(file, output)
    return {"savedTo": str(output), **done}


def readable(result: dict[str, Any]) -> str:
    """The answer's plain members, a line each."""
    plain = {name: value for name, value in result.items() if isinstance(value, (str, int, float, bool))}
    return "\n".join(f"{name:<14} {value}" for name, value in plain.items() if not name.startswith("_"))


if __name__ == "__main__":
    sys.exit(main())
