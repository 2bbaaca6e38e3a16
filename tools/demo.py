"""A plugin's whole journey on the local stack: a viewport picture in, a rendered picture and a webhook out.

`python -m tools.demo` exits with 0 only when every step held. It uses the reference client as a SketchUp plugin
would, and verifies the webhook with the public `standardwebhooks` library.
"""

import argparse
import os
import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tools.local.processes import StartError
from tools.local.stack import ROOT, Running, Stack

SAMPLES = ROOT / "docs" / "samples"
PROMPT = "a bright living room in the morning, warm oak floor, soft daylight"
SCOPES = ["uploads:write", "renders:write", "renders:read", "webhooks:write", "credits:read"]
CHUNK = 256 << 10
TIMEOUT_S = 30
#: Fewer than a plugin's: what does not answer here has died.
TRIES = 4
RED, GREEN = 31, 32
Got = queue.Queue[tuple[dict[str, str], bytes]]


class DemoFailed(Exception):
    """A step did not do what it promises."""


class Interrupted(Exception):
    """The injected interruption of the upload."""


def main() -> int:
    """Play the journey; 0 when all of it held."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / ".demo", help="where the stack and the pictures lie")
    data = parser.parse_args().data.resolve()
    sys.path.insert(0, str(ROOT / "clients" / "python"))
    from renderiq_client import RenderiqError

    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know no check marks
    print("\n  Renderiq Plugin API: a plugin's whole journey, on this machine\n")
    started = time.monotonic()
    try:
        with Stack(data) as stack:
            with step("start PostgreSQL, storage, tasks and the functions"):
                running = stack.start()
            play(running, data)
    except (DemoFailed, StartError, RenderiqError, OSError) as failure:
        print(f"\n  {failure}\n\n  {painted(RED, 'the demo failed')}; the logs of its parts are in {data / 'logs'}")
        return 1
    except KeyboardInterrupt:
        print("\n  interrupted")
        return 130
    print(f"\n  {painted(GREEN, 'everything held')}, in {time.monotonic() - started:.1f} s")
    return 0


def play(running: Running, data: Path) -> None:
    """What a plugin does, step by step."""
    from renderiq_client import Client

    client = Client(running.base_url, platform="SketchUp", version="1.2.0", tries=TRIES)
    with step("sign in"):
        client.sign_in(running.email, running.password, device="Demo laptop")
    with step("create an API key for the plugin"):
        client.use_key(client.create_key("SketchUp plugin", SCOPES)["key"])
    with receiver() as (url, got):
        with step(f"register a webhook at {url}"):
            webhook = client.register_webhook(url, ["render.completed"])
        with step("read the credits"):
            before = client.credits()
        uploads = {
            purpose: upload(client, data, f"room_{name}.png", purpose)
            for purpose, name in (("snapshot", "viewport"), ("depth", "depth"), ("normal", "normal"))
        }
        with step("order the render"):
            order = client.render(
                uploads["snapshot"],
                PROMPT,
                depthUploadId=uploads["depth"],
                normalUploadId=uploads["normal"],
                callbackUrl=url,
            )
        with step("render") as tell:
            render = client.wait(order["id"], TIMEOUT_S, lambda now: tell(now["stage"]))
            require(render["status"] == "succeeded", f"the render ended {render['status']}: {render['error']}")
        with step("receive the signed webhook and verify it"):
            verify(got, webhook["secret"], order["id"])
        with step("fetch the result"):
            picture = data / "pictures" / "rendered.jpg"
            client.download(render["output"]["files"][0], picture)
        with step("delete the webhook"):
            client.delete_webhook(webhook["id"])
        with step("compare the credits and the telemetry"):
            after = client.credits()
            require(after["available"] == before["available"] - render["cost"]["charged"], "they do not add up")
            require(after["held"] == before["held"], "credits are still held")
            require(render["metadata"]["sourcePlatform"] == "sketchup", "the telemetry is wrong")
    show(
        {
            "credits": f"{before['available']} before, {after['available']} after",
            "engine": f"{render['engine']['name']} {render['engine']['version']}, ai: {render['engine']['ai']}",
            "telemetry": "\n".join(f"{name} = {value}" for name, value in render["metadata"].items()),
            "viewport": str(data / "pictures" / "room_viewport.png"),
            "rendered": str(picture),
        }
    )


def upload(client: Any, data: Path, name: str, purpose: str) -> str:
    """Upload a sample; the snapshot's is interrupted once, and resumed."""
    folder = data / "pictures"
    folder.mkdir(exist_ok=True)
    picture = folder / name
    shutil.copyfile(SAMPLES / name, picture)

    def show_bar(done: int, total: int) -> None:
        tell(f"{bar(done, total)} {done * 100 // total:3} %")

    def interrupt(done: int, total: int) -> None:
        show_bar(done, total)
        if done:
            raise Interrupted(f"interrupted at {done * 100 // total} % and resumed")

    with step(f"upload {name}") as tell:
        if purpose == "snapshot":
            try:
                client.upload(picture, purpose, interrupt, CHUNK)
                raise DemoFailed("the upload was not interrupted")
            except Interrupted as interruption:
                tell(str(interruption), keep=True)
        done = client.upload(picture, purpose, show_bar, CHUNK)
        require(done["status"] == "ready", "the upload is not ready")
    return str(done["id"])


def verify(got: Got, secret: str, render_id: str) -> None:
    """The webhook of this render has come, and its signature is good."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        try:
            headers, body = got.get(timeout=1)
        except queue.Empty:
            continue
        try:
            event = Webhook(secret).verify(body, headers)
        except WebhookVerificationError as error:
            raise DemoFailed(f"the webhook's signature is wrong: {error}") from None
        if event["type"] == "render.completed" and event["data"]["id"] == render_id:
            return
    raise DemoFailed("no webhook came")


def require(held: bool, otherwise: str) -> None:
    """DemoFailed unless it held."""
    if not held:
        raise DemoFailed(otherwise)


@contextmanager
def step(name: str) -> Iterator[Callable[..., None]]:
    """Print a step with its time. What it yields tells how far it has come; `keep=True`: in the end too."""
    started, kept = time.monotonic(), [name]

    def tell(text: str, *, keep: bool = False) -> None:
        kept.extend([text] if keep else [])
        if live():
            print(f"\r\033[K  … {name}  {text}", end="", flush=True)

    def end(sign: str) -> None:
        clear = "\r\033[K" if live() else ""
        print(f"{clear}  {sign} {', '.join(kept):<62} {time.monotonic() - started:6.2f} s", flush=True)

    tell("")
    try:
        yield tell
    except BaseException:
        end(painted(RED, "\N{BALLOT X}"))
        raise
    end(painted(GREEN, "\N{CHECK MARK}"))


def show(facts: dict[str, str]) -> None:
    """Print what came of it, names to the left."""
    print()
    for name, text in facts.items():
        first, *more = text.split("\n")
        print("\n".join([f"    {name:<11}{first}", *(f"{'':15}{line}" for line in more)]))


def bar(done: int, total: int, width: int = 24) -> str:
    """How much of it is done, as a bar."""
    full = width * done // total
    return "\N{BOX DRAWINGS HEAVY HORIZONTAL}" * full + "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (width - full)


def live() -> bool:
    """Whether this is printed on a terminal that can draw over a line."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def painted(colour: int, text: str) -> str:
    """`text` in a colour, where a person reads it and wants one (no-color.org)."""
    return f"\033[{colour}m{text}\033[0m" if live() and not os.environ.get("NO_COLOR") else text


@contextmanager
def receiver() -> Iterator[tuple[str, Got]]:
    """A webhook receiver on this machine: its URL, and what it gets."""
    got: Got = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.put((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """The demo tells its own story."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/webhooks", got
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
