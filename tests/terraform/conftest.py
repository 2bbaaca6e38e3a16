"""What the proof shares: the stand-in provider, and one plan in which everything is known."""

import json

import pytest

from tests.terraform import inventory
from tests.terraform.plan import Plan
from tests.terraform.terraform import EVERYTHING, Terraform, provider
from tools import secrets


@pytest.fixture(scope="session")
def certain():
    """A provider that makes computed values up in the plan already."""
    with provider("--certain") as told:
        yield told


@pytest.fixture(scope="session")
def uncertain():
    """A provider that leaves computed values unknown until the apply, as Google's does."""
    with provider() as told:
        yield told


@pytest.fixture(scope="session")
def first_secrets():
    return secrets.first()["first_secrets"]


@pytest.fixture(scope="session")
def secrets_file(tmp_path_factory, first_secrets):
    path = tmp_path_factory.mktemp("secrets") / "first.tfvars.json"
    path.write_text(json.dumps({"first_secrets": first_secrets}))
    return path


@pytest.fixture(scope="session")
def plan(tmp_path_factory, certain, secrets_file):
    """The plan with every variable set."""
    terraform = Terraform(tmp_path_factory.mktemp("plan") / "terraform", certain)
    terraform.init()
    return Plan(terraform.plan(f"-var-file={EVERYTHING}", f"-var-file={secrets_file}"))


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory, certain):
    """The bootstrap's plan, with a repository that deploys."""
    return inventory.bootstrap(tmp_path_factory.mktemp("bootstrap") / "terraform", certain)
