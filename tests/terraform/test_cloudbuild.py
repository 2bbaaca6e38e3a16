"""cloudbuild.yaml: well-formed, in order, by accounts of its own, and its Terraform steps do what they say."""

import hashlib
import json
import os
import re
import shlex
import subprocess

import pytest

from tests.terraform.plan import Plan, container, template
from tests.terraform.plan import environment as settings_of
from tests.terraform.terraform import EVERYTHING, PROJECT, PYTHON, ROOT, Terraform

FILE = ROOT / "cloudbuild.yaml"
PARSE = """
import json, sys, yaml
from google.cloud.devtools.cloudbuild_v1.types import Build
from google.protobuf.json_format import MessageToDict, ParseDict
message = Build.pb(Build())
ParseDict(yaml.safe_load(open(sys.argv[1])), message)  # an unknown field or a wrong type is an error
print(json.dumps(MessageToDict(message)))
"""


@pytest.fixture(scope="session")
def build():
    """The file as Cloud Build's own message, in JSON."""
    done = subprocess.run([PYTHON, "-c", PARSE, FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def step(build, name):
    (found,) = [step for step in build["steps"] if step["id"] == name]
    return found


def test_it_keeps_the_published_schema():
    command = [PYTHON.with_name("check-jsonschema"), "--builtin-schema", "vendor.cloudbuild", FILE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_step_waits_for_the_one_before(build):
    names = [step["id"] for step in build["steps"]]
    assert names == ["check", "build", "push", "secrets", "plan", "apply"]
    assert [step.get("waitFor", []) for step in build["steps"]] == [[], *([name] for name in names[:-1])]
    assert not any(step.get("allowFailure") for step in build["steps"])


def test_what_is_deployed_was_tested(build):
    assert step(build, "check")["script"].splitlines()[-1] == "make test", "whatever it says"


@pytest.mark.parametrize("forgotten", ["_REGION", "_DOMAIN"])
def test_nothing_is_built_for_a_place_that_was_not_named(build, forgotten, tmp_path):
    given = {"_IMAGE": "", "_REGION": "europe-west1", "_DOMAIN": "api.example.com", forgotten: ""}
    assert not build["substitutions"].get(forgotten), "a default would be somebody's"
    script = step(build, "check")["script"]
    done = subprocess.run(["bash"], input=script, cwd=tmp_path, env=given, capture_output=True, text=True)
    assert done.returncode != 0
    assert forgotten in done.stderr


def test_what_is_tested_runs_on_the_python_of_the_image(build):
    (base,) = set(re.findall(r"^FROM (python:3\.\d+)-slim@", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {step(build, name)["name"] for name in ("check", "secrets")} == {base}


def test_a_failing_command_fails_its_step(build):
    for one in build["steps"]:
        shell, *lines = one["script"].splitlines()
        assert shell in ("#!/bin/bash", "#!/bin/sh"), one["id"]
        assert lines[0] == "set -eu", one["id"]
        subprocess.run([shell.removeprefix("#!"), "-n"], input=one["script"], text=True, check=True)


def test_every_substitution_is_declared_and_used(build):
    used = {name for one in build["steps"] for name in re.findall(r"\$\{?(_[A-Z_]+)", one["script"])}
    assert used == set(build["substitutions"])


def test_it_runs_as_the_builder_and_only_terraform_becomes_the_deployer(build):
    assert build["serviceAccount"].endswith("/builder@$PROJECT_ID.iam.gserviceaccount.com")
    become = r'^export GOOGLE_IMPERSONATE_SERVICE_ACCOUNT="(.*)"$'
    becoming = {one["id"]: re.findall(become, one["script"], re.MULTILINE) for one in build["steps"]}
    deployer = ["deployer@$PROJECT_ID.iam.gserviceaccount.com"]
    becoming = {name: whom for name, whom in becoming.items() if whom}
    assert becoming == {"plan": deployer, "apply": deployer}
    assert len({step(build, name)["name"] for name in becoming}) == 1
    assert build["options"]["automapSubstitutions"] is True, "a script is not substituted in: it reads variables"
    assert build["options"]["logging"] == "CLOUD_LOGGING_ONLY", "an account of our own has no bucket for logs"


GIVEN = {
    "_REGION": "europe-north1",
    "_DOMAIN": "plugins.example.com",
    "_ALERT_EMAILS": "a@example.com,b@example.com",
    "_RESTARTED_AT": "2026-11-25T07:00:00Z",
}
IMAGE = json.loads(EVERYTHING.read_text())["image"]
#: It keeps what it is asked, and tells the digest of what was pushed.
DOCKER = f"""#!/bin/sh
echo "$@" >> "$DOCKER_LOG"
[ "$1" != inspect ] || echo {IMAGE}
"""


def test_a_new_image_is_built_pushed_and_known_by_its_digest(build, tmp_path, uncertain):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    environment = shell_environment(tmp_path, uncertain, build) | GIVEN
    run_steps(build, ("build", "push"), workspace, environment)
    tag = f"{GIVEN['_REGION']}-docker.pkg.dev/{PROJECT}/renderiq/api:{environment['BUILD_ID']}"
    built, pushed, inspected = (tmp_path / "docker.log").read_text().splitlines()
    assert (built, pushed) == (f"build --tag {tag} .", f"push {tag}")
    assert inspected.endswith(tag), "the digest is another image's"
    assert (workspace / "image").read_text() == IMAGE


def test_the_steps_deploy_a_given_image_as_they_stand(build, tmp_path, uncertain):
    """From `build` to `apply`, with a shell, on a copy; only the backend's bucket is left out."""
    workspace = tmp_path / "workspace"
    terraform = Terraform(workspace_folder(workspace), uncertain)
    environment = shell_environment(tmp_path, uncertain, build) | GIVEN | {"_IMAGE": IMAGE}
    logged = run_steps(build, ("build", "push", "secrets", "plan", "apply"), workspace, environment)
    assert not (tmp_path / "docker.log").exists()
    assert not [name for name, value in made_secrets(workspace) if value in logged], "the build's log has a secret"
    assert (workspace / "image").read_text() == IMAGE
    assert (workspace / "first-secrets.tfvars.json").stat().st_mode & 0o077 == 0
    deployed(Plan({"planned_values": json.loads(terraform.must("show", "-json"))["values"]}), environment)


def run_steps(build, names, workspace, environment):
    """All that the steps print; each has to succeed."""
    logged = ""
    for name in names:
        script = step(build, name)["script"].replace("/workspace", str(workspace))
        script = script.replace(".venv/bin/python", shlex.quote(str(ROOT / ".venv/bin/python")))
        done = subprocess.run(["bash"], input=script, cwd=workspace, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        logged += done.stdout + done.stderr
    return logged


def made_secrets(workspace):
    """Name and a line of each value that the build made, as JSON writes it."""
    made = json.loads((workspace / "first-secrets.tfvars.json").read_text())["first_secrets"]
    yield from ((name, max(json.dumps(value)[1:-1].split("\\n"), key=len)) for name, value in made.items())


def deployed(applied, environment):
    """What was applied is what the substitutions said."""
    assert {container(service)["image"] for service in applied.services.values()} == {IMAGE}
    assert {service["location"] for service in applied.services.values()} == {GIVEN["_REGION"]}
    restarted = {template(service)["annotations"]["renderiq/restarted-at"] for service in applied.services.values()}
    assert restarted == {GIVEN["_RESTARTED_AT"]}
    assert settings_of(applied.services["health"])["RENDERIQ_VERSION"] == environment["BUILD_ID"]
    assert applied.one("google_compute_managed_ssl_certificate")["managed"][0]["domains"] == [GIVEN["_DOMAIN"]]
    told = {c["labels"]["email_address"] for c in applied.keyed("google_monitoring_notification_channel").values()}
    assert told == set(GIVEN["_ALERT_EMAILS"].split(","))
    named = hashlib.md5(environment["BUILD_ID"].encode(), usedforsecurity=False).hexdigest()
    assert applied.one("google_cloud_run_v2_job")["run_execution_token"].endswith(named[:8]), "no deployment of its own"


def test_a_build_is_given_the_time_that_its_steps_may_take(build):
    """The first apply makes the database, and waits for a migration of up to half an hour."""
    assert int(build["timeout"].removesuffix("s")) >= 5400
    assert not any("timeout" in one for one in build["steps"])


def test_both_terraform_steps_are_the_version_that_is_pinned_for_the_tests(build):
    wanted = step(build, "plan")["name"].rpartition(":")[2]
    command, environment = [PYTHON, "-m", "tools.terraform.cli", "version"], {"PATH": "", "CHECKPOINT_DISABLE": "1"}
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert f"Terraform v{wanted}" in told.stdout
    for name in ("plan", "apply"):
        assert 'init -backend-config="bucket=$PROJECT_ID-terraform"' in step(build, name)["script"]
        assert "TF_INPUT=0" in step(build, name)["script"], "a question would never be answered"


def workspace_folder(workspace):
    workspace.mkdir()
    return workspace / "terraform"


def shell_environment(tmp_path, reattach, build):
    """What Cloud Build sets, and a `terraform` that has no bucket for its state."""
    shim = tmp_path / "bin" / "terraform"
    shim.parent.mkdir()
    shim.write_text(
        '#!/bin/sh\n[ "$1" = init ] && set -- init\n'
        f'PATH="{os.environ["PATH"]}" exec {shlex.quote(str(PYTHON))} -m tools.terraform.cli "$@"\n'
    )
    docker = shim.with_name("docker")
    docker.write_text(DOCKER)
    for made in (shim, docker):
        made.chmod(0o755)
    return (
        dict(os.environ)
        | build["substitutions"]
        | {"PATH": f"{shim.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TF_REATTACH_PROVIDERS": reattach}
        | {"PROJECT_ID": PROJECT, "BUILD_ID": "0a1b2c3d-4e5f-6789-abcd-ef0123456789", "SHORT_SHA": ""}
        | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull, "DOCKER_LOG": str(tmp_path / "docker.log")}
    )


def test_the_builder_pushes_images_and_becomes_the_deployer_and_no_more(bootstrap):
    builder = bootstrap.one("google_service_account", "builder")["member"]
    given = {
        (r.type, r.values["role"]) for r in bootstrap.resources if "_iam_" in r.type and r.values["member"] == builder
    }
    assert given == {
        ("google_project_iam_member", "roles/logging.logWriter"),
        ("google_artifact_registry_repository_iam_member", "roles/artifactregistry.writer"),
        ("google_service_account_iam_member", "roles/iam.serviceAccountTokenCreator"),
    }


#: What the deployer may, and the resources that it has to for; it reads the image when a service is made.
MANAGES = {
    "roles/cloudscheduler.admin": ("cloud_scheduler_job",),
    "roles/cloudsql.admin": ("sql_database_instance", "sql_database", "sql_user"),
    "roles/cloudtasks.admin": ("cloud_tasks_queue", "cloud_tasks_queue_iam_member"),
    "roles/compute.loadBalancerAdmin": (
        "compute_backend_service",
        "compute_global_address",
        "compute_global_forwarding_rule",
        "compute_managed_ssl_certificate",
        "compute_region_network_endpoint_group",
        "compute_ssl_policy",
        "compute_target_http_proxy",
        "compute_target_https_proxy",
        "compute_url_map",
    ),
    "roles/compute.networkAdmin": ("compute_network", "compute_subnetwork", "service_networking_connection"),
    "roles/compute.securityAdmin": ("compute_firewall", "compute_security_policy"),
    "roles/iam.serviceAccountAdmin": ("service_account", "service_account_iam_member"),
    "roles/iam.serviceAccountUser": ("cloud_run_v2_service", "cloud_run_v2_job"),
    "roles/logging.configWriter": ("logging_metric",),
    "roles/monitoring.editor": (
        "monitoring_alert_policy",
        "monitoring_custom_service",
        "monitoring_dashboard",
        "monitoring_notification_channel",
        "monitoring_slo",
        "monitoring_uptime_check_config",
    ),
    "roles/resourcemanager.projectIamAdmin": ("project_iam_member",),
    "roles/run.admin": ("cloud_run_v2_service", "cloud_run_v2_job", "cloud_run_v2_service_iam_member"),
    "roles/secretmanager.admin": ("secret_manager_secret", "secret_manager_secret_version")
    + ("secret_manager_secret_iam_member",),
    "roles/storage.admin": ("storage_bucket", "storage_bucket_iam_member"),
}


def test_the_deployer_may_what_the_root_manages_and_no_more(bootstrap, plan):
    deployer = bootstrap.one("google_service_account", "deployer")["member"]
    grants = [r.values for r in bootstrap.resources if "_iam_" in r.type and r.values["member"] == deployer]
    assert sorted(grant["role"] for grant in grants) == sorted([*MANAGES, "roles/artifactregistry.reader"])
    managed = {f"google_{type_}" for types in MANAGES.values() for type_ in types}
    assert managed == {resource.type for resource in plan.resources}


def test_no_account_that_the_deployer_may_act_as_is_more_than_it(bootstrap):
    assert bootstrap.one("google_project_default_service_accounts")["action"] == "DEPRIVILEGE", "Google makes editors"


def test_the_deployer_grants_only_what_functions_have(bootstrap, plan):
    (granting,) = [
        r.values
        for r in bootstrap.all("google_project_iam_member")
        if r.values["role"] == "roles/resourcemanager.projectIamAdmin"
    ]
    allowed = re.search(
        r"getAttribute\('iam.googleapis.com/modifiedGrantsByRole', \[\]\)\.hasOnly\((\[.*\])\)$",
        granting["condition"][0]["expression"],
    )
    assert set(json.loads(allowed[1])) == {r.values["role"] for r in plan.all("google_project_iam_member")}


def test_what_the_root_manages_has_its_api_switched_on(bootstrap):
    on = {r.values["service"].removesuffix(".googleapis.com") for r in bootstrap.all("google_project_service")}
    assert on >= {"run", "compute", "cloudtasks", "cloudscheduler", "sqladmin", "secretmanager", "servicenetworking"}
    assert on >= {"iamcredentials", "monitoring", "logging", "artifactregistry", "cloudbuild", "storage", "iam"}
    assert not any(r.values["disable_on_destroy"] for r in bootstrap.all("google_project_service"))


def test_the_state_is_kept_and_nobody_else_reads_it(bootstrap):
    bucket = bootstrap.one("google_storage_bucket")
    assert bucket["versioning"][0]["enabled"] is True
    assert bucket["public_access_prevention"] == "enforced"
    assert bucket["uniform_bucket_level_access"] is True


def test_a_deployment_from_main_waits_for_an_approval(bootstrap):
    trigger = bootstrap.one("google_cloudbuild_trigger")
    assert trigger["approval_config"][0]["approval_required"] is True
    assert trigger["filename"] == FILE.name
    assert trigger["service_account"] == bootstrap.one("google_service_account", "builder")["id"]
    assert trigger["repository_event_config"][0]["push"][0]["branch"] == "^main$"
