"""A key that rotates itself: nothing that is lost on the way locks the plugin out, and no two processes fight."""

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from renderiq_client import Client, RenderiqError
from tests import fault_proxy
from tests.support import Tenant, request

ROTATE = r"POST /api/plugins/keys/[^/]+/rotate"


@pytest.fixture
def tenant(stack):
    return Tenant(stack)


@pytest.fixture
def key_file(tenant, tmp_path):
    """A key that is nine days of its ten old, in a file."""
    return aged(tenant, tmp_path / "key.txt")


def aged(tenant, path, scopes=("keys:write", "credits:read"), **fields):
    made = tenant.key(list(scopes), maxAgeDays=10, **fields)
    tenant.stack.sql(
        "UPDATE plugin_api_key_secrets SET created_at = created_at - :by::interval WHERE key_id = :id::uuid RETURNING 1",
        id=made["id"],
        by=timedelta(days=9),
    )
    path.touch(mode=0o600)
    path.write_text(made["key"] + "\n")
    return path


def plugin(url, key_file):
    return Client(url, key_file=key_file, auto_rotate=True)


def rotations(tenant):
    rows = tenant.stack.sql(
        "SELECT 1 FROM audit_events WHERE account_id = :id::uuid AND action = 'key.rotated'", id=tenant.id
    )
    return len(rows)


def works(stack, key_file):
    """Whether the kept key does, and is a current one."""
    answer = request(stack.base_url, "GET", "/credits", X_API_Key=key_file.read_text().strip())
    return answer.status == 200 and "X-Renderiq-Key-Rotated" not in answer.headers


def stale(key_file):
    """As if the marker's process had been gone for a while."""
    marker = key_file.with_name(key_file.name + ".rotating")
    long_ago = time.time() - 1000
    os.utime(marker, (long_ago, long_ago))


def test_a_key_is_rotated_once_when_the_service_asks_and_kept(stack, tenant, key_file):
    old = key_file.read_text()
    client = plugin(stack.base_url, key_file)
    for _ in range(3):
        assert client.credits()["granted"] == 50
    assert key_file.read_text() != old
    assert rotations(tenant) == 1
    assert works(stack, key_file)
    (row,) = stack.sql(
        "SELECT valid_until - s.created_at AS grace FROM plugin_api_key_secrets s JOIN plugin_api_keys k"
        " ON k.id = s.key_id WHERE k.account_id = :id::uuid AND valid_until IS NOT NULL",
        id=tenant.id,
    )
    assert row["grace"] > timedelta(days=9 + 6), "the plugin may stay closed for a week after its new key was lost"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert [path.name for path in key_file.parent.iterdir()] == [key_file.name]


def test_a_young_key_is_left_alone(stack, tenant, tmp_path):
    path = tmp_path / "key.txt"
    path.write_text(tenant.key(["keys:write", "credits:read"], maxAgeDays=10)["key"])
    plugin(stack.base_url, path).credits()
    assert rotations(tenant) == 0


@pytest.mark.parametrize(
    "fault", [fault_proxy.lost_answer, fault_proxy.truncated_body, fault_proxy.truncated_head, fault_proxy.unavailable]
)
def test_a_lost_answer_is_asked_for_again(stack, tenant, key_file, proxy, fault):
    proxy.inject(fault, into=ROTATE)
    client = plugin(proxy.url, key_file)
    client.credits()
    assert works(stack, key_file)
    assert client.credits()["granted"] == 50
    assert rotations(tenant) == (1 if fault is fault_proxy.unavailable else 2)


def test_a_plugin_that_was_killed_before_it_kept_the_new_key_rotates_at_its_next_start(stack, tenant, key_file):
    old = key_file.read_text()
    key_file.with_name(key_file.name + ".rotating").touch()
    me = Client(stack.base_url, old.strip()).me()
    Client(stack.base_url, old.strip()).call("POST", f"/keys/{me['credential']['keyId']}/rotate", {})

    plugin(stack.base_url, key_file).credits()
    assert key_file.read_text() == old, "whoever began it may still be at it"
    stale(key_file)
    client = plugin(stack.base_url, key_file)
    client.credits()
    assert works(stack, key_file)
    assert client.credits()["granted"] == 50


def test_a_key_that_somebody_else_rotated_is_not_rotated_again(stack, tenant, key_file):
    """Two offices with one key would take it from each other for ever."""
    old = key_file.read_text()
    me = Client(stack.base_url, old.strip()).me()
    theirs = Client(stack.base_url, old.strip()).call("POST", f"/keys/{me['credential']['keyId']}/rotate", {})
    plugin(stack.base_url, key_file).credits()
    assert key_file.read_text() == old
    assert request(stack.base_url, "GET", "/credits", X_API_Key=theirs["key"]).status == 200
    assert rotations(tenant) == 1


def test_many_threads_and_clients_rotate_once(stack, tenant, key_file):
    clients = [plugin(stack.base_url, key_file) for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: clients[n % 4].credits()["granted"], range(64)))
    assert answers == [50] * 64
    assert rotations(tenant) == 1
    assert works(stack, key_file)


def test_a_key_that_may_not_rotate_itself_goes_on_and_says_so_once(stack, tenant, tmp_path, caplog):
    path = aged(tenant, tmp_path / "key.txt", scopes=("credits:read",))
    client = plugin(stack.base_url, path)
    for _ in range(3):
        assert client.credits()["granted"] == 50
    assert [record.levelname for record in caplog.records if record.name == "renderiq_client"] == ["WARNING"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.txt"]


def test_when_the_new_key_cannot_be_kept_the_old_one_goes_on(stack, tenant, tmp_path, caplog):
    folder = tmp_path / "read-only"
    folder.mkdir()
    path = aged(tenant, folder / "key.txt")
    (folder / f"key.txt.{os.getpid()}.tmp").mkdir()  # where the new key would be written first
    client = plugin(stack.base_url, path)
    assert [client.credits()["granted"] for _ in range(2)] == [50, 50]
    assert "was not rotated" in caplog.text
    assert "rq_sk_" not in caplog.text


def test_an_expired_key_is_an_error_as_ever(stack, tenant, key_file):
    stack.sql("UPDATE plugin_api_keys SET expires_at = now() WHERE account_id = :id::uuid RETURNING 1", id=tenant.id)
    with pytest.raises(RenderiqError, match="key_expired"):
        plugin(stack.base_url, key_file).credits()


def test_without_a_place_to_keep_the_key_there_is_no_rotation(stack):
    with pytest.raises(ValueError, match="key_file"):
        Client(stack.base_url, "a key", auto_rotate=True)


def test_a_key_file_serves_without_rotation_too(stack, tenant, key_file):
    assert Client(stack.base_url, key_file=key_file).credits()["granted"] == 50
    assert rotations(tenant) == 0
