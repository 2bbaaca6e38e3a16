"""The container image, laid out without Docker: what its Dockerfile copies, sets and starts, in folders of a test.

The packages are links to the installed files of exactly what `requirements.lock` pins, and the interpreter has no
others: what a function imports without having it pinned fails here as it would in the image. What differs: the
interpreter is this machine's, and the user is whoever runs the tests.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import venv
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.terraform.terraform import ROOT

DOCKERFILE = ROOT / "Dockerfile"


class Image:
    def __init__(self, folder: Path):
        self.app, self.packages = folder / "app", folder / "packages"
        venv.create(folder / "python", symlinks=True)
        self._python = folder / "python" / "bin" / "python"
        _link(ROOT / "requirements.lock", self.packages)
        self._variables = variables_of_the_image()
        self._command = self._read(_last_stage(DOCKERFILE.read_text()))

    def _read(self, stage):
        command = None
        for instruction, rest in stage:
            words = shlex.split(rest)
            if instruction == "COPY" and words[0] != "--from=build":
                self._copy(*words)
            elif instruction == "CMD":
                command = json.loads(rest)
        return command

    def _copy(self, source, target):
        if target.endswith("/"):
            target += Path(source).name
        into = self.app / target
        into.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, into)

    def start(self, environment, log, *, command=None):
        """A process of the image with the variables that Terraform gives it."""
        python, *arguments = command or self._command
        assert python == "python"
        inside = {name: self._here(value) for name, value in (self._variables | environment).items()}
        return subprocess.Popen(
            [self._python, "-s", *arguments],
            cwd=self.app,
            env={"PATH": os.defpath, "HOST": "127.0.0.1"} | inside,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def _here(self, value):
        return re.sub(r"(?:^|(?<=:))/(app|packages)(?=[/:]|$)", lambda found: str(self.app.parent / found[1]), value)


def variables_of_the_image():
    """What `ENV` sets."""
    said = [shlex.split(rest) for instruction, rest in _last_stage(DOCKERFILE.read_text()) if instruction == "ENV"]
    return dict(word.split("=", 1) for words in said for word in words)


def _last_stage(text):
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    instructions = [tuple(line.split(maxsplit=1)) for line in lines]
    last = max(index for index, (instruction, _) in enumerate(instructions) if instruction == "FROM")
    return instructions[last:]


def pinned(lock):
    """(name, version) of what a lock file pins for this machine."""
    joined = lock.read_text().replace("\\\n", " ")
    for line in joined.splitlines():
        if re.match(r"[a-z0-9]", line):
            requirement = Requirement(line.split(" --hash")[0])
            if requirement.marker is None or requirement.marker.evaluate():
                (specifier,) = requirement.specifier
                yield requirement.name, specifier.version


def _link(lock, folder):
    for name, version in pinned(lock):
        distribution = metadata.distribution(name)
        assert distribution.version == version, f"{name} {distribution.version} is installed, {version} is pinned"
        for file in distribution.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    target.symlink_to(distribution.locate_file(file))
