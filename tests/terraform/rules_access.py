"""Who may what: every grant of the plan, role by role, and no other."""

import json
import re

from tests.terraform.plan import environment, secrets, template
from tests.terraform.rules import rule

#: What a need of the table is granted: its role on the bucket, on the queues, on a secret, on the database's project.
BUCKET = {
    "storage": "roles/storage.objectUser",
    "storage_read": "roles/storage.objectViewer",
    "storage_upload": "roles/storage.objectCreator",
}
#: Who signs URLs, and the folder that they are of.
SIGNS_BELOW = {"storage_read": "renders/", "storage_upload": "uploads/"}
QUEUES = {"render_queue": "renders", "delivery_queues": "deliveries-"}
SECRET = {
    "token_jwks": ("TOKEN_JWKS", "token-jwks"),
    "token_key": ("TOKEN_PRIVATE_KEY", "token-private-key"),
    "webhook_secrets": ("WEBHOOK_SECRET_KEYS", "webhook-secret-keys"),
}
DATABASE = ("roles/cloudsql.client", "roles/cloudsql.instanceUser")
KNOWN_NEEDS = {"database", "engine", *QUEUES, *BUCKET, *SECRET}


def account_of(plan, name):
    return template(plan.services[name])["service_account"]


def expected_grants(plan):
    """(what, on which, role, to whom) of every grant that the table calls for."""
    bucket = plan.one("google_storage_bucket")["name"]
    queues = [queue["name"] for queue in plan.keyed("google_cloud_tasks_queue").values()]
    people = [plan.one("google_service_account", name)["email"] for name in ("migrator", "operator")]
    tasks = plan.one("google_service_account", "tasks")["email"]
    project = plan.one("google_storage_bucket")["project"]
    yield from (("project", project, role, account) for role in DATABASE for account in people)
    for name, row in plan.table.items():
        account = account_of(plan, name)
        needs = set(row["needs"])
        yield from (("project", project, role, account) for role in DATABASE if "database" in needs)
        if "engine" in needs:
            yield "project", project, "roles/aiplatform.user", account
        yield from (("bucket", bucket, role, account) for need, role in BUCKET.items() if need in needs)
        yield from (
            ("queue", queue, "roles/cloudtasks.enqueuer", account)
            for need, beginning in QUEUES.items()
            if need in needs
            for queue in queues
            if queue.startswith(beginning)
        )
        yield from (
            ("secret", secret, "roles/secretmanager.secretAccessor", account)
            for need, (_, secret) in SECRET.items()
            if need in needs
        )
        if needs & set(SIGNS_BELOW):
            yield "account", account, "roles/iam.serviceAccountTokenCreator", account
        if row["internal"]:
            yield "service", name.replace("_", "-"), "roles/run.invoker", tasks


TARGETS = {
    "google_project_iam_member": ("project", "project"),
    "google_storage_bucket_iam_member": ("bucket", "bucket"),
    "google_cloud_tasks_queue_iam_member": ("queue", "name"),
    "google_secret_manager_secret_iam_member": ("secret", "secret_id"),
    "google_service_account_iam_member": ("account", "service_account_id"),
    "google_cloud_run_v2_service_iam_member": ("service", "name"),
}


def planned_grants(plan):
    for resource in plan.resources:
        if "_iam_" not in resource.type:
            continue
        kind, target = TARGETS[resource.type]
        kind_of, member = resource.values["member"].split(":")
        assert kind_of == "serviceAccount", resource.values["member"]
        yield kind, resource.values[target].rpartition("/")[2], resource.values["role"], member


@rule
def the_table_names_only_needs_that_are_known(plan):
    unknown = {need for row in plan.table.values() for need in row["needs"]} - KNOWN_NEEDS
    assert not unknown, unknown


@rule
def exactly_the_roles_that_are_needed_are_granted(plan):
    planned, expected = set(planned_grants(plan)), set(expected_grants(plan))
    assert not planned - expected, f"too many: {planned - expected}"
    assert not expected - planned, f"missing: {expected - planned}"


@rule
def there_is_one_account_for_each_distinct_set_of_needs(plan):
    by_account: dict[str, set] = {}
    for name, row in plan.table.items():
        by_account.setdefault(account_of(plan, name), set()).add(frozenset(row["needs"]))
    assert all(len(sets) == 1 for sets in by_account.values()), by_account
    assert len(by_account) == len({frozenset(row["needs"]) for row in plan.table.values()})
    made = {a["email"] for a in plan.keyed("google_service_account", "function").values()}
    assert made == set(by_account), made ^ set(by_account)


@rule
def every_account_id_is_one(plan):
    for resource in plan.all("google_service_account"):
        assert re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", resource.values["account_id"]), resource.values[
            "account_id"
        ]


@rule
def roles_on_the_project_are_held_to_the_one_database(plan):
    instance = plan.one("google_sql_database_instance")["name"]
    for resource in plan.all("google_project_iam_member", "database"):
        (condition,) = resource.values["condition"]
        project = resource.values["project"]
        assert condition["expression"] == (
            f"resource.name == 'projects/{project}/instances/{instance}' && resource.service == 'sqladmin.googleapis.com'"
        )


@rule
def who_only_signs_urls_is_held_to_the_folder_that_they_are_of(plan):
    bucket = plan.one("google_storage_bucket")["name"]
    below = {BUCKET[need]: f"projects/_/buckets/{bucket}/objects/{folder}" for need, folder in SIGNS_BELOW.items()}
    for resource in plan.all("google_storage_bucket_iam_member"):
        held = [condition["expression"] for condition in resource.values["condition"]]
        folder = below.get(resource.values["role"])
        assert held == ([f"resource.name.startsWith('{folder}')"] if folder else []), resource.key


@rule
def no_other_grant_is_held_to_anything(plan):
    for resource in plan.resources:
        if "_iam_" in resource.type and (resource.type, resource.name) != ("google_project_iam_member", "database"):
            assert resource.type == "google_storage_bucket_iam_member" or not resource.values["condition"], resource.key


@rule
def every_account_can_be_used(plan):
    assert not [r.key or r.name for r in plan.all("google_service_account") if r.values["disabled"]]


@rule
def nobody_is_everybody(plan):
    text = json.dumps(plan.shown["planned_values"])
    assert "allUsers" not in text
    assert "allAuthenticatedUsers" not in text


@rule
def grants_add_to_what_others_have(plan):
    assert not [r.type for r in plan.resources if re.search(r"_iam_(binding|policy)$", r.type)]


@rule
def public_functions_are_reached_by_the_load_balancer_only(plan):
    for name, service in plan.services.items():
        if not plan.table[name]["internal"]:
            assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER", name
            assert service["invoker_iam_disabled"] is True, name
            assert service["default_uri_disabled"] is True, name


@rule
def internal_functions_are_behind_googles_iam(plan):
    for name, service in plan.services.items():
        if plan.table[name]["internal"]:
            assert service["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY", name
            assert not service["invoker_iam_disabled"], name
            assert not service["default_uri_disabled"], f"{name}: Cloud Tasks calls its own URL"
            assert service["custom_audiences"] == [f"renderiq-{name.replace('_', '-')}"], name
            assert environment(service)["TASK_IAM"] == "1", name
            assert environment(service)["TASK_AUDIENCE"] == service["custom_audiences"][0], name


@rule
def a_public_function_never_claims_that_iam_is_before_it(plan):
    for name, service in plan.services.items():
        if not plan.table[name]["internal"]:
            assert "TASK_IAM" not in environment(service), name


@rule
def every_secret_comes_from_secret_manager_to_who_needs_it(plan):
    for name, service in plan.services.items():
        expected = dict(SECRET[need] for need in plan.table[name]["needs"] if need in SECRET)
        assert secrets(service) == expected, name
        assert not {variable for variable, _ in SECRET.values()} & set(environment(service)), name


@rule
def every_secret_exists_and_has_a_version_before_it_is_read(plan):
    made = {secret["secret_id"] for secret in plan.keyed("google_secret_manager_secret").values()}
    read = {secret for service in plan.services.values() for secret in secrets(service).values()}
    assert read <= made, read - made
    versions = {v["secret"].rpartition("/")[2] for v in plan.keyed("google_secret_manager_secret_version").values()}
    assert versions == made, versions ^ made
    for version in plan.keyed("google_secret_manager_secret_version").values():
        assert not version["secret_data"], "a value must not be in the state"
        assert version["secret_data_wo_version"] == "1", "another number would overwrite what was rotated"
        assert version["deletion_policy"] == "ABANDON", "what leaves the state must not leave Google"
        assert version["enabled"] is not False
        assert not version["is_secret_data_base64"], "the code reads it as it is"


@rule
def a_secret_is_given_the_value_that_is_called_as_it(plan):
    """Where the value is from; the value itself is in no plan."""
    root = plan.shown["configuration"]["root_module"]["resources"]
    (said,) = [r["expressions"] for r in root if r["address"] == "google_secret_manager_secret_version.first"]
    assert said["secret_data_wo"]["references"] == ["var.first_secrets", "each.value"]
    assert said["secret"]["references"][:2] == ["google_secret_manager_secret.main", "each.key"]


@rule
def services_wait_for_what_they_need(plan):
    """What the module call depends on, so that the first apply works."""
    call = plan.shown["configuration"]["root_module"]["module_calls"]["function"]
    assert set(call["depends_on"]) >= {
        "google_cloud_run_v2_job.migrate",
        "google_project_iam_member.database",
        "google_secret_manager_secret_iam_member.function",
        "google_secret_manager_secret_version.first",
        "google_sql_user.function",
    }


@rule
def secrets_stay_until_somebody_takes_them_away(plan):
    for secret in plan.keyed("google_secret_manager_secret").values():
        assert secret["deletion_protection"] is True
        assert not secret["ttl"]
        assert "-of-" in (secret["expire_time"] or "-of-"), "it would delete itself"


@rule
def secrets_stay_in_the_region(plan):
    region = plan.one("google_sql_database_instance")["region"]
    for secret in plan.keyed("google_secret_manager_secret").values():
        (replication,) = secret["replication"]
        assert not replication["auto"]
        assert [replica["location"] for replica in replication["user_managed"][0]["replicas"]] == [region]
