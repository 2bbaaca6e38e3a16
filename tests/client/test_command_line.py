"""The reference client's command line, against the running stack: in a pipe, on a terminal, and interrupted."""

import json
import os
import pty
import resource
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deliveries.conftest import paused
from tests.functions.test_renders import damaged_png
from tools.bench import write_png

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"


def environment(stack, **more):
    return dict(os.environ) | {"RENDERIQ_API_KEY": stack.api_key, "RENDERIQ_BASE_URL": stack.base_url} | more


def run(stack, *words, **env):
    return subprocess.run(
        [sys.executable, "-m", "renderiq_client", *words],
        cwd=CLIENT,
        env=environment(stack, **env),
        capture_output=True,
        text=True,
        timeout=60,
    )


def on_terminal(stack, *words, **env):
    """What a person sees who runs this on a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "renderiq_client", *words],
        cwd=CLIENT,
        env=environment(stack, **env),
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    seen = b""
    while select.select([master], [], [], 60)[0]:
        try:
            data = os.read(master, 65536)
        except OSError:
            break  # the other end has closed
        seen += data
        if not data:
            break
    os.close(master)
    assert process.wait(60) == 0
    return seen.decode()


@pytest.fixture
def picture(tmp_path):
    return Path(shutil.copy(ROOT / "docs" / "samples" / "room_viewport.png", tmp_path / "room.png"))


def test_a_picture_is_rendered_and_saved_beside_it(stack, picture):
    done = run(stack, "--json", "render", str(picture), "--prompt", "a room", "--quality", "draft")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["savedTo"], told["quality"]) == (str(picture.parent / "room-rendered.jpg"), "draft")
    assert (picture.parent / "room-rendered.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert sorted(path.name for path in picture.parent.iterdir()) == ["room-rendered.jpg", "room.png"]


def test_a_render_that_fails_is_told_with_its_reason(stack, picture):
    picture.write_bytes(damaged_png())
    done = run(stack, "render", str(picture), "--prompt", "a room")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "renderiq: snapshot_unreadable: The snapshot cannot be decoded."
    assert [path.name for path in picture.parent.iterdir()] == [picture.name]


def test_a_render_that_takes_longer_than_it_may_is_waited_for_later(stack, picture):
    with paused(stack, ["renders"]):
        done = run(stack, "render", str(picture), "--prompt", "a room", "--quality", "draft", "--timeout", "1")
    assert done.returncode == 3
    assert "is still queued after 1 s; the render goes on; see it with:" in done.stderr


def test_progress_in_a_pipe_is_a_line_at_each_tenth_without_control_characters(stack, tmp_path):
    write_png(tmp_path / "large.png", 90 << 20)
    done = run(stack, "upload", str(tmp_path / "large.png"))
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1] == "upload 100 %"
    assert 8 <= len(lines) <= 11
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(("columns", "full"), [(100, 28), (60, 1), (20, 0)])
def test_progress_on_a_terminal_is_one_line_that_moves_and_fits(stack, tmp_path, columns, full):
    write_png(tmp_path / "large.png", 40 << 20)
    seen = on_terminal(stack, "upload", str(tmp_path / "large.png"), COLUMNS=str(columns), TERM="xterm")
    assert seen.count("\n") == 1
    last = seen.split("\r")[-2]
    assert "█" * full in last
    assert "░" not in last
    assert "100 %" in last
    assert max(len(line) for line in seen.split("\r")) < columns
    assert all(line.isprintable() for line in seen.replace("\n", "\r").split("\r"))


def test_progress_on_a_terminal_that_draws_nothing_is_plain_lines(stack, tmp_path):
    write_png(tmp_path / "large.png", 9 << 20)
    seen = on_terminal(stack, "upload", str(tmp_path / "large.png"), TERM="dumb")
    assert seen.splitlines()[-1] == "upload 100 %"


def test_a_pass_is_uploaded_for_its_purpose(stack, picture):
    done = run(stack, "--json", "upload", str(picture), "--purpose", "normal")
    assert (json.loads(done.stdout)["purpose"], json.loads(done.stdout)["status"]) == ("normal", "ready")


def test_what_the_encoding_has_no_letter_for_is_told_all_the_same(stack, picture):
    words = ["render", str(picture), "--prompt", "ein größeres Zimmer", "--quality", "draft"]
    done = run(stack, *words, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert r"gr\xf6\xdferes" in done.stdout


def test_who_one_is_and_what_is_left_are_told(stack):
    assert json.loads(run(stack, "--json", "whoami").stdout)["user"]["email"] == stack.email
    assert json.loads(run(stack, "--json", "credits").stdout)["granted"] == 1000
    assert f"  email          {stack.email}" in run(stack, "whoami").stdout.splitlines()


def test_a_refusal_is_one_clear_line_without_the_key(stack):
    key = "rq_sk_test_" + "x" * 39
    done = run(stack, "credits", RENDERIQ_API_KEY=key)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("renderiq: 401 invalid_key")
    assert len(done.stderr.splitlines()) == 1
    assert key not in done.stderr


@pytest.mark.parametrize(
    ("words", "env", "status", "told"),
    [
        (["credits"], {"RENDERIQ_API_KEY": ""}, 2, "set RENDERIQ_API_KEY, or name a file with --key-file"),
        (["--key-file", "/nowhere", "credits"], {}, 2, "No such file or directory"),
        (["--auto-rotate", "credits"], {}, 2, "--auto-rotate needs --key-file"),
        (["upload", "/nowhere.png"], {}, 2, "No such file or directory"),
        (["--base-url", "http://example.com", "credits"], {}, 2, "base_url must be https://"),
        (["webhooks", "listen"], {}, 2, "set RENDERIQ_WEBHOOK_SECRET"),
        (["upload", "renderiq_client"], {}, 2, "Is a directory"),
        (["render", "/nowhere.png", "--prompt", "a", "--output", "/no/where.jpg"], {}, 2, "no file can be put at /no/"),
        (["wait", "1", "--output", "/"], {}, 2, "no file can be put at /"),
        (["webhooks", "listen", "--port", "65536"], {}, 2, "'65536' is no port"),
        (["wait", "0198c0de-0000-7000-8000-000000000000"], {}, 1, "404 not_found"),
        (["nonsense"], {}, 2, "invalid choice"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line_and_by_the_exit_status(stack, words, env, status, told):
    done = run(stack, *words, **env)
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_an_answer_that_cannot_be_written_is_told_in_a_line(stack):
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "renderiq_client", "credits"]
        done = subprocess.run(
            words, cwd=CLIENT, env=environment(stack), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, "No space left" in done.stderr.splitlines()[0]) == (2, True), done.stderr


def test_a_service_that_does_not_answer_is_an_exit_status_of_its_own(stack):
    done = run(stack, "--base-url", "http://127.0.0.1:9", "--tries", "2", "credits")
    assert (done.returncode, "no answer: ConnectionRefusedError" in done.stderr) == (3, True), done.stderr


def test_a_key_in_a_file_is_as_good(stack, tmp_path):
    (tmp_path / "key").write_text(f"{stack.api_key}\n")
    assert run(stack, "--key-file", str(tmp_path / "key"), "credits", RENDERIQ_API_KEY="").returncode == 0


def test_a_full_disk_keeps_no_picture_from_being_uploaded(stack, picture):
    done = subprocess.run(
        [sys.executable, "-m", "renderiq_client", "upload", str(picture)],
        cwd=CLIENT,
        env=environment(stack),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, "its state cannot be kept" in done.stderr) == (0, True), done.stderr


def interrupted(stack, *words):
    """The client's exit status and last words, when it is interrupted at the first that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "renderiq_client", *words],
        cwd=CLIENT,
        env=environment(stack),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not process.stderr.readline().startswith(f"{words[0]} "):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def test_an_interrupted_upload_says_how_to_go_on_and_does(stack, tmp_path):
    picture = tmp_path / "large.png"
    write_png(picture, 200 << 20)
    for _ in range(5):  # on a busy machine the upload may be over before it is interrupted
        status, errors = interrupted(stack, "upload", str(picture))
        if picture.with_name("large.png.renderiq-upload.json").exists():
            break
    assert status == 130
    assert errors.splitlines()[-1] == "renderiq: interrupted; the same command goes on where it was"
    assert (tmp_path / "large.png.renderiq-upload.json").stat().st_mode & 0o777 == 0o600
    done = run(stack, "upload", str(picture))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "large.png.renderiq-upload.json").exists()


def test_an_interrupted_render_goes_on_and_says_where_to_see_it(stack, picture):
    with paused(stack, ["renders"]):
        status, errors = interrupted(stack, "render", str(picture), "--prompt", "a room")
    assert status == 130
    hint = errors.splitlines()[-1].partition("see it with: python -m renderiq_client ")[2].split()
    assert hint[0] == "wait"
    done = run(stack, *hint)
    assert done.returncode == 0, done.stderr
    assert Path(hint[-1]).read_bytes()[:2] == b"\xff\xd8"
