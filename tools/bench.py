"""Measures what is felt, as ratios within one run: `python -m tools.bench [name ...]`, `make bench BENCH="name ..."`.

Never part of the tests: a shared machine's seconds mean nothing, what stands beside them in the same run does.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tools import bench_accounts, bench_cold, bench_scale, bench_webhooks
from tools.local.stack import ROOT, Running, announced

MEBIBYTE = 1 << 20
#: Uploads one file and prints its own peak memory in KiB.
UPLOADER = """
import os, sys, time
from pathlib import Path
from renderiq_client import Client
client = Client(sys.argv[1], os.environ["RENDERIQ_API_KEY"])
started = time.monotonic()
client.upload(Path(sys.argv[2]))
took = time.monotonic() - started
print(took, Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def main() -> int:
    """Run the benches asked for on a stack of their own."""
    benches = {
        "uploads": uploads,
        "requests": requests,
        "cold": bench_cold.cold,
        "accounts": bench_accounts.accounts,
        "scale": bench_scale.scale,
        "deliveries": bench_webhooks.deliveries,
        "isolation": bench_webhooks.isolation,
        "stats": bench_webhooks.stats,
    }
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("bench", nargs="*", choices=[[], *benches], help="which ones (default: all)")
    chosen = parser.parse_args().bench or list(benches)
    limits = ("USER_RATE_PER_MINUTE", "PLATFORM_RATE_PER_MINUTE", "FAILURES_PER_MINUTE")
    os.environ |= dict.fromkeys(limits, "1000000")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "stack") as running:
        for name in chosen:
            benches[name](running, Path(folder))
    return 0


@contextmanager
def serving(data: Path) -> Iterator[Running]:
    """A stack in a process of its own, which starts again what a bench kills. RuntimeError when it does not start."""
    command = [sys.executable, "-m", "tools.serve", "--port", "0", "--data", str(data)]
    command += ["--with-parent", str(os.getpid())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            if not any(line.startswith("ready ") for line in process.stdout or ()):
                raise RuntimeError(f"the stack did not start; see {data / 'logs'}")
            yield announced(data)
        finally:
            process.terminate()


def uploads(running: Running, folder: Path) -> None:
    """Files of 50, 100 and 200 MiB through the client, beside a plain PUT of the same file to the same storage."""
    write_png(folder / "warm.png", MEBIBYTE)
    by_client(running, folder / "warm.png")  # what a function imports on its first call counts elsewhere
    print(f"\n  {'upload':<10} {'client':>10} {'plain PUT':>10} {'ratio':>7} {'client RSS':>11} {'storage RSS':>12}")
    for mebibytes in (50, 100, 200):
        picture = folder / f"{mebibytes}.png"
        write_png(picture, mebibytes * MEBIBYTE)
        # In turns, and the medians: what else the machine does hits both.
        turns = [(*by_client(running, picture), by_plain_put(running, folder, picture)) for _ in range(5)]
        client_s, plain_s = (statistics.median(turn[index] for turn in turns) for index in (0, 2))
        ratio = statistics.median(plain / client for client, _, plain in turns)
        print(
            f"  {mebibytes:>4} MiB {mebibytes / client_s:>9.0f} MB/s {mebibytes / plain_s:>5.0f} MB/s {ratio:>6.2f}"
            f" {max(turn[1] for turn in turns) // 1024:>8} MiB {storage_peak(folder) // 1024:>9} MiB"
        )
        picture.unlink()


def requests(running: Running, _: Path) -> None:
    """What each kind of request costs, beside health, which is one round trip to the database."""
    authorized = {"X-API-Key": running.api_key}
    health_ms = timed(lambda: get(running, "/health", {}))
    print(f"\n  {'request':<16} {'median':>9} {'to health':>10}")
    for path in ("/health", "/credits", "/projects", "/keys", "/renders"):
        found_ms = timed(lambda path=path: get(running, path, authorized))  # type: ignore[misc]
        print(f"  GET {path:<12} {found_ms:>6.2f} ms {found_ms / health_ms:>9.2f}x")


def timed(work: Callable[[], None], times: int = 300) -> float:
    """The median of `times` runs, in milliseconds, after some that do not count."""
    taken = []
    for _ in range(times + 50):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken[50:])


def get(running: Running, path: str, headers: dict[str, str]) -> None:
    """One GET on a connection of its own."""
    conn = http.client.HTTPConnection(urlsplit(running.base_url).netloc, timeout=10)
    try:
        conn.request("GET", f"/api/plugins{path}", headers=headers)
        response = conn.getresponse()
        response.read()
    finally:
        conn.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{path} answered {response.status}")


def by_client(running: Running, picture: Path) -> tuple[float, int]:
    """Seconds, and the peak memory in KiB, of a client of its own process."""
    done = subprocess.run(
        [sys.executable, "-c", UPLOADER, running.base_url, str(picture)],
        cwd=ROOT / "clients" / "python",
        env=dict(os.environ) | {"RENDERIQ_API_KEY": running.api_key},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def by_plain_put(running: Running, folder: Path, picture: Path) -> float:
    """Seconds of one PUT of the whole file to a resumable session: `curl -T` where there is curl."""
    uri = session(running, picture)
    started = time.perf_counter()
    if curl := shutil.which("curl"):
        subprocess.run([curl, "-sSf", "-o", os.devnull, "-T", str(picture), uri], check=True, cwd=folder)
    else:
        conn = http.client.HTTPConnection(urlsplit(uri).netloc)
        with picture.open("rb") as file:
            conn.request("PUT", uri.partition(urlsplit(uri).netloc)[2], file)
        conn.getresponse().read()
        conn.close()
    return time.perf_counter() - started


def session(running: Running, picture: Path) -> str:
    """A new resumable session's URI."""
    body = {"fileName": "p.png", "contentType": "image/png", "sizeBytes": picture.stat().st_size}
    conn = http.client.HTTPConnection(urlsplit(running.base_url).netloc)
    headers = {"X-API-Key": running.api_key, "Content-Type": "application/json"}
    conn.request("POST", "/api/plugins/uploads", json.dumps(body | {"purpose": "snapshot"}), headers)
    transfer = json.loads(conn.getresponse().read())["transfer"]
    conn.close()
    parts = urlsplit(transfer["url"])
    conn = http.client.HTTPConnection(parts.netloc)
    conn.request("POST", f"{parts.path}?{parts.query}", b"", transfer["headers"])
    location = conn.getresponse().headers["Location"]
    conn.close()
    return location


def storage_peak(folder: Path) -> int:
    """The storage stand-in's peak memory in KiB (Linux)."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text().split("\x00")
            status = (entry / "status").read_text()
        except OSError:
            continue  # it has ended meanwhile
        if "tools.local.storage" in words and str(folder) in " ".join(words):
            return int(status.partition("VmHWM:")[2].split()[0])
    return 0


def write_png(path: Path, size: int) -> None:
    """A valid PNG of about `size` bytes: noise of 16 bits a colour, not compressed."""
    width = 4096
    line = 1 + 6 * width
    height = size // line

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    compressor = zlib.compressobj(0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)))
        for _ in range(height // 64 + 1):
            lines = min(64, height)
            height -= lines
            file.write(chunk(b"IDAT", compressor.compress((b"\x00" + os.urandom(line - 1)) * lines)))
        file.write(chunk(b"IDAT", compressor.flush()) + chunk(b"IEND", b""))


if __name__ == "__main__":
    sys.exit(main())
