"""Benches of webhooks: a count after kills, the isolation of receivers, and statistics of a million attempts."""

import json
import queue
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tools.bench_calls import call, counts, delete, median_ms, owner, publish, register, wait_until
from tools.local.parts import Part
from tools.local.stack import Running

DELIVERIES, KILLS = 2000, 3
RECEIVERS, ROUNDS, TURNS, PACE_S = 48, 7, 4, 0.05
MILLION = 1_000_000
#: A million deliveries of one webhook over 29 days, an attempt each; one in eleven failed.
GENERATE = """
WITH made AS (
    INSERT INTO webhook_deliveries (id, account_id, webhook_id, event_id, event_type, payload, status, attempts,
                                    created_at, completed_at)
    SELECT uuidv7(-n * :every::interval), account_id, id, uuidv7(), 'webhook.test', '{}', 'succeeded', 1,
           now() - n * :every::interval, now()
    FROM plugin_webhooks, generate_series(1, :n::int) n WHERE id = :webhook_id::uuid
    RETURNING id, webhook_id, created_at
)
INSERT INTO webhook_attempts (delivery_id, webhook_id, number, trigger, started_at, duration_ms, timings, error_class,
                              request_headers, response_headers, response_body)
SELECT id, webhook_id, 1, 'schedule', created_at, 20 + 400 * random() ^ 3, '{}',
       CASE WHEN random() < 0.09 THEN 'http_5xx' END, '{}', '{}', repeat('body ', 100)
FROM made
RETURNING number
"""


@dataclass
class Receivers:
    """Many receivers in one server: each path is one; `/hangs` does until it is released, `/fails` answers 500."""

    released: threading.Event = field(default_factory=threading.Event)
    #: (path, webhook-id, seconds since it was published).
    got: "queue.SimpleQueue[tuple[str, str, float]]" = field(default_factory=queue.SimpleQueue)

    def taken(self) -> list[tuple[str, str, float]]:
        """What came since it was last asked."""
        return [self.got.get() for _ in range(self.got.qsize())]

    def release(self) -> None:
        """Let what hangs end; what comes later hangs again."""
        hanging, self.released = self.released, threading.Event()
        hanging.set()


@contextmanager
def serving(receivers: Receivers) -> Iterator[str]:
    """The base URL of running receivers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            age = time.time() - datetime.fromisoformat(body["timestamp"]).timestamp()
            receivers.got.put((self.path, self.headers["webhook-id"], age))
            if self.path == "/hangs":
                receivers.released.wait()
                return
            self.send_response(500 if self.path == "/fails" else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A sender that was killed is no error here."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            receivers.release()
            server.shutdown()


def deliveries(running: Running, folder: Path) -> None:
    """Some thousand deliveries, and again while the gateway, which is all functions, is killed in between."""
    print(f"\n  {'deliveries':<14} {'a second':>9} {'sent':>6} {'received':>9} {'lost':>5} {'twice':>6}")
    calm = _run(running, folder, kills=0)
    rough = _run(running, folder, kills=KILLS)
    print(
        f"  with {KILLS} kills: {rough / calm:.2f} of the rate without (each kill holds what it hit for a lease, 30 s)"
    )


def _run(running: Running, folder: Path, *, kills: int) -> float:
    receivers = Receivers()
    data = folder / "stack"
    gateway = Part("gateway", data, urlsplit(running.base_url).port or 0)
    try:
        with serving(receivers) as url, ThreadPoolExecutor(8) as pool:
            hooks = [register(running, f"{url}/{number}") for number in range(4)]
            started = time.monotonic()
            sending = [pool.submit(publish, running, hooks[n % len(hooks)]) for n in range(DELIVERIES)]
            for kill in range(1, kills + 1):
                wait_until(lambda kill=kill: receivers.got.qsize() > kill * DELIVERIES / (kills + 1))  # type: ignore[misc]
                gateway.kill()
                gateway.start()
            for sent in sending:
                sent.result()
            wait_until(lambda: sum(counts(running, hook)["succeeded"] for hook in hooks) >= DELIVERIES)
            rate = DELIVERIES / (time.monotonic() - started)
            received = [webhook_id for _, webhook_id, _ in receivers.taken()]
            lost, twice = DELIVERIES - len(set(received)), len(received) - len(set(received))
            name = f"{kills} kills" if kills else "calm"
            print(f"  {name:<14} {rate:>9.0f} {DELIVERIES:>6} {len(received):>9} {lost:>5} {twice:>6}")
            delete(running, hooks)
    finally:
        gateway.stop()
    return rate


def isolation(running: Running, _: Path) -> None:
    """The healthy receivers' time from event to receipt, without and with one that hangs and one that fails."""
    print(f"\n  {'isolation':<26} {'p50':>8} {'p99':>8}")
    receivers = Receivers()
    with serving(receivers) as url:
        hooks = [register(running, f"{url}/{number}") for number in range(RECEIVERS)]
        _rounds(running, hooks, rounds=2)  # what a function imports on its first call counts elsewhere
        # In turns: what else the machine does hits both.
        turns = [(_turn(running, hooks, receivers), _turn(running, hooks, receivers, url)) for _ in range(TURNS)]
        alone, beside = (_percentiles([age for ages in column for age in ages]) for column in zip(*turns, strict=True))
        print(f"  {'all healthy':<26} {alone[0]:>5.0f} ms {alone[1]:>5.0f} ms")
        print(f"  {'one hangs, one fails':<26} {beside[0]:>5.0f} ms {beside[1]:>5.0f} ms")
        print(f"  {'ratio':<26} {beside[0] / alone[0]:>7.2f}x {beside[1] / alone[1]:>7.2f}x   (aim: p99 within 1.5x)")
        delete(running, hooks)


def _turn(running: Running, hooks: list[str], receivers: Receivers, hostile: str = "") -> list[float]:
    """Milliseconds until each event of the healthy came; below the URL `hostile` two others join them."""
    bad = [register(running, f"{hostile}/{name}") for name in ("hangs", "fails")] if hostile else []
    receivers.taken()
    _rounds(running, [*hooks, *bad], ROUNDS)
    ages: list[float] = []

    def all_came() -> bool:
        ages.extend(age * 1000 for path, _, age in receivers.taken() if path not in ("/hangs", "/fails"))
        return len(ages) >= len(hooks) * ROUNDS

    wait_until(all_came)
    delete(running, bad)
    receivers.release()
    return ages


def _percentiles(ages: list[float]) -> tuple[float, float]:
    """The 50th and 99th."""
    cuts = statistics.quantiles(ages, n=100)
    return cuts[49], cuts[98]


def _rounds(running: Running, hooks: list[str], rounds: int) -> None:
    """An event for each webhook, evenly paced, `rounds` times."""
    with ThreadPoolExecutor(4) as pool:
        for hook in hooks * rounds:
            pool.submit(publish, running, hook)
            time.sleep(PACE_S)


def stats(running: Running, folder: Path) -> None:
    """Statistics, a webhook and a list of deliveries: with a million attempts beside none."""
    few, many = (register(running, "http://127.0.0.1:9/none") for _ in range(2))
    print(f"\n  generating {MILLION:,} attempts ...", flush=True)
    conn = owner(folder)
    conn.rows(GENERATE, webhook_id=many, n=MILLION, every="2.5 seconds")
    for table in ("webhook_deliveries", "webhook_attempts"):
        conn._raw.execute_simple(f"VACUUM ANALYZE {table}")  # noqa: SLF001 - as autovacuum does in time
    conn.close()
    print(f"  {'request':<38} {'none':>9} {'a million':>10} {'ratio':>7}")
    paths = [f"/webhooks/{{}}/stats?window={window}" for window in ("1h", "24h", "7d", "30d")]
    for path in (*paths, "/webhooks/{}", "/deliveries?webhookId={}", "/deliveries?webhookId={}&status=dead"):
        none_ms, million_ms = (median_ms(partial(call, running, "GET", path.format(hook))) for hook in (few, many))
        print(f"  {path.format('…'):<38} {none_ms:>6.1f} ms {million_ms:>7.1f} ms {million_ms / none_ms:>6.1f}x")
