"""The image starts as every function, with the environment that Terraform gives it, and as the migrations.

Twice: with exactly that environment, as Cloud Run would (nothing of Google's is reachable, so whatever asks the
database must say so); and with the local parts behind it in place of Google's, where it must work. What this does not
prove: the base image and its Python, the user, Cloud SQL's connector, and Google's own behaviour.
"""

import http.client
import json
import re
import socket
import time
from contextlib import contextmanager

import pytest

from common.auth.task_identity import STRIPPED_SIGNATURE
from common.db import Connection, connect_url
from tests.terraform.image import Image, variables_of_the_image
from tests.terraform.plan import environment, secrets
from tests.terraform.rules_metrics import counted
from tests.terraform.terraform import ROOT, SOURCE
from tools.local.identity import Issuer
from tools.local.ports import free_ports

TABLE = json.loads((SOURCE / "functions.json").read_text())["functions"]
START_S = 30
ID = "0198c0de-0000-7000-8000-000000000000"
by_name = pytest.mark.parametrize("row", TABLE, ids=lambda row: row["name"])


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    return Image(tmp_path_factory.mktemp("image"))


@contextmanager
def running(image, given, tmp_path):
    """The port of a started container."""
    (port,) = free_ports(1)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = image.start(given | {"PORT": str(port)}, output)
        try:
            wait_for(port, process, log)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def wait_for(port, process, log):
    end = time.monotonic() + START_S
    while True:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)


def ask(port, method, path, body=None, **headers):
    """Status and body."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    raw = None if body is None else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        conn.request(method, path, raw, sent | ({"Content-Type": "application/json"} if raw else {}))
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


def path_of(row):
    return "/".join(ID if part.startswith("{") else part for part in row["path"].split("/")).replace("*", "nothing")


def given_to(plan, row, values):
    """What Terraform gives a row's service, the secrets by their values."""
    service = plan.services[row["name"]]
    return environment(service) | {name: values[secret] for name, secret in secrets(service).items()}


@pytest.fixture(scope="session")
def first_versions(first_secrets):
    """The secrets by their ids in Secret Manager."""
    return {name.replace("_", "-"): value for name, value in first_secrets.items()}


@by_name
def test_a_function_starts_with_exactly_what_terraform_gives_it(row, plan, image, first_versions, tmp_path):
    given = given_to(plan, row, first_versions)
    # What Cloud Run sets; and the metadata server, which is not here, is not looked for elsewhere.
    given |= {
        "K_SERVICE": plan.services[row["name"]]["name"],
        "GCE_METADATA_HOST": "127.0.0.1:9",
        "NO_GCE_CHECK": "true",
    }
    method = "GET" if row["method"] == "*" else row["method"]
    body = {} if method in ("POST", "PATCH") else None
    with running(image, given, tmp_path) as port:
        status, answer = ask(port, method, path_of(row), body)
    assert status == expected_of_a_stranger(row), answer
    # One line, which the metrics of requests, or of tasks, count.
    (line,) = [line for line in logged(tmp_path / "log") if line.get("event")]
    assert (line["function"], line["status"]) == (row["name"], status)
    assert counted(plan, line) == ({"tasks"} if row["internal"] else {"requests", "request_ms"})


def logged(log):
    """The lines of JSON that a container has written."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize(("name", "status"), [("keys_list", 503), ("fallback", 204)])
def test_an_instance_is_ready_once_it_reaches_the_database_that_it_needs(
    name, status, plan, image, first_versions, tmp_path
):
    """With the Cloud SQL connector, which finds no Google here."""
    (row,) = [row for row in TABLE if row["name"] == name]
    given = given_to(plan, row, first_versions) | {"GCE_METADATA_HOST": "127.0.0.1:9", "NO_GCE_CHECK": "true"}
    with running(image, given, tmp_path) as port:
        assert ask(port, "GET", "/-/ready")[0] == status


def expected_of_a_stranger(row):
    """What somebody without a credential is answered while no database is there."""
    if not row["public"]:
        return 401
    if row["name"] == "fallback":
        return 404
    if row["method"] == "POST":
        return 422
    return 503 if "database" in row["needs"] else 200


@pytest.fixture(scope="session")
def local_parts(stack):
    """The local stand-ins in place of Google's: by exactly those settings that are meant for it."""
    config = json.loads((stack.data / "config.json").read_text())
    ports = config["ports"]
    password = (stack.data / "postgres" / "password").read_text()
    return {
        "DATABASE_URL": f"postgresql://app:{password}@127.0.0.1:{ports['postgres']}/renderiq",
        "STORAGE_ENDPOINT": f"http://127.0.0.1:{ports['storage']}",
        "STORAGE_SIGNING_KEY_FILE": str(stack.data / "storage-key.pem"),
        "TASKS_ENDPOINT": f"127.0.0.1:{ports['tasks']}",
    }


@by_name
def test_a_function_works_with_the_local_parts_behind_it(
    row, plan, image, first_versions, local_parts, stack, tmp_path
):
    given = given_to(plan, row, first_versions)
    if "database" not in row["needs"]:
        local_parts = {}
    with running(image, given | local_parts, tmp_path) as port:
        assert ask(port, "GET", "/-/ready")[0] == 204
        if row["internal"]:
            status, answer = ask(port, "POST", row["path"], {}, Authorization=f"Bearer {task_token(plan, row, stack)}")
            # The sweep is done; the others want to know which row.
            assert status == (204 if row["name"] == "tasks_sweep" else 422), answer
            assert ask(port, "POST", row["path"], {})[0] == 401
            return
        method = "GET" if row["method"] == "*" else row["method"]
        body = {} if method in ("POST", "PATCH") else None
        # What a session's token is needed for is told from what a key may do.
        credential = {} if row["public"] else {"Authorization": f"Bearer {stack.api_key}"}
        status, answer = ask(port, method, path_of(row), body, Idempotency_Key="image", **credential)
    assert status in expected_of_an_account(row), answer


def expected_of_an_account(row):
    """What the demo account's key may be answered for an empty request about nothing."""
    if row["scope"] == "session":
        return {403}
    if row["name"] == "fallback":
        return {404}
    if "{" in row["path"]:
        return {404, 422}
    return {422} if row["method"] == "POST" else {200}


def task_token(plan, row, stack):
    """A token as Cloud Run hands it on: verified, for this function, of the tasks account."""
    email = plan.one("google_service_account", "tasks")["email"]
    (audience,) = plan.services[row["name"]]["custom_audiences"]
    token = Issuer((stack.data / "issuer-key.pem").read_text(), email).mint(audience)
    return f"{token.rpartition('.')[0]}.{STRIPPED_SIGNATURE}"


def test_an_upload_is_signed_for_the_bucket_and_the_account_of_the_plan(
    plan, image, first_versions, local_parts, stack, tmp_path
):
    (row,) = [row for row in TABLE if row["name"] == "uploads_create"]
    given = given_to(plan, row, first_versions)
    body = {"fileName": "a.png", "contentType": "image/png", "sizeBytes": 10, "purpose": "snapshot"}
    with running(image, given | local_parts, tmp_path) as port:
        status, answer = ask(port, "POST", row["path"], body, Authorization=f"Bearer {stack.api_key}")
    assert status == 201, answer
    url = json.loads(answer)["transfer"]["url"]
    assert f"/{plan.one('google_storage_bucket')['name']}/" in url
    assert plan.services["uploads_create"]["template"][0]["service_account"].replace("@", "%40") in url


@pytest.fixture
def empty_database(stack):
    """The owner's URL of a database that nobody has migrated, in place of Cloud SQL's."""
    port = json.loads((stack.data / "config.json").read_text())["ports"]["postgres"]
    password = (stack.data / "postgres" / "password").read_text()
    stack.sql("DROP DATABASE IF EXISTS empty")
    stack.sql("CREATE DATABASE empty")
    return f"postgresql://renderiq_owner:{password}@127.0.0.1:{port}/empty"


def migrate(plan, image, database_url, log):
    """The job's exit code and output, as the plan has it run, with the owner's URL in place of Cloud SQL."""
    job = plan.one("google_cloud_run_v2_job")["template"][0]["template"][0]["containers"][0]
    given = {env["name"]: env["value"] for env in job["env"]} | {"MIGRATIONS_DATABASE_URL": database_url}
    with log.open("wb") as output:
        code = image.start(given, output, command=[*job["command"], *job["args"]]).wait(60)
    return code, log.read_text()


def revision_of(database_url):
    conn = Connection(connect_url(database_url))
    try:
        return conn.one("SELECT version_num AS revision FROM alembic_version")["revision"]
    finally:
        conn.close()


def test_the_migrations_job_makes_an_empty_database_the_newest_and_may_run_again(plan, image, empty_database, tmp_path):
    newest = max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("0*.py"))
    for _ in range(2):
        code, told = migrate(plan, image, empty_database, tmp_path / "log")
        assert code == 0, told
        assert revision_of(empty_database) == newest


def test_after_a_roll_back_the_older_image_leaves_the_newer_database_alone(plan, image, empty_database, tmp_path):
    assert migrate(plan, image, empty_database, tmp_path / "log")[0] == 0
    conn = Connection(connect_url(empty_database))
    try:
        conn.rows("UPDATE alembic_version SET version_num = '9999'")
        conn._raw.commit()
    finally:
        conn.close()
    code, told = migrate(plan, image, empty_database, tmp_path / "log")
    assert code == 0, told
    assert "newer than the image" in told
    assert revision_of(empty_database) == "9999"


def test_the_image_holds_nothing_but_what_runs(image):
    assert {path.name for path in image.app.iterdir()} == {
        "alembic.ini",
        "common",
        "functions",
        "migrations",
        "terraform",
    }
    assert [path.name for path in (image.app / "terraform").iterdir()] == ["functions.json"]


def test_the_image_is_pinned_and_runs_as_nobody():
    text = (ROOT / "Dockerfile").read_text()
    bases = [line.split()[1] for line in text.splitlines() if line.startswith("FROM")]
    assert all(re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", base) for base in bases)
    assert len(set(bases)) == 1
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["nobody"]
    assert re.findall(r"^RUN (\S+ ?\S* ?\S*)", text, re.MULTILINE) == [
        "pip install --no-cache-dir",
        "python -m compileall",
    ]
    assert "--no-deps --require-hashes" in text
    assert text.rstrip().splitlines()[-2:] == ["USER nobody", 'CMD ["python", "-m", "functions_framework"]']


def test_the_image_says_only_what_is_the_same_everywhere():
    """One worker: the database pool is one process's, and is as large as its threads."""
    said = {"FUNCTION_TARGET": "main", "PORT": "8080", "PYTHONPATH": "/app:/packages", "PYTHONUNBUFFERED": "1"}
    assert variables_of_the_image() == said | {"WORKERS": "1"}
