"""An upload ends with identical bytes, whatever happens on the way: to the network, the client, the stack."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from renderiq_client import Client, NetworkError, RenderiqError
from renderiq_client.uploads import ATTEMPTS
from tests import fault_proxy
from tests.conftest import start_stack, stop_stack
from tests.fault_proxy import FaultProxy
from tools.bench import write_png

ROOT = Path(__file__).parents[2]
SIZE = 48 << 20
#: Uploads a file, tells how far it is, and takes its time between two chunks.
SLOW = """
import os, sys, time
from pathlib import Path
from renderiq_client import Client

def tell(done, total):
    print(done, flush=True)
    time.sleep(0.2)

Client(sys.argv[1], os.environ["RENDERIQ_API_KEY"]).upload(Path(sys.argv[2]), progress=tell)
"""


CHUNK = 512 << 10
STARTS, CHUNKS = r"^POST .*X-Goog-Signature", r"^PUT .*upload_id="
PASSING = [
    fault_proxy.unavailable,
    fault_proxy.unavailable_for_a_second,
    fault_proxy.refused_before_it_was_read,
    fault_proxy.reset_in_the_middle,
    fault_proxy.lost_answer,
    fault_proxy.truncated_head,
    fault_proxy.truncated_body,
    fault_proxy.answer_without_range,
    fault_proxy.less_kept_than_sent,
    fault_proxy.answer_that_comes_too_late,
]
FATAL_TO_A_SESSION = [
    fault_proxy.session_gone,
    fault_proxy.session_not_found,
    fault_proxy.corrupted,
    fault_proxy.swallowed,
]
name = {"ids": lambda fault: fault.__name__}


@pytest.fixture(scope="module")
def proxy():
    running = FaultProxy()
    yield running
    running.close()


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, proxy):
    """A stack whose storage is reached through the proxy."""
    raised = dict.fromkeys(("USER_RATE_PER_MINUTE", "PLATFORM_RATE_PER_MINUTE"), "100000")
    running = start_stack(tmp_path_factory.mktemp("faulty"), STORAGE_ENDPOINT=proxy.url, **raised)
    port = json.loads((running.data / "config.json").read_text())["ports"]["storage"]
    proxy.upstream = f"http://127.0.0.1:{port}"
    yield running
    stop_stack(running)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "room.png"
    write_png(path, 2 << 20)
    return path


@pytest.fixture(autouse=True)
def no_fault_is_left(proxy):
    proxy.clear()
    yield
    assert proxy.left() == []


def md5_of(path):
    return base64.b64encode(hashlib.md5(path.read_bytes()).digest()).decode()


def upload(stack, picture, **options):
    """Upload it, and see that exactly these bytes have arrived and nothing is left beside it."""
    done = stack.client(timeout_s=2).upload(picture, chunk_bytes=CHUNK, **options)
    assert (done["status"], done["md5"]) == ("ready", md5_of(picture))
    assert [path.name for path in picture.parent.iterdir()] == [picture.name]
    return done


@pytest.mark.parametrize("fault", PASSING + FATAL_TO_A_SESSION, **name)
@pytest.mark.parametrize("chunk", [1, 3, 4], ids=["first chunk", "a middle chunk", "last chunk"])
def test_a_fault_on_the_way_of_a_chunk_changes_nothing(faulty, proxy, picture, fault, chunk):
    proxy.inject(*[fault_proxy.whole] * (chunk - 1), fault, into=CHUNKS)
    upload(faulty, picture)


@pytest.mark.parametrize(
    "fault", [*PASSING[:7], fault_proxy.answer_that_comes_too_late, fault_proxy.expired_url], **name
)
def test_a_fault_on_the_way_of_a_start_changes_nothing(faulty, proxy, picture, fault):
    proxy.inject(fault, into=STARTS)
    upload(faulty, picture)


def may_pass(faults):
    """A session that is lost again and again is an error, and rightly so."""
    return sum(fault in FATAL_TO_A_SESSION for fault in faults) < ATTEMPTS


@settings(max_examples=8, deadline=None)
@given(
    faults=st.lists(st.sampled_from([fault_proxy.whole, *PASSING, *FATAL_TO_A_SESSION]), max_size=5).filter(may_pass)
)
def test_faults_in_any_order_change_nothing(faulty, proxy, tmp_path_factory, faults):
    picture = tmp_path_factory.mktemp("any") / "room.png"
    write_png(picture, 1 << 20)
    proxy.inject(*faults, into=CHUNKS)
    upload(faulty, picture)
    proxy.clear()


@pytest.mark.parametrize("size", [0, -CHUNK, 1000, CHUNK + 1])
def test_a_chunk_that_cloud_storage_would_refuse_is_refused_before_anything_is_sent(faulty, picture, size):
    with pytest.raises(ValueError, match="multiple of 262144"):
        faulty.client().upload(picture, chunk_bytes=size)


def test_only_what_is_missing_is_sent_again(faulty, proxy, picture):
    proxy.inject(fault_proxy.whole, fault_proxy.whole, fault_proxy.lost_answer, into=CHUNKS)
    kept = []
    upload(faulty, picture, progress=lambda done, _: kept.append(done))
    size = picture.stat().st_size
    assert kept == [*range(CHUNK, size, CHUNK), size]
    chunks = -(-size // CHUNK)
    asked_once = 1
    assert sum("upload_id=" in request for request in proxy.seen) == chunks + asked_once


def test_an_upload_that_gets_nowhere_gives_up_and_goes_on_the_next_time(faulty, proxy, picture):
    proxy.inject(*[fault_proxy.whole] * 2, *[fault_proxy.refused_before_it_was_read] * 2, into=CHUNKS)
    with pytest.raises(NetworkError, match="does not get through"):
        faulty.client(tries=2).upload(picture, chunk_bytes=CHUNK)
    seen = []
    upload(faulty, picture, progress=lambda kept, _: seen.append(kept))
    assert seen[0] == 2 * CHUNK


def test_a_storage_that_asks_for_too_long_a_wait_is_an_error_at_once(faulty, proxy, picture):
    def tomorrow(exchange):
        exchange.body()
        exchange.reply(503, {"Retry-After": "86400"})

    proxy.inject(fault_proxy.whole, tomorrow, into=CHUNKS)
    with pytest.raises(NetworkError, match="does not get through: HTTP 503"):
        faulty.client().upload(picture, chunk_bytes=CHUNK)


def test_a_file_that_is_corrupted_each_time_is_an_error_and_never_ready(faulty, proxy, picture):
    since = faulty.sql("SELECT now()")[0]["now"]
    proxy.inject(*[fault_proxy.corrupted] * 4, into=CHUNKS)
    with pytest.raises(NetworkError, match="MD5"):
        faulty.client().upload(picture)
    begun = faulty.sql("SELECT status FROM uploads WHERE created_at >= :since::timestamptz", since=since)
    assert [row["status"] for row in begun] == ["pending"] * 4


def test_a_large_file_that_is_corrupted_is_noticed_too(faulty, proxy, tmp_path):
    picture = tmp_path / "large.png"
    write_png(picture, 40 << 20)
    proxy.inject(fault_proxy.whole, fault_proxy.corrupted, into=CHUNKS)
    assert faulty.client().upload(picture)["md5"] == md5_of(picture)


def test_a_file_that_changes_while_it_is_sent_arrives_as_it_is_at_the_end(faulty, picture):
    def change(kept, _):
        if kept == 2 * CHUNK and picture.stat().st_size < 2 << 20:
            write_png(picture, 3 << 20)

    upload(faulty, picture, progress=change)


def test_a_file_that_changed_since_its_upload_was_begun_is_sent_from_its_start(faulty, proxy, picture):
    interrupt(faulty, picture)
    write_png(picture, 2 << 20)
    seen = []
    upload(faulty, picture, progress=lambda kept, _: seen.append(kept))
    assert seen[0] == CHUNK


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b'{"uploadId": 1}'], ids=["empty", "cut", "a list", "incomplete"])
def test_a_state_that_makes_no_sense_is_as_good_as_none(faulty, picture, state):
    file = picture.with_name(picture.name + ".renderiq-upload.json")
    file.touch(0o600)
    file.write_bytes(state)
    upload(faulty, picture)


def test_a_state_that_others_may_write_is_not_believed(faulty, picture):
    interrupt(faulty, picture)
    state = picture.with_name(picture.name + ".renderiq-upload.json")
    state.chmod(0o666)
    seen = []
    faulty.client().upload(picture, chunk_bytes=CHUNK, progress=lambda kept, _: seen.append(kept))
    assert seen[0] == CHUNK


def test_an_upload_that_was_canceled_meanwhile_is_begun_again(faulty, picture):
    interrupt(faulty, picture)
    known = json.loads(picture.with_name(picture.name + ".renderiq-upload.json").read_text())
    faulty.client().call("DELETE", f"/uploads/{known['uploadId']}")
    assert upload(faulty, picture)["id"] != known["uploadId"]


def test_an_upload_whose_completion_was_not_heard_of_is_not_sent_again(faulty, proxy, picture):
    interrupt(faulty, picture)
    state = picture.with_name(picture.name + ".renderiq-upload.json")
    kept = state.read_bytes()
    first = upload(faulty, picture)
    state.touch(0o600)
    state.write_bytes(kept)
    proxy.clear()
    assert upload(faulty, picture)["id"] == first["id"]
    assert not any("upload_id=" in request for request in proxy.seen)


def test_a_file_that_has_arrived_is_not_sent_again_though_its_session_is_forgotten(faulty, proxy, picture):
    def stop(kept, total):
        if kept == total:
            raise Interrupted

    with pytest.raises(Interrupted):
        faulty.client().upload(picture, progress=stop)
    state = picture.with_name(picture.name + ".renderiq-upload.json")
    known = json.loads(state.read_text())
    state.write_text(json.dumps(known | {"uri": None}))
    proxy.clear()
    assert upload(faulty, picture)["id"] == known["uploadId"]
    assert not any("upload_id=" in request for request in proxy.seen)


def test_two_that_upload_the_same_file_at_once_both_end_well(faulty, picture):
    interrupt(faulty, picture)
    done, both = [], threading.Barrier(2)

    def one():
        both.wait()
        done.append(faulty.client().upload(picture, chunk_bytes=256 << 10))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each["md5"] for each in done] == [md5_of(picture)] * 2
    assert done[0]["id"] != done[1]["id"]
    assert list(picture.parent.iterdir()) == [picture]


def test_an_upload_for_another_purpose_or_at_another_service_is_not_gone_on_with(faulty, proxy, picture):
    interrupt(faulty, picture)
    assert upload(faulty, picture, purpose="depth")["purpose"] == "depth"
    interrupt(faulty, picture)
    seen = []
    elsewhere = FaultProxy(faulty.base_url)  # it may know the upload's id, and is not asked for it
    client = Client(elsewhere.url, faulty.api_key)
    client.upload(picture, chunk_bytes=CHUNK, progress=lambda kept, _: seen.append(kept))
    assert seen[0] == CHUNK
    assert not any(request.startswith("GET") for request in elsewhere.seen)
    elsewhere.close()


def test_an_upload_that_cannot_be_asked_for_is_not_begun_again(faulty, picture):
    def forbidden(exchange):
        exchange.body()
        exchange.reply(403)

    def stop(kept, _):
        raise Interrupted

    api = FaultProxy(faulty.base_url)
    client = Client(api.url, faulty.api_key)
    with pytest.raises(Interrupted):
        client.upload(picture, chunk_bytes=CHUNK, progress=stop)
    api.inject(forbidden, into="^GET /api/plugins/uploads/")
    with pytest.raises(RenderiqError, match="403"):
        client.upload(picture, chunk_bytes=CHUNK)
    seen = []
    client.upload(picture, chunk_bytes=CHUNK, progress=lambda sent, _: seen.append(sent))
    assert seen[0] >= CHUNK
    assert api.seen.count("POST /api/plugins/uploads") == 1
    api.close()


def test_a_state_that_is_a_link_is_not_followed(faulty, picture, tmp_path_factory):
    target = tmp_path_factory.mktemp("elsewhere") / "precious"
    target.touch(0o600)
    target.write_bytes(b"mine")
    picture.with_name(picture.name + ".renderiq-upload.json").symlink_to(target)
    assert faulty.client().upload(picture, chunk_bytes=CHUNK)["status"] == "ready"
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_a_picture_is_is_told_by_its_bytes_and_not_by_its_name(faulty, tmp_path, kind):
    path = tmp_path / "room.gif"
    Image.new("RGB", (8, 8)).save(path, kind)
    assert faulty.client().upload(path)["contentType"] == f"image/{kind.lower()}"


class Interrupted(Exception):
    pass


def interrupt(stack, picture):
    """An upload that ends after its second chunk."""

    def stop(kept, _):
        if kept == 2 * CHUNK:
            raise Interrupted

    with pytest.raises(Interrupted):
        stack.client().upload(picture, chunk_bytes=CHUNK, progress=stop)


def start_client(stack, picture):
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, stack.base_url, str(picture)],
        cwd=ROOT / "clients" / "python",
        env=dict(os.environ) | {"RENDERIQ_API_KEY": stack.api_key},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until(client, kept):
    while int(client.stdout.readline()) < kept:
        pass


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    (process.stdout or process.stderr).close()


def test_killed_clients_and_a_killed_stack_leave_an_upload_that_goes_on_and_is_whole(tmp_path):
    data, picture = tmp_path / "data", tmp_path / "large.png"
    data.mkdir()
    write_png(picture, SIZE)
    state = tmp_path / "large.png.renderiq-upload.json"

    first = start_stack(data)
    client = start_client(first, picture)
    wait_until(client, 8 << 20)
    kill(client)
    assert state.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(state.read_text())) >= {"uploadId", "uri"}

    client = start_client(first, picture)
    wait_until(client, 24 << 20)
    kill(first.process)
    kill(client)
    time.sleep(1)

    second = start_stack(data)
    try:
        seen = []
        done = second.client().upload(picture, progress=lambda kept, _: seen.append(kept))
        assert seen[0] >= 24 << 20
        assert done["sizeBytes"] == picture.stat().st_size
        assert done["md5"] == base64.b64encode(hashlib.md5(picture.read_bytes()).digest()).decode()
        assert not state.exists()
    finally:
        stop_stack(second)
