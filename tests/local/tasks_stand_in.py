"""What the tests of the Cloud Tasks stand-in share: the stand-in as a process, and a receiver of what it sends."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from google.auth.credentials import AnonymousCredentials
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksRestTransport

from tools.local.identity import Issuer, generate_key_pem

ROOT = Path(__file__).parents[2]
LOCATION = "projects/example/locations/local"
EMAIL = "tasks@example.iam.gserviceaccount.com"
FAST_RETRY = {"minBackoff": "0.05s", "maxBackoff": "0.2s", "maxDoublings": 2, "maxAttempts": 50}


def queue_name(short):
    return f"{LOCATION}/queues/{short}"


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def task(self):
        return self.headers["x-cloudtasks-taskname"]


@dataclass
class Receiver:
    """A real HTTP server. Answers come from `answers` in order, then `status`; `delay_s` before each."""

    status: int = 200
    delay_s: float = 0.0
    answers: list = field(default_factory=list)
    extra: dict = field(default_factory=dict)
    got: list = field(default_factory=list)
    now: int = 0
    most_at_once: int = 0

    def __post_init__(self):
        self.lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver.lock:
                    receiver.got.append(Received(self.command, self.path, headers, body, time.time()))
                    receiver.now += 1
                    receiver.most_at_once = max(receiver.most_at_once, receiver.now)
                    status = receiver.answers.pop(0) if receiver.answers else receiver.status
                time.sleep(receiver.delay_s)
                with receiver.lock:
                    receiver.now -= 1
                try:
                    self.send_response(status)
                    for name, value in receiver.extra.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except (BrokenPipeError, ConnectionResetError):
                    return

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = answer

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self):
        return self.server.server_address[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, count, timeout_s=60.0):
        wait_until(lambda: len(self.got) >= count, timeout_s, lambda: f"{len(self.got)} of {count} arrived")
        return list(self.got)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class StandIn:
    """The stand-in as the stack starts it, on a data folder of its own."""

    def __init__(self, folder, queues=()):
        self.folder = folder
        self.key_pem = generate_key_pem()
        self.issuer = Issuer(self.key_pem, EMAIL)
        (folder / "key.pem").write_text(self.key_pem)
        self.process = None
        self.start(queues)

    def start(self, queues=()):
        (self.folder / "queues.json").write_text(json.dumps(list(queues)))
        flags = ["--port", "0", "--data", str(self.folder / "tasks.sqlite")]
        flags += ["--queues", str(self.folder / "queues.json"), "--issuer-email", EMAIL]
        flags += ["--issuer-key", str(self.folder / "key.pem"), "--with-parent"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.local.tasks", *flags],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        ready = self.process.stdout.readline().decode().split()
        assert ready and ready[0] == "ready", self.process.stderr.read().decode()
        self.base_url = ready[1]
        transport = CloudTasksRestTransport(
            host=ready[1].removeprefix("http://"), url_scheme="http", credentials=AnonymousCredentials()
        )
        self.client = CloudTasksClient(transport=transport)

    def kill(self):
        """SIGKILL, as nothing can prepare for."""
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self):
        """As the supervisor does: the end of its input. The lines it printed on standard error."""
        self.process.stdin.close()
        return self._end()

    def _end(self):
        self.client.transport.close()
        self.process.wait(60)
        errors = self.process.stderr.read().decode()
        rest = self.process.stdout.read()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        assert rest == b"", "only the ready line goes to standard output"
        return errors

    def make_queue(self, short, **settings):
        return self.client.create_queue(
            parent=LOCATION, queue={"name": queue_name(short), "retry_config": _fast(), **settings}
        )

    def add(self, short, url, **settings):
        """Create a task that posts to `url`; `http` adds to its request."""
        request = {"url": url, "http_method": "POST", **settings.pop("http", {})}
        return self.client.create_task(parent=queue_name(short), task={"http_request": request, **settings})

    def names(self, short):
        return [task.name for task in self.client.list_tasks(parent=queue_name(short))]

    def wait_empty(self, short, timeout_s=60.0):
        wait_until(lambda: not self.names(short), timeout_s, lambda: f"{len(self.names(short))} tasks are left")


def _fast():
    return {"min_backoff": "0.05s", "max_backoff": "0.2s", "max_doublings": 2, "max_attempts": 50}


def wait_until(true, timeout_s, told):
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, told()
        time.sleep(0.01)
