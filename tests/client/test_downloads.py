"""A download is the rendered picture or nothing, whatever happens on the way."""

import hashlib
import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from renderiq_client import Client, NetworkError, RenderiqError
from tests import fault_proxy
from tests.fault_proxy import FaultProxy

SNAPSHOT = Path(__file__).parents[2] / "docs" / "samples" / "room_viewport.png"


def cut_in_the_middle(exchange):
    status, headers, body = exchange.forward(exchange.body())
    exchange.send_response_only(status)
    for name, value in headers.items():
        exchange.send_header(name, value)
    exchange.end_headers()
    exchange.wfile.write(body[: len(body) // 2])
    exchange.close_connection = True


def another_picture(exchange):
    status, headers, body = exchange.forward(exchange.body())
    exchange.reply(status, headers, bytes(len(body)))


@pytest.fixture(scope="module")
def rendered(stack, tmp_path_factory):
    client = stack.client()
    picture = shutil.copy(SNAPSHOT, tmp_path_factory.mktemp("rendered") / "room.png")
    return client.wait(client.render(client.upload(picture)["id"], "a room", quality="draft")["id"])["output"]["files"][
        0
    ]


@pytest.fixture(scope="module")
def storage_proxy(rendered):
    parts = urlsplit(rendered["url"])
    running = FaultProxy(f"{parts.scheme}://{parts.netloc}")
    yield running
    running.close()


@pytest.fixture
def file(rendered, storage_proxy):
    """The file by way of the proxy, which names the storage's own host to it, for that is signed."""
    parts = urlsplit(rendered["url"])
    storage_proxy.clear()
    storage_proxy.host = parts.netloc
    yield rendered | {"url": f"{storage_proxy.url}{parts.path}?{parts.query}"}
    assert storage_proxy.left() == []


@pytest.fixture
def client(stack):
    return Client(stack.base_url, stack.api_key, timeout_s=2)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "fault",
    [
        fault_proxy.unavailable,
        fault_proxy.refused_before_it_was_read,
        fault_proxy.lost_answer,
        fault_proxy.truncated_head,
        cut_in_the_middle,
        another_picture,
        fault_proxy.answer_that_comes_too_late,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_on_the_way_changes_nothing(client, storage_proxy, file, tmp_path, fault):
    storage_proxy.inject(fault, into="^GET")
    client.download(file, tmp_path / "rendered.jpg")
    assert sha256(tmp_path / "rendered.jpg") == file["sha256"]
    assert os.listdir(tmp_path) == ["rendered.jpg"]


def test_a_download_that_is_cut_again_and_again_goes_on(client, storage_proxy, file, tmp_path):
    storage_proxy.inject(*[cut_in_the_middle] * 3, into="^GET")
    client.download(file, tmp_path / "rendered.jpg")
    assert sha256(tmp_path / "rendered.jpg") == file["sha256"]


def test_what_was_there_already_is_not_fetched_again(client, storage_proxy, file, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(*_):
        raise Interrupted

    storage_proxy.inject(cut_in_the_middle, into="^GET")
    with pytest.raises(Interrupted):
        client.download(file, tmp_path / "rendered.jpg", progress=stop)
    assert not (tmp_path / "rendered.jpg").exists()
    (have,) = [path.stat().st_size for path in tmp_path.iterdir()]
    assert have > 0
    asked, seen = [], []
    storage_proxy.inject(noting(asked, "Range"), into="^GET")
    client.download(file, tmp_path / "rendered.jpg", progress=lambda done, total: seen.append((done, total)))
    assert asked == [f"bytes={have}-"]
    assert sha256(tmp_path / "rendered.jpg") == file["sha256"]
    assert seen[-1] == (file["bytes"], file["bytes"])


def noting(values, name):
    def note(exchange):
        values.append(exchange.headers[name])
        fault_proxy.whole(exchange)

    return note


def test_who_sends_all_of_it_though_the_rest_was_asked_for_is_understood(client, storage_proxy, file, tmp_path):
    def from_its_start(exchange):
        exchange.body()
        del exchange.headers["Range"]
        exchange.reply(*exchange.forward(b""))

    storage_proxy.inject(cut_in_the_middle, from_its_start, into="^GET")
    client.download(file, tmp_path / "rendered.jpg")
    assert sha256(tmp_path / "rendered.jpg") == file["sha256"]
    assert len(storage_proxy.seen) == 2


def test_a_download_that_was_stopped_at_its_end_is_only_put_in_its_place(client, storage_proxy, file, tmp_path):
    def stop(done, total):
        if done == total:
            raise Interrupted

    class Interrupted(Exception):
        pass

    with pytest.raises(Interrupted):
        client.download(file, tmp_path / "rendered.jpg", progress=stop)
    storage_proxy.seen.clear()
    client.download(file, tmp_path / "rendered.jpg", progress=stop)
    assert sha256(tmp_path / "rendered.jpg") == file["sha256"]
    assert len(storage_proxy.seen) == 1


def test_a_file_that_is_never_right_is_an_error_and_what_was_there_stays(client, storage_proxy, file, tmp_path):
    (tmp_path / "rendered.jpg").write_bytes(b"yesterday's")
    storage_proxy.inject(another_picture, another_picture, into="^GET")
    with pytest.raises(NetworkError, match="not the one that was rendered"):
        client.download(file, tmp_path / "rendered.jpg")
    assert (tmp_path / "rendered.jpg").read_bytes() == b"yesterday's"
    assert os.listdir(tmp_path) == ["rendered.jpg"]


def test_a_url_that_is_good_no_longer_says_what_to_do(client, rendered, tmp_path):
    with pytest.raises(RenderiqError, match="ask for the render again") as refused:
        client.download(rendered | {"url": rendered["url"] + "0"}, tmp_path / "rendered.jpg")
    assert refused.value.code == "url_expired"
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_no_error_of_the_networks(client, rendered, tmp_path):
    with pytest.raises(FileNotFoundError):
        client.download(rendered, tmp_path / "nowhere" / "rendered.jpg")


def test_the_key_is_not_sent_to_the_storage(client, storage_proxy, file, tmp_path):
    sent = []

    def note(exchange):
        sent.append({name.lower() for name in exchange.headers})
        fault_proxy.whole(exchange)

    storage_proxy.inject(note, into="^GET")
    client.download(file, tmp_path / "rendered.jpg")
    assert sent and not sent[0] & {"authorization", "x-api-key"}
