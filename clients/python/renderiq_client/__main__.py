"""The command line: `python -m renderiq_client render room.png --prompt "a bright room"`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Optional

from renderiq_client.client import Client
from renderiq_client.display import Bar, Stages, readable
from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.listen import EVENTS, Receiver, registered
from renderiq_client.transport import TRIES

LOCAL = "http://127.0.0.1:8080"
REFUSED, WRONG, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130
EPILOG = """\
The API key comes from RENDERIQ_API_KEY or from --key-file, never from the command line, where others would see it.
Exit status: 0 done, 1 refused or failed, 2 the command is wrong, 3 nothing answered or it took too long (try
again), 130 interrupted."""
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}


class Usage(Exception):
    """The command cannot be carried out as it is; the message says what is missing."""


class Command:
    """One run of the command line. `hint` says how to go on when it is interrupted now."""

    def __init__(self, given: argparse.Namespace) -> None:
        """`given` are the parsed words."""
        self.given = given
        self.hint = ""

    def client(self) -> Client:
        """The client that the words ask for."""
        given, key = self.given, _secret(self.given.key_file, "RENDERIQ_API_KEY", "--key-file")
        if given.auto_rotate and not given.key_file:
            raise Usage("--auto-rotate needs --key-file, a place to keep the new key")
        own = {"key_file": given.key_file, "auto_rotate": True} if given.auto_rotate else {"key": key}
        return Client(given.base_url, platform="cli", tries=given.tries, **own)

    def upload(self) -> Any:
        """Upload a picture."""
        return self._upload(self.client(), self.given.purpose)

    def render(self) -> Any:
        """The whole job; the answer is the render, with `savedTo`."""
        client, given = self.client(), self.given
        _check_place(given.output or given.picture)
        upload = self._upload(client, "snapshot")
        order = client.render(upload["id"], given.prompt, quality=given.quality)
        return self._finish(client, order["id"], given.output, given.picture)

    def wait(self) -> Any:
        """Wait for a render that was ordered before, and save it when asked to."""
        client, given = self.client(), self.given
        if given.output:
            _check_place(given.output)
            return self._finish(client, given.render_id, given.output, given.output)
        return self._ended(client, given.render_id)

    def listen(self) -> None:
        """Print and verify the webhooks that arrive, until Ctrl-C."""
        given = self.given
        signal.signal(signal.SIGTERM, _interrupt)
        with Receiver(given.port, as_json=given.json) as receiver:
            if given.register is None:
                receiver.secret = _secret(given.secret_file, "RENDERIQ_WEBHOOK_SECRET", "--secret-file")
                self._receive(receiver)
            else:
                with registered(self.client(), given.register or receiver.url, given.events) as receiver.secret:
                    self._receive(receiver)

    def _receive(self, receiver: Receiver) -> None:
        print(f"  listening on {receiver.url}; Ctrl-C ends it", file=sys.stderr, flush=True)
        try:
            receiver.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            print(file=sys.stderr)

    def _upload(self, client: Client, purpose: str) -> Any:
        self.hint = "the same command goes on where it was"
        bar = Bar("upload")
        try:
            return client.upload(self.given.picture, purpose, bar)
        finally:
            bar.close()

    def _finish(self, client: Client, render_id: str, output: Optional[Path], picture: Path) -> Any:
        done = self._ended(client, render_id, output or picture.with_name(f"{picture.stem}-rendered"))
        file = done["output"]["files"][0]
        suffix = SUFFIXES.get(file["contentType"], "")
        place = output or picture.with_name(f"{picture.stem}-rendered{suffix}")
        client.download(file, place)
        return {"savedTo": str(place), **done}

    def _ended(self, client: Client, render_id: str, output: Optional[Path] = None) -> Any:
        saved = f" --output {output}" if output else ""
        self.hint = f"the render goes on; see it with: python -m renderiq_client wait {render_id}{saved}"
        done = client.wait(render_id, self.given.timeout, Stages())
        if done["status"] != "succeeded":
            error = done["error"] or {}
            detail = error.get("message") or f"The render is {done['status']}."
            raise RenderiqError(0, {"code": error.get("code") or done["status"], "detail": detail})
        return done


def main(words: Optional[list[str]] = None) -> int:
    """The exit status."""
    command = Command(parser().parse_args(words))
    # An answer may hold what the terminal's or the file's encoding has no letter for.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file
    try:
        _show(command.given.run(command), as_json=command.given.json)
    except KeyboardInterrupt:
        over = "\r" if sys.stderr.isatty() else ""  # the terminal's own ^C
        print(f"{over}renderiq: interrupted{_hinted(command)}", file=sys.stderr)
        return INTERRUPTED
    except (NetworkError, TimeoutError) as error:
        print(f"renderiq: {error}{_hinted(command)}", file=sys.stderr)
        return UNREACHABLE
    except RenderiqError as error:
        print(f"renderiq: {error}", file=sys.stderr)
        return REFUSED
    except (Usage, OSError, ValueError) as error:
        print(f"renderiq: {error}", file=sys.stderr)
        return WRONG
    return 0


def parser() -> argparse.ArgumentParser:
    """What may be typed."""
    top = argparse.ArgumentParser(
        prog="python -m renderiq_client",
        description="Render viewport pictures.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    told = f"default: RENDERIQ_BASE_URL, else {LOCAL}"
    top.add_argument("--base-url", default=os.environ.get("RENDERIQ_BASE_URL", LOCAL), metavar="URL", help=told)
    top.add_argument("--key-file", type=Path, help="a file that holds the API key")
    top.add_argument("--auto-rotate", action="store_true", help="rotate the key in --key-file when it is time")
    top.add_argument("--tries", type=int, default=TRIES, metavar="N", help="how often to try what fails for a while")
    top.add_argument("--json", action="store_true", help="print the API's JSON")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    command = _add(commands, "render", Command.render, "upload a picture, render it, download the result")
    command.add_argument("picture", type=Path)
    command.add_argument("--prompt", required=True)
    command.add_argument("--quality", choices=("draft", "standard", "high"), default="standard")
    command.add_argument("--output", type=Path, help="where the result goes (default: beside the picture)")
    command.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="how long to wait for it")
    command = _add(commands, "upload", Command.upload, "upload a picture; again after a crash it goes on")
    command.add_argument("picture", type=Path)
    command.add_argument("--purpose", choices=("snapshot", "depth", "normal"), default="snapshot")
    command = _add(commands, "wait", Command.wait, "wait for a render")
    command.add_argument("render_id")
    command.add_argument("--output", type=Path, help="download the result to here")
    command.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="how long to wait for it")
    _add(commands, "whoami", lambda run: run.client().me(), "who the key belongs to")
    _add(commands, "credits", lambda run: run.client().credits(), "what is left")
    webhooks = commands.add_parser("webhooks", help="what the service tells").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command = _add(webhooks, "listen", Command.listen, "print and verify the webhooks that arrive at a local port")
    command.add_argument("--port", type=_port, default=0, help="default: any free one")
    command.add_argument("--secret-file", type=Path, help="a file that holds the secret (or RENDERIQ_WEBHOOK_SECRET)")
    command.add_argument(
        "--register",
        nargs="?",
        const="",
        metavar="URL",
        help="register a webhook for this address, or for a URL that leads to it, and delete it at the end",
    )
    command.add_argument("--events", nargs="+", choices=EVENTS, default=EVENTS, metavar="EVENT", help="default: all")
    return top


def _show(result: Any, *, as_json: bool) -> None:
    if result is not None:
        print(json.dumps(result, indent=2) if as_json else readable(result), flush=True)


def _check_place(path: Path) -> None:
    """Usage when no file can be put there: told before anything is sent, or paid for."""
    if path.is_dir() or not path.parent.is_dir():
        raise Usage(f"no file can be put at {path}")


def _add(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _secret(file: Optional[Path], variable: str, flag: str) -> str:
    """A secret from its file, else from the environment. Usage when there is none."""
    found = file.read_text().strip() if file else os.environ.get(variable)
    if not found:
        raise Usage(f"set {variable}, or name a file with {flag}")
    return found


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _hinted(command: Command) -> str:
    return f"; {command.hint}" if command.hint else ""


if __name__ == "__main__":
    sys.exit(main())
