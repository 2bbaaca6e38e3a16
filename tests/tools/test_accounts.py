"""The operator's commands: what they do, what they refuse, and that no password stands on a command line."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.support import Tenant, accounts, bearer, request


@pytest.fixture
def tenant(stack):
    return Tenant(stack)


def told(stack, *words, **options):
    return json.loads(accounts(stack, "--json", *words, **options).stdout)


def refused(stack, *words, **options):
    done = accounts(stack, *words, check=False, **options)
    assert done.returncode == 1, done
    assert done.stderr.startswith("accounts: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_account_signs_in_with_the_password_that_was_typed(stack):
    email = "Typed.Password@example.com"
    accounts(stack, "create", email, "--name", "Typed", "--credits", "3", stdin="a long passphrase of mine\n")
    body = {"email": email.lower(), "password": "a long passphrase of mine"}
    signed_in = request(stack.base_url, "POST", "/auth/signin", body=body)
    assert signed_in.status == 200
    credits = request(stack.base_url, "GET", "/credits", **bearer(signed_in.json["accessToken"])).json
    assert (credits["available"], credits["granted"]) == (3, 3)


def test_a_password_that_was_made_up_is_shown_once(stack):
    assert set(told(stack, "create", "made.up@example.com", "--name", "M", "--generate-password")) == {
        *("id", "email", "credits", "password")
    }
    told(stack, "create", "typed@example.com", "--name", "T", stdin="a long passphrase of mine\n")


@pytest.mark.parametrize(
    ("words", "stdin", "reason"),
    [
        (["create", "nobody", "--name", "N"], "a long passphrase\n", "is not an e-mail address"),
        (["create", "two words@example.com", "--name", "N"], "a long passphrase\n", "is not an e-mail address"),
        (["create", "n@example.com", "--name", " "], "a long passphrase\n", "A name has"),
        (["create", "n@example.com", "--name", "N"], "short\n", "8 to 128 characters"),
        (["create", "n@example.com", "--name", "N"], "password1\n", "most common"),
        (["create", "n@example.com", "--name", "N", "--credits", "-1"], "a long passphrase\n", "A grant is of"),
        (["create", "n@example.com", "--name", "N", "--no-password"], "", "a password, an external subject"),
        (["grant", "nobody@example.com", "5"], "", "No account has"),
        (["keys", "nobody@example.com"], "", "No account has"),
        (["disable", "nobody@example.com"], "", "No account has"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else "",
)
def test_a_command_that_cannot_be_says_why(stack, words, stdin, reason):
    assert reason in refused(stack, *words, stdin=stdin)


@pytest.mark.parametrize("amount", ["0", "-5", "1000000001"])
def test_a_grant_is_of_some_credits(stack, tenant, amount):
    assert "A grant is of" in refused(stack, "grant", "--", tenant.email, amount)


def test_an_email_address_belongs_to_one_account_in_any_case(stack, tenant):
    words = ["create", tenant.email.upper(), "--name", "Twice"]
    assert "An account has this e-mail address" in refused(stack, *words, stdin="a long passphrase\n")


def test_a_grant_adds_credits_and_an_entry(stack, tenant):
    assert told(stack, "grant", tenant.email, "25")["available"] == 75
    entries = stack.sql(
        "SELECT kind, amount FROM credit_entries WHERE account_id = :id::uuid ORDER BY id", id=tenant.id
    )
    assert [(entry["kind"], entry["amount"]) for entry in entries] == [("grant", 50), ("grant", 25)]


def test_a_disabled_account_is_out_at_once_and_comes_back_with_its_keys_but_not_its_sessions(stack, tenant):
    key, token = tenant.key(["keys:read"])["key"], tenant.token()
    accounts(stack, "disable", tenant.email)
    assert "is disabled already" in refused(stack, "disable", tenant.email)
    statuses = [request(stack.base_url, "GET", "/auth/me", **bearer(secret)).status for secret in (key, token)]
    assert statuses == [401, 401]
    assert tenant.sign_in().code == "invalid_credentials"
    accounts(stack, "enable", tenant.email)
    assert "is not disabled" in refused(stack, "enable", tenant.email)
    statuses = [request(stack.base_url, "GET", "/auth/me", **bearer(secret)).status for secret in (key, token)]
    assert statuses == [200, 401]
    assert tenant.sign_in().status == 200


def test_json_may_be_asked_for_after_the_command(stack, tenant):
    assert json.loads(accounts(stack, "keys", tenant.email, "--json").stdout) == []


def test_sessions_are_ended(stack, tenant):
    found = [tenant.token(), tenant.token()]
    assert told(stack, "end-sessions", tenant.email) == {"ended": 2}
    assert {request(stack.base_url, "GET", "/auth/me", **bearer(token)).status for token in found} == {401}


def test_keys_are_listed_with_their_hints_and_without_their_secrets(stack, tenant):
    made = tenant.key(["keys:read"], platforms=["revit"])
    done = accounts(stack, "--json", "keys", tenant.email)
    listed = json.loads(done.stdout)
    assert [(key["id"], key["hint"], key["platforms"]) for key in listed] == [(made["id"], made["hint"], ["revit"])]
    assert made["key"] not in done.stdout
    assert made["hint"] in accounts(stack, "keys", tenant.email).stdout


def test_help_tells_every_command():
    done = subprocess.run(
        [sys.executable, "-m", "tools.accounts", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for command in ("create", "disable", "enable", "grant", "keys", "end-sessions", "rotate-signing-key"):
        assert command in done.stdout


def test_an_environment_without_a_database_is_told():
    command = [sys.executable, "-m", "tools.accounts", "keys", "a@example.com"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin"}, capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "is not configured" in done.stderr


@pytest.mark.parametrize("words", [["keys", "ada@example.com"], ["rotate-signing-key"]], ids=" ".join)
@pytest.mark.parametrize(
    ("config", "reason"),
    [(None, "is not the folder of a local stack"), ("{", "is damaged"), ('{"ports": {}}', "is damaged or of another")],
)
def test_a_folder_without_a_whole_stack_is_told(tmp_path, words, config, reason):
    if config:
        (tmp_path / "config.json").write_text(config)
    command = [sys.executable, "-m", "tools.accounts", "--data", str(tmp_path), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines()), reason in done.stderr) == (1, 1, True), done.stderr


def test_the_key_of_a_deployed_service_is_not_rotated_here():
    done = subprocess.run(
        [sys.executable, "-m", "tools.accounts", "rotate-signing-key"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, "docs/runbook.md" in done.stderr) == (1, True)
