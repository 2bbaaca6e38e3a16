"""Terraform itself agrees: formatted, valid, its own tests pass, applied, and then there is nothing left to do."""

import json
import re
from collections import Counter

import pytest

from common.config import read
from tests.terraform.plan import Plan, environment, secrets
from tests.terraform.terraform import EVERYTHING, PROJECT, SOURCE, Terraform

TFTEST = SOURCE / "tests" / "configuration.tftest.hcl"
BLOCK = re.MULTILINE | re.DOTALL
ROOTS = {"root": SOURCE, "bootstrap": SOURCE / "bootstrap"}


@pytest.fixture(params=ROOTS)
def terraform(request, tmp_path, uncertain):
    made = Terraform(tmp_path / "terraform", uncertain, ROOTS[request.param])
    made.init()
    return made


def test_the_files_are_formatted(tmp_path, uncertain):
    made = Terraform(tmp_path / "terraform", uncertain)
    code, told = made.run("fmt", "-check", "-recursive", "-diff")
    assert code == 0, told


def test_the_configuration_is_valid(terraform):
    assert json.loads(terraform.must("validate", "-json"))["diagnostics"] == []


def test_terraform_test_passes(tmp_path, uncertain):
    made = Terraform(tmp_path / "terraform", uncertain)
    made.init()
    runs = len(re.findall(r"^run \"", TFTEST.read_text(), re.MULTILINE))
    assert f"{runs} passed, 0 failed" in made.must("test", "-no-color")


def test_each_validation_is_seen_to_refuse():
    """As many runs that are refused by a variable as it has validations, and one for each resource that has conditions."""
    refused = Counter(re.findall(r"expect_failures = \[([\w.]+)\]", TFTEST.read_text()))
    for name, body in re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', (SOURCE / "variables.tf").read_text(), BLOCK):
        assert refused.pop(f"var.{name}", 0) >= body.count("  validation {"), name
    assert set(refused) == {"google_cloud_tasks_queue.main", "google_sql_database_instance.main"}


def test_what_is_planned_is_applied_and_nothing_is_left_to_do(tmp_path, uncertain, secrets_file, first_secrets):
    made = Terraform(tmp_path / "terraform", uncertain)
    made.init()
    settings, secrets = f"-var-file={EVERYTHING}", f"-var-file={secrets_file}"
    shown = json.dumps(made.plan(settings, secrets))
    # What is ephemeral is not in the plan, and has to be given again.
    made.must("apply", "-input=false", "-no-color", secrets, "plan")
    code, told = made.run("plan", "-input=false", "-no-color", "-detailed-exitcode", settings, secrets)
    assert code == 0, told
    state = (made.folder / "terraform.tfstate").read_text()
    for name, value in first_secrets.items():
        text = json.dumps(value)[1:-1]
        assert text not in shown, f"{name} is in the plan"
        assert text not in state, f"{name} is in the state"


def test_what_is_left_out_is_not_given_and_the_code_keeps_its_defaults(tmp_path, certain, secrets_file):
    made = Terraform(tmp_path / "terraform", certain)
    made.init()
    everything = json.loads(EVERYTHING.read_text())
    given = [f"-var={name}={everything[name]}" for name in ("project_id", "domain", "image")]
    plan = Plan(made.plan(f"-var-file={secrets_file}", *given))
    for name, service in plan.services.items():
        assert all(environment(service).values()), f"{name} is given an empty setting"
        read(environment(service) | dict.fromkeys(secrets(service), "secret") | {"K_SERVICE": name})


def test_the_bootstrap_is_applied_and_nothing_is_left_to_do(tmp_path, uncertain):
    made = Terraform(tmp_path / "terraform", uncertain, SOURCE / "bootstrap")
    made.init()
    given = ["-var", f"project_id={PROJECT}"]
    made.must("apply", "-input=false", "-no-color", "-auto-approve", *given)
    code, told = made.run("plan", "-input=false", "-no-color", "-detailed-exitcode", *given)
    assert code == 0, told
