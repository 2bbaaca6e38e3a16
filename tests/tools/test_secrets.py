"""`python -m tools.secrets`: a deployment's first secrets, and the files of a rotation of its token key."""

import json
import stat
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from common.auth import tokens
from tests.conftest import ROOT

FILES = ("token-private-key.pem", "jwks-both.json", "jwks-new.json")


def secrets(*words):
    return subprocess.run(
        [sys.executable, "-m", "tools.secrets", *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )


def test_the_first_secrets_belong_together():
    made = json.loads(secrets("first").stdout)["first_secrets"]
    assert json.loads(made["token_jwks"])["keys"] == [tokens.public_jwk(made["token_private_key"])]
    assert Fernet(made["webhook_secret_keys"])


def test_a_rotation_publishes_both_keys_and_then_the_new_one_alone(tmp_path):
    _, old = tokens.generate_key()
    published, into = tmp_path / "published.json", tmp_path / "rotation"
    published.write_text(json.dumps({"keys": [old]}))
    done = secrets("rotate-token-key", "--jwks", published, "--into", into)
    assert done.returncode == 0, done.stderr
    new = tokens.public_jwk((into / "token-private-key.pem").read_text())
    assert json.loads((into / "jwks-both.json").read_text())["keys"] == [new, old]
    assert json.loads((into / "jwks-new.json").read_text())["keys"] == [new]
    assert {stat.S_IMODE(file.stat().st_mode) for file in into.iterdir()} == {0o600}
    assert done.stdout.splitlines() == [str(into / name) for name in FILES]
    again = secrets("rotate-token-key", "--jwks", published, "--into", into)
    assert (again.returncode, "File exists" in again.stderr) == (1, True)
    assert tokens.public_jwk((into / "token-private-key.pem").read_text()) == new


@pytest.mark.parametrize("published", [None, "{", "[]", "{}", '{"keys": []}', '{"keys": [5]}', '{"keys": [{}, {}]}'])
def test_what_is_no_published_document_rotates_nothing(tmp_path, published):
    file, into = tmp_path / "published.json", tmp_path / "rotation"
    if published:
        file.write_text(published)
    done = secrets("rotate-token-key", "--jwks", file, "--into", into)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert done.stderr.startswith("nothing rotated: ")
    assert not into.exists()
