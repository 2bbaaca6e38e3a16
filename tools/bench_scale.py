"""What a million renders of one account change: every list, a render, a balance and an order, before and after."""

import http.client
import json
import math
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from common.db import Connection
from tools.bench_calls import call, owner
from tools.local.environment import LOCATION
from tools.local.stack import ROOT, Running

FEW, MANY, BATCH = 1_000, 1_000_000, 50_000
TIMES, WARM, ALLOWED = 200, 30, 1.3
#: The share of failed renders, and of those from one platform: few in the end, but enough for a page from the start.
COMMON, RARE = 0.2, 0.0001
#: Renders of an account over a year, mostly succeeded, with what the ledger and the project say of them.
MAKE = """
WITH made AS MATERIALIZED (
    SELECT uuidv7(-age) AS id, now() - age AS created_at,
           CASE WHEN random() < :rare THEN 'failed' ELSE 'succeeded' END AS status,
           CASE WHEN random() < :rare THEN 'archicad'
                ELSE (ARRAY['sketchup', 'revit', 'rhino', 'blender'])[1 + n % 4] END AS platform, n
    FROM (SELECT n, (:days::float8 + :span::float8 * (1 - n::float8 / :count)) * interval '1 day' AS age
          FROM generate_series(1, :count::int) n) aged, (SELECT :rare::float8) rare
),
renders AS (
    INSERT INTO renders (id, account_id, project_id, upload_id, status, stage, prompt, quality, seed, engine, quoted,
                         charged, hold, files, metadata, created_at, started_at, completed_at, attempt)
    SELECT id, :account::uuid, CASE WHEN n % 2 = 0 THEN :project::uuid END, :upload::uuid, status, status,
           'a living room', 'draft', n, '{"name": "studio", "version": "1.0", "ai": false, "deterministic": true}',
           1, (status = 'succeeded')::int, CASE status WHEN 'succeeded' THEN 'captured' ELSE 'released' END,
           CASE status WHEN 'succeeded' THEN '[{"role": "picture", "object": "none", "contentType": "image/jpeg",
               "width": 1280, "height": 800, "bytes": 1, "sha256": ""}]'::jsonb END,
           jsonb_build_object('sourcePlatform', platform,
                              'pluginVersion', '1.2.0', 'userAgent', 'bench', 'callbackUrl', null),
           created_at, created_at, created_at, 1
    FROM made RETURNING project_id
),
entries AS (
    INSERT INTO credit_entries (id, account_id, kind, amount, available_after, render_id, created_at)
    SELECT uuidv7(), :account, kind, 1, 0, made.id, made.created_at
    FROM made CROSS JOIN LATERAL
        (VALUES ('hold'), (CASE made.status WHEN 'succeeded' THEN 'capture' ELSE 'release' END)) k (kind)
),
counted AS (
    UPDATE projects SET render_count = render_count + (SELECT count(project_id) FROM renders) WHERE id = :project
),
captured AS (SELECT count(*) AS n FROM made WHERE status = 'succeeded'),
granted AS (
    INSERT INTO credit_entries (account_id, kind, amount, available_after)
    SELECT :account, 'grant', n, 0 FROM captured
)
UPDATE credit_accounts SET granted = granted + captured.n, spent = spent + captured.n
FROM captured WHERE account_id = :account RETURNING 1
"""


def scale(running: Running, folder: Path) -> None:
    """Each request with a thousand renders, then with a million: and how they compare."""
    queue(folder, "pause")
    account = prepared(running, folder)
    with closing(owner(folder)) as conn:
        fill(conn, account, FEW, COMMON)
        few = measured(running, requests(running, account))
        started = time.monotonic()
        fill(conn, account, MANY - FEW, RARE)
        print(f"\n  {MANY:,} renders made in {time.monotonic() - started:.0f} s")
        many = measured(running, requests(running, account))
    compare(f"{FEW:,}", few, f"{MANY:,}", many)


def compare(few_is: str, few: dict[str, float], many_is: str, many: dict[str, float]) -> None:
    """A line a request, with a mark on what grew."""
    print(f"  {'times what GET /health takes, with':<44} {few_is:>9} {many_is:>10} {'ratio':>7}")
    for name, before in few.items():
        ratio = many[name] / before
        print(f"  {name:<44} {before:>9.2f} {many[name]:>10.2f} {ratio:>6.2f}x{'  !' if ratio > ALLOWED else ''}")


def measured(running: Running, work: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Each request's lower quartile by that of GET /health, in turns: what else the machine does only adds to them."""
    found = {}
    for name, ask in work.items():
        beside, taken = [], []
        for _ in range(TIMES + WARM):
            beside.append(seconds(lambda: call(running, "GET", "/health")))
            taken.append(seconds(ask))
        found[name] = quartile(taken) / quartile(beside)
    return found


def quartile(taken: list[float]) -> float:
    """The lower one, of what came after warming up."""
    return statistics.quantiles(taken[WARM:], n=4)[0]


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def requests(running: Running, account: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """What is measured, by its name."""
    half_a_year_ago = uuid.UUID(int=int((time.time() - 182 * 86400) * 1000) << 80)
    from common.domain.paging import encode

    deep = encode(half_a_year_ago)
    since, until = (time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - days * 86400)) for days in (200, 100))
    lists = {
        "GET /renders": "",
        "GET /renders, half a year back": f"cursor={deep}",
        "GET /renders?projectId": f"projectId={account['project']}",
        "GET /renders?status=failed": "status=failed",
        "GET /renders?status=processing (none)": "status=processing",
        "GET /renders?platform=archicad": "platform=archicad",
        "GET /renders?status=failed&platform=rhino": "status=failed&platform=rhino",
        "GET /renders?projectId&status&platform": f"projectId={account['project']}&status=failed&platform=rhino",
        "GET /renders?since&until": f"since={since}&until={until}",
        "GET /renders?platform, half a year back": f"platform=archicad&cursor={deep}",
    }
    work = {name: f"/renders?limit=20&{query}" for name, query in lists.items()}
    work |= {"GET /projects": "/projects", "GET /credits": "/credits", "GET /credits/entries": "/credits/entries"}
    found: dict[str, Callable[[], Any]] = {
        name: (lambda path=path: call(running, "GET", path))  # type: ignore[misc]  # binds this path
        for name, path in work.items()
    }
    order = {"uploadId": account["upload"], "projectId": account["project"], "prompt": "a room", "quality": "draft"}
    render = call(running, "POST", "/renders", order)
    call(running, "POST", f"/renders/{render['id']}/cancel", {})
    found["GET /renders/{renderId}"] = lambda: call(running, "GET", f"/renders/{render['id']}")
    found["POST /renders, then cancel"] = lambda: call(
        running, "POST", f"/renders/{call(running, 'POST', '/renders', order)['id']}/cancel", {}
    )
    return found


def prepared(running: Running, folder: Path) -> dict[str, Any]:
    """The demo account's id, and an upload and a project of it."""
    import sys

    sys.path.insert(0, str(ROOT / "clients" / "python"))
    from renderiq_client import Client

    picture = folder / "scale.png"
    picture.write_bytes((ROOT / "docs" / "samples" / "room_viewport.png").read_bytes())
    upload = Client(running.base_url, running.api_key).upload(picture)["id"]
    project = call(running, "POST", "/projects", {"name": "scale"})["id"]
    with closing(owner(folder)) as conn:
        row = conn.one("SELECT account_id FROM uploads WHERE id = :id::uuid", id=upload)
    return {"id": row["account_id"], "upload": upload, "project": project}


def fill(conn: Connection, account: dict[str, Any], count: int, rare: float) -> None:
    """So many renders more, a share of them `rare`, not checked for what is right by construction, then analyzed."""
    conn.rows(
        "SELECT set_config('session_replication_role', 'replica', false), set_config('statement_timeout', '0', false)"
    )
    batches = math.ceil(count / BATCH)
    for batch in range(batches):
        conn.rows(
            MAKE,
            count=count // batches,
            days=365 * (batches - batch - 1) / batches,
            span=365 / batches,
            rare=rare,
            account=account["id"],
            project=account["project"],
            upload=account["upload"],
        )
    for table in ("renders", "credit_entries", "projects"):
        conn.rows(f"VACUUM ANALYZE {table}")
    conn.rows("CHECKPOINT")


def queue(folder: Path, verb: str) -> None:
    """Pause or resume the queue of renders: what is measured is the order, not the picture."""
    port = json.loads((folder / "stack" / "config.json").read_text())["ports"]["tasks"]
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    conn.request("POST", f"/v2/{LOCATION}/queues/renders:{verb}", b"{}")
    conn.getresponse().read()
    conn.close()
