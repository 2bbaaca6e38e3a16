"""Signatures, verified by the public libraries receivers use."""

import base64
import json
import re
import shutil
import subprocess
import time

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st

from common.webhooks import signing

NODE_PACKAGE = "standardwebhooks@1.0.0"
BODY = '{"type":"render.completed","timestamp":"2026-03-01T12:00:00Z","data":{"prompt":"Größe 🏠"}}'.encode()
LIBRARIES = {
    "standardwebhooks": (standardwebhooks.Webhook, standardwebhooks.WebhookVerificationError),
    "svix": (svix.webhooks.Webhook, svix.webhooks.WebhookVerificationError),
}
libraries = pytest.mark.parametrize("library", LIBRARIES)


def verify(library, secret, body, headers):
    return LIBRARIES[library][0](secret).verify(body, headers)


def refused(library):
    return pytest.raises(LIBRARIES[library][1])


def signed(*secrets, body=BODY, at=None):
    return signing.headers(secrets, "msg_1", int(at or time.time()), body)


def test_a_secret_is_whsec_and_32_random_bytes():
    made = {signing.new_secret() for _ in range(50)}
    assert len(made) == 50
    for secret in made:
        assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


@libraries
def test_a_library_of_the_public_verifies_a_message(library):
    secret = signing.new_secret()
    verify(library, secret, BODY, signed(secret))


@libraries
@given(message=st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers(), max_size=4))
def test_whatever_the_message_is_it_verifies(library, message):
    secret, body = signing.new_secret(), json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    verify(library, secret, body, signed(secret, body=body))


@libraries
def test_during_a_rotation_both_secrets_verify_and_no_third(library):
    new, old = signing.new_secret(), signing.new_secret()
    headers = signed(new, old)
    assert len(headers["webhook-signature"].split(" ")) == 2
    verify(library, new, BODY, headers)
    verify(library, old, BODY, headers)
    with refused(library):
        verify(library, signing.new_secret(), BODY, headers)


@libraries
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(time.time()) + 1)},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": ""},
    ],
)
def test_what_was_changed_on_its_way_is_refused(library, change):
    secret = signing.new_secret()
    with refused(library):
        verify(library, secret, BODY, signed(secret, at=time.time() - 5) | change)
    with refused(library):
        verify(library, secret, BODY + b" ", signed(secret))


@libraries
def test_a_replay_of_an_old_message_is_refused(library):
    secret = signing.new_secret()
    with refused(library):
        verify(library, secret, BODY, signed(secret, at=time.time() - 3600))


def test_the_specification_s_own_example():
    """From the specification's reference libraries: a secret, a message, and its signature."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = signing.sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A folder in which Node finds the public package."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", NODE_PACKAGE]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {NODE_PACKAGE} within 60 s")
    if done.returncode:
        pytest.skip(f"npm could not install {NODE_PACKAGE}: {done.stderr.strip().splitlines()[0]}")
    return folder


def test_node_s_library_verifies_what_ours_signed_and_refuses_the_rest(node):
    new, old = signing.new_secret(), signing.new_secret()
    program = """
        const {Webhook} = require("standardwebhooks");
        const {secrets, body, headers} = JSON.parse(require("fs").readFileSync(0));
        const told = secrets.map((secret) => {
            try { return new Webhook(secret).verify(body, headers).type; } catch (error) { return error.name; }
        });
        console.log(JSON.stringify(told));
    """
    given = {"secrets": [new, old, signing.new_secret()], "body": BODY.decode(), "headers": signed(new, old)}
    done = subprocess.run(
        ["node", "-e", program], cwd=node, input=json.dumps(given), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second, third = json.loads(done.stdout)
    assert (first, second) == ("render.completed", "render.completed")
    assert third.endswith("Error")
