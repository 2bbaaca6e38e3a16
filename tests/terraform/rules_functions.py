"""What runs: one service a row, as the row says."""

import re

from common.config import LOCAL_ONLY, read
from common.http import ready
from tests.terraform.plan import container, environment, secrets, template
from tests.terraform.rules import rule

#: What functions-framework and its server read.
FRAMEWORK = {"FUNCTION_SOURCE", "FUNCTION_TARGET", "THREADS", "WORKERS"}
#: What Cloud Run itself sets.
PLATFORM = {"K_SERVICE"}


class Recording(dict):
    """An environment that remembers which names were asked for."""

    def __init__(self, values):
        super().__init__(values)
        self.asked = set()

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name):
        self.asked.add(name)
        return super().__contains__(name)


def names_that_config_reads():
    environ = Recording({})
    read(environ)
    return environ.asked


@rule
def every_row_has_one_service_and_every_service_a_row(plan):
    assert set(plan.services) == set(plan.table)


@rule
def a_service_is_named_after_its_function(plan):
    for name, service in plan.services.items():
        assert service["name"] == name.replace("_", "-"), service["name"]
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?", service["name"]), service["name"]


@rule
def every_service_runs_the_one_image_by_digest(plan):
    images = {container(service)["image"] for service in plan.services.values()}
    jobs = {
        job.values["template"][0]["template"][0]["containers"][0]["image"]
        for job in plan.all("google_cloud_run_v2_job")
    }
    assert len(images | jobs) == 1, images | jobs
    assert re.fullmatch(r"[^:@]+@sha256:[0-9a-f]{64}", images.pop())


@rule
def the_console_shows_each_as_a_function(plan):
    for name, service in plan.services.items():
        assert service["build_config"][0]["function_target"] == "main", name
        assert environment(service)["FUNCTION_TARGET"] == "main", name


@rule
def nothing_replaces_what_the_image_starts(plan):
    for name, service in plan.services.items():
        assert not container(service)["command"], name
        assert not container(service)["args"], name


@rule
def a_service_is_given_only_names_that_something_reads(plan):
    known = names_that_config_reads() - set(LOCAL_ONLY) - PLATFORM | FRAMEWORK
    for name, service in plan.services.items():
        given = set(environment(service)) | set(secrets(service))
        assert given <= known, f"{name}: {given - known}"


@rule
def every_setting_reaches_some_service(plan):
    given = {n for service in plan.services.values() for n in (*environment(service), *secrets(service))}
    missing = names_that_config_reads() - set(LOCAL_ONLY) - PLATFORM - given
    assert not missing, missing


@rule
def every_service_reads_its_settings_as_deployed(plan):
    for name, service in plan.services.items():
        settings = read(
            environment(service) | dict.fromkeys(secrets(service), "secret") | {"K_SERVICE": service["name"]}
        )
        for setting in required(plan.table[name]):
            assert getattr(settings, setting), f"{name} has no {setting}"


def required(row):
    """The settings without which a row's function cannot work, as fields of `Settings`."""
    needs = set(row["needs"])
    yield from ("version", "public_url")
    if "database" in needs:
        yield from ("instance_connection_name", "db_user", "db_name")
    if needs & {"storage", "storage_read", "storage_upload"}:
        yield from ("google_cloud_project", "gcs_bucket", "storage_signing_account")
    if "tasks" in needs:
        yield from ("render_queue", "delivery_queues")
    if row["internal"]:
        yield from ("task_iam", "task_account")
    for need, setting in (
        ("token_jwks", "token_jwks"),
        ("token_key", "token_private_key"),
        ("webhook_secrets", "webhook_secret_keys"),
    ):
        if need in needs:
            yield setting


@rule
def settings_point_at_what_this_plan_makes(plan):
    (bucket,) = [b.values["name"] for b in plan.all("google_storage_bucket")]
    database = plan.one("google_sql_database_instance")["connection_name"]
    queues = {
        f"projects/{q['project']}/locations/{q['location']}/queues/{q['name']}"
        for q in plan.keyed("google_cloud_tasks_queue").values()
    }
    tasks = plan.one("google_service_account", "tasks")["email"]
    for name, service in plan.services.items():
        env = environment(service)
        account = template(service)["service_account"]
        assert env.get("GCS_BUCKET", bucket) == bucket, name
        assert env.get("STORAGE_SIGNING_ACCOUNT", account) == account, name
        assert env.get("INSTANCE_CONNECTION_NAME", database) == database, name
        assert env.get("DB_USER", account.removesuffix(".gserviceaccount.com")) == account.removesuffix(
            ".gserviceaccount.com"
        ), name
        assert env.get("DB_NAME", "renderiq") == plan.one("google_sql_database")["name"], name
        assert env.get("TASK_ACCOUNT", tasks) == tasks, name
        if "RENDER_QUEUE" in env:
            assert {env["RENDER_QUEUE"], *env["DELIVERY_QUEUES"].split(",")} == queues, name


@rule
def a_function_has_threads_and_pool_for_its_concurrency(plan):
    for name, service in plan.services.items():
        assert environment(service)["THREADS"] == str(template(service)["max_instance_request_concurrency"]), name


@rule
def every_service_is_bounded(plan):
    for name, service in plan.services.items():
        (scaling,) = service["scaling"]
        assert 1 <= scaling["max_instance_count"] <= 100, name
        assert scaling["min_instance_count"] <= 1, name
        assert not template(service)["scaling"], f"{name}: a revision's maximum is not the service's"
        assert 1 <= template(service)["max_instance_request_concurrency"] <= 80, name
        seconds = int(template(service)["timeout"].removesuffix("s"))
        assert 10 <= seconds <= 595, f"{name}: Cloud Tasks waits 600 s for an answer"


@rule
def only_a_few_hot_functions_are_kept_warm(plan):
    warm = {name for name, service in plan.services.items() if service["scaling"][0]["min_instance_count"]}
    assert warm == {"renders_create", "renders_get"} & set(plan.table), warm


@rule
def a_function_that_leaves_the_table_can_be_deleted(plan):
    for name, service in plan.services.items():
        assert service["deletion_protection"] is False, name
    assert plan.one("google_cloud_run_v2_job")["deletion_protection"] is False


@rule
def cpu_is_paid_while_a_request_runs_and_boosted_at_the_start(plan):
    for name, service in plan.services.items():
        (resources,) = container(service)["resources"]
        assert resources["cpu_idle"] is True, name
        assert resources["startup_cpu_boost"] is True, name
        assert float(resources["limits"]["cpu"]) >= 1, f"{name}: below one CPU there is no concurrency"
        assert re.fullmatch(r"\d+(Mi|Gi)", resources["limits"]["memory"]), name


@rule
def a_render_has_an_instance_for_itself(plan):
    service = plan.services["tasks_run_render"]
    assert template(service)["max_instance_request_concurrency"] == 1
    assert container(service)["resources"][0]["limits"] == {"cpu": "2", "memory": "4Gi"}


@rule
def an_instance_is_started_once_it_reaches_its_database(plan):
    for name, service in plan.services.items():
        (probe,) = container(service)["startup_probe"]
        (get,) = probe["http_get"]
        assert get["path"] == ready.PATH, name
        assert not probe["tcp_socket"], name
        assert probe["period_seconds"] * probe["failure_threshold"] >= 60, f"{name}: the way may take a minute to open"
        assert probe["timeout_seconds"] <= probe["period_seconds"], name


@rule
def everything_is_in_the_one_region(plan):
    region = plan.one("google_sql_database_instance")["region"]
    for resource in plan.resources:
        where = resource.values.get("region") or resource.values.get("location") or region
        assert where == region, f"{resource.type} {resource.name} is in {where}"
    for type_, attribute in (
        ("google_cloud_scheduler_job", "region"),
        ("google_compute_subnetwork", "region"),
        ("google_cloud_run_v2_service_iam_member", "location"),
        ("google_cloud_tasks_queue_iam_member", "location"),
    ):
        for resource in plan.all(type_):
            assert resource.values[attribute] == region, f"{type_} says no region of its own"


@rule
def only_who_needs_the_database_is_in_the_network(plan):
    subnetwork = plan.one("google_compute_subnetwork")["id"]
    for name, service in plan.services.items():
        inside = template(service)["vpc_access"]
        assert bool(inside) == ("database" in plan.table[name]["needs"]), name
        for access in inside:
            assert access["egress"] == "PRIVATE_RANGES_ONLY", name
            assert [i["subnetwork"] for i in access["network_interfaces"]] == [subnetwork], name


@rule
def the_job_runs_the_migrations(plan):
    job = plan.one("google_cloud_run_v2_job")["template"][0]["template"][0]["containers"][0]
    assert [*job["command"], *job["args"]] == ["python", "-m", "alembic", "upgrade", "head"]
