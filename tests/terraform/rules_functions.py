"""What runs: one service a row, as the row says."""

import re

from common.domain.render_task import ENGINE_S
from common.http import ready
from common.http.endpoint import MAX_WAIT_S
from tests.terraform.image import variables_of_the_image
from tests.terraform.plan import container, environment, template
from tests.terraform.rules import rule


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
        assert not template(service)["volumes"], name


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
        assert scaling["scaling_mode"] in (None, "AUTOMATIC"), f"{name}: by hand it would stay as it is"
        assert not template(service)["scaling"], f"{name}: a revision's maximum is not the service's"
        assert 1 <= template(service)["max_instance_request_concurrency"] <= 80, name
        seconds = int(template(service)["timeout"].removesuffix("s"))
        assert 10 <= seconds <= 595, f"{name}: Cloud Tasks waits 600 s for an answer"
        assert not template(service)["session_affinity"], name


@rule
def the_newest_revision_serves(plan):
    for name, service in plan.services.items():
        assert not service["traffic"], f"{name}: all of it goes to the newest revision unless something else is said"


@rule
def a_render_may_take_as_long_as_its_engine(plan):
    seconds = int(template(plan.services["tasks_run_render"])["timeout"].removesuffix("s"))
    assert seconds >= ENGINE_S + 30, "what the engine made is stored after it"


@rule
def who_prefers_to_wait_is_not_cut_off(plan):
    for name, row in plan.table.items():
        seconds = int(template(plan.services[name])["timeout"].removesuffix("s"))
        assert not row["waits"] or seconds >= MAX_WAIT_S + 15, f"{name} holds an answer for {MAX_WAIT_S} s, and works"


@rule
def every_deployment_is_a_revision_of_its_own(plan):
    for name, service in plan.services.items():
        assert not template(service)["revision"] or "-of-" in template(service)["revision"], f"{name}: taken once used"


@rule
def an_image_is_reached_at_the_port_and_by_the_protocol_that_it_speaks(plan):
    for name, service in plan.services.items():
        for port in container(service)["ports"]:
            assert port["name"] != "h2c", f"{name}: the server speaks HTTP/1.1"
            assert str(port["container_port"]) in ("0", variables_of_the_image()["PORT"]), name
        assert not service["iap_enabled"], f"{name}: callers have no Google account"


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
        assert (get["path"], str(get["port"])) == (ready.PATH, variables_of_the_image()["PORT"]), name
        assert not probe["tcp_socket"], name
        assert not container(service)["liveness_probe"], f"{name}: a slow database would end instances that work"
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
