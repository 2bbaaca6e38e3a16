"""Seeded faults: each is found, by Terraform itself or by a rule. A proof that finds nothing would prove nothing."""

import json

import pytest

from tests.terraform import rules
from tests.terraform.faults import FAULTS
from tests.terraform.plan import Plan
from tests.terraform.terraform import EVERYTHING, Terraform


def sample(rows):
    """Rows of every kind, so that a hundred plans do not take minutes: the first of each set of needs and form of path."""
    kept = {
        "auth_me",
        "auth_signin",
        "credits_get",
        "health",
        "keys_create",
        "keys_revoke",
        "renders_create",
        "renders_get",
    }
    seen = set()
    for row in rows:
        kind = (tuple(row["needs"]), row["internal"], "{" in row["path"], row["method"] == "*")
        if row["name"] in kept or row["internal"] or kind not in seen:
            yield row
        seen.add(kind)


@pytest.fixture(scope="session")
def sound(tmp_path_factory, certain):
    """A configuration of the sample, initialised."""
    terraform = Terraform(tmp_path_factory.mktemp("sound") / "terraform", certain)
    table = terraform.folder / "functions.json"
    rows = json.loads(table.read_text())["functions"]
    table.write_text(json.dumps({"functions": list(sample(rows))}, indent=2))
    terraform.init()
    return terraform


def findings(terraform, secrets_file):
    """What Terraform says against the configuration, else which rules its plan breaks."""
    code, told = terraform.run(
        "plan", "-input=false", "-no-color", "-out=plan", f"-var-file={EVERYTHING}", f"-var-file={secrets_file}"
    )
    if code:
        return ["terraform: " + told]
    return list(broken(terraform))


def broken(terraform):

    plan = Plan(
        json.loads(terraform.must("show", "-json", "plan")),
        json.loads((terraform.folder / "functions.json").read_text()),
    )
    for name, check in rules.load().items():
        try:
            check(plan)
        except Exception as error:
            yield f"{name}: {error!r}"


def batches(size=3):
    """Faults that one plan can have: in different files, and found by different rules."""
    made: list[list] = []
    for fault in FAULTS:
        alone = fault.by in ("", "terraform")
        free = (
            batch
            for batch in made
            if len(batch) < size
            and all(f.by not in ("", "terraform", fault.by) and f.file != fault.file for f in batch)
        )
        batch = None if alone else next(free, None)
        if batch is None:
            made.append([fault])
        else:
            batch.append(fault)
    return made


@pytest.mark.parametrize("faults", batches(), ids=lambda faults: ", ".join(fault.name for fault in faults))
def test_seeded_faults_are_found(faults, tmp_path, sound, secrets_file):
    terraform = sound.twin(tmp_path / "terraform")
    for fault in faults:
        path = terraform.folder / fault.file
        text = path.read_text()
        assert text.count(fault.old) >= 1, "the fault cannot be seeded: the configuration has changed"
        path.write_text(text.replace(fault.old, fault.new, 1))
    found = findings(terraform, secrets_file)
    assert found
    for fault in faults:
        assert any(finding.startswith(fault.by) for finding in found), (fault.name, found)


def test_nothing_is_found_without_a_fault(tmp_path, sound, secrets_file):
    assert findings(sound.twin(tmp_path / "terraform"), secrets_file) == []
