"""Terraform as the tests run it: real, offline, on a copy of the configuration with a local state."""

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from copy import copy
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "terraform"
PYTHON = ROOT / ".venv-terraform" / "bin" / "python"
CACHE = ROOT / ".cache" / "terraform"
EVERYTHING = Path(__file__).with_name("everything.json")
PROJECT = json.loads(EVERYTHING.read_text())["project_id"]
LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'


class Terraform:
    """A copy of a configuration, and what Terraform says of it."""

    def __init__(self, folder: Path, reattach: str, source: Path = SOURCE):
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.auto.tfvars"))
        (folder / "zz_override.tf").write_text(LOCAL_STATE)
        self.folder = folder
        self._reattach = reattach

    def twin(self, folder):
        """Another copy, which is initialised if this one is."""
        made = copy(self)
        made.folder = shutil.copytree(self.folder, folder)
        return made

    def run(self, *arguments, env=None):
        """One command's exit code and all that it printed."""
        done = subprocess.run(
            [PYTHON, "-m", "tools.terraform.cli", f"-chdir={self.folder}", *arguments],
            cwd=ROOT,
            env=dict(os.environ)
            | {"TF_REATTACH_PROVIDERS": self._reattach, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
            | {"TF_CLI_CONFIG_FILE": os.devnull, "NO_COLOR": "1"}
            | (env or {}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    def must(self, *arguments, env=None):
        """What a command printed; it has to succeed."""
        code, told = self.run(*arguments, env=env)
        assert code == 0, told
        return told

    def init(self):
        self.must("init", "-input=false", "-no-color")

    def plan(self, *arguments):
        """The plan as JSON."""
        self.must("plan", "-input=false", "-no-color", "-out=plan", *arguments)
        return json.loads(self.must("show", "-json", "plan"))


def types_in_use():
    """The resource types of all `.tf` files."""
    text = "\n".join(path.read_text() for path in SOURCE.rglob("*.tf"))
    return sorted(set(re.findall(r'^(?:resource|data) "(google_\w+)"', text, re.MULTILINE)))


@contextmanager
def provider(*flags):
    """A running stand-in provider: what TF_REATTACH_PROVIDERS has to say."""
    if not PYTHON.exists() or not (CACHE / "google.json").exists():
        raise RuntimeError("run `make test-terraform`: it makes what these tests need")
    process = subprocess.Popen(
        [PYTHON, "-m", "tools.terraform.provider", "--schema", CACHE / "google.json", "--project", PROJECT]
        + ["--types", ",".join(types_in_use()), *flags],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = process.stdout.readline().strip()
        assert told, "the stand-in provider did not start"
        yield told
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
