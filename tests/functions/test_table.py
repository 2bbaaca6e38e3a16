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


REQUIRED = {
    name for path in ROOT.glob("common/**/*.py") for name in re.findall(r'require\(["\'](\w+)["\']\)', path.read_text())
}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_what_is_required_is_missed_by_the_name_of_its_variable(name):
    from common.config import ConfigError, read

    assert read({name.upper(): "given"}).require(name) == "given"
    with pytest.raises(ConfigError, match=f"^{name.upper()} is not configured$"):
        replace(read({}), **{name: ""}).require(name)
