"""Terraform itself agrees: formatted, valid, its own tests pass, applied, and then there is nothing left to do."""

import json

import pytest

from tests.terraform.terraform import EVERYTHING, PROJECT, SOURCE, Terraform

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
    assert "0 failed" in made.must("test", "-no-color")


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


def test_the_bootstrap_is_applied_and_nothing_is_left_to_do(tmp_path, uncertain):
    made = Terraform(tmp_path / "terraform", uncertain, SOURCE / "bootstrap")
    made.init()
    given = ["-var", f"project_id={PROJECT}"]
    made.must("apply", "-input=false", "-no-color", "-auto-approve", *given)
    code, told = made.run("plan", "-input=false", "-no-color", "-detailed-exitcode", *given)
    assert code == 0, told
