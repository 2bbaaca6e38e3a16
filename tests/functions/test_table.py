"""The house keeps its own rules."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/main.py"))
HEAVY = (
    *("google.cloud.storage", "google.cloud.tasks_v2", "google.auth", "google.genai", "grpc", "PIL", "numpy"),
    *("cryptography", "argon2", "jwt", "sqlalchemy", "urllib3", "pg8000", "dns"),
)


def test_the_committed_table_is_current():
    subprocess.run([sys.executable, "-m", "tools.routes", "--check"], cwd=ROOT, check=True)


@pytest.mark.parametrize("package", ["common", "functions"])
def test_every_folder_with_modules_is_a_package(package):
    """import-linter skips a folder without `__init__.py` in silence."""
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_importing_any_function_with_an_empty_environment_does_nothing_and_needs_nothing():
    program = (
        "import importlib, json, socket, sys, threading\n"
        "socket.socket.connect = lambda *a: sys.exit('connected')\n"
        f"for name in {FUNCTIONS!r}: importlib.import_module(f'functions.{{name}}.main')\n"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules] + [t.name for t in threading.enumerate()][1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_a_deployed_function_refuses_settings_that_only_make_sense_locally():
    from common.config import LOCAL_ONLY, ConfigError, read

    for name in LOCAL_ONLY:
        with pytest.raises(ConfigError, match=name):
            read({"K_SERVICE": "renders-create", name: "1"})


@pytest.mark.parametrize("name", ["USER_RATE_PER_MINUTE", "PLATFORM_RATE_PER_MINUTE"])
@pytest.mark.parametrize("rate", ["9", "0", "-10", "ten", "10.5"])
def test_a_rate_that_could_never_afford_a_render_stops_the_start(name, rate):
    from common.config import ConfigError, read

    read({name: "10"})
    with pytest.raises(ConfigError, match=f"^{name} is a whole number from 10, not '{rate}'$"):
        read({name: rate})


def test_an_external_issuer_is_one_whose_tokens_are_for_us_over_https():
    from common.config import ConfigError, read

    trusted = {"OIDC_ISSUER": "http://127.0.0.1:9", "OIDC_AUDIENCE": "us"}
    assert read(trusted).oidc_issuer == trusted["OIDC_ISSUER"]
    with pytest.raises(ConfigError, match="^OIDC_ISSUER needs OIDC_AUDIENCE$"):
        read({"OIDC_ISSUER": "https://issuer.example"})
    with pytest.raises(ConfigError, match="^OIDC_ISSUER is https"):
        read(trusted | {"K_SERVICE": "auth-me"})


@pytest.mark.parametrize("number", ["0", "-1", "1.5", " ", "eight", "\u0668"])
def test_a_number_is_told_when_it_is_none(number):
    from common.config import ConfigError, read

    with pytest.raises(ConfigError, match="^THREADS is a whole number from 1"):
        read({"THREADS": number})


def documented_defaults():
    """What docs/configuration.md says that a setting is when nothing sets it."""
    for line in (ROOT / "docs" / "configuration.md").read_text().splitlines():
        names, _, default = (re.findall(r"[\w:/.-]+", cell) for cell in [*line.split("|")[1:4], "", "", ""][:3])
        if len(names) == len(default) and all(re.fullmatch("[A-Z][A-Z0-9_]+", name) for name in names):
            yield from zip(names, default, strict=True)


NUMBERS = {name: int(default) for name, default in documented_defaults() if default.isdigit()}


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_a_number_that_nothing_sets_is_what_the_document_says(name):
    """A setting and its field are called differently: the one is given, the other must be the same as without it."""
    from common.config import read

    assert read({name: str(NUMBERS[name])}) == read({})
    assert read({name: str(NUMBERS[name] + 1)}) != read({})


def test_every_limit_of_a_minute_has_its_default_in_the_document():
    assert {name for name in NUMBERS if "PER_MINUTE" in name} == {
        *("USER_RATE_PER_MINUTE", "PLATFORM_RATE_PER_MINUTE", "FAILURES_PER_MINUTE", "SIGNINS_PER_MINUTE_OF_ADDRESS"),
        *("SIGNINS_PER_MINUTE_OF_ACCOUNT", "SIGNINS_PER_MINUTE_OF_ACCOUNT_AND_ADDRESS"),
    }


def test_what_is_secret_is_not_in_the_settings_text():
    from common.config import read

    names = ("DATABASE_URL", "TOKEN_PRIVATE_KEY", "WEBHOOK_SECRET_KEYS")
    assert "a-secret" not in repr(read(dict.fromkeys(names, "a-secret")))


REQUIRED = {
    name for path in ROOT.glob("common/**/*.py") for name in re.findall(r'require\(["\'](\w+)["\']\)', path.read_text())
}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_what_is_required_is_missed_by_the_name_of_its_variable(name):
    from common.config import ConfigError, read

    assert read({name.upper(): "given"}).require(name) == "given"
    with pytest.raises(ConfigError, match=f"^{name.upper()} is not configured$"):
        replace(read({}), **{name: ""}).require(name)
