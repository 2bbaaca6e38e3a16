"""What waits, and what is reached: queues, the scheduler, the network."""

import re

from tests.terraform.plan import template
from tests.terraform.rules import rule

QUEUE = "google_cloud_tasks_queue.main"
QUEUED = {"renders": "tasks_run_render", "deliveries": "tasks_deliver_webhook"}


def queued(name):
    return QUEUED[name.partition("-")[0]]


def host(service):
    return service["uri"].removeprefix("https://")


@rule
def there_is_a_queue_for_renders_and_some_for_deliveries(plan):
    names = sorted(queue["name"] for queue in plan.keyed("google_cloud_tasks_queue").values())
    assert names == [*(f"deliveries-{n}" for n in range(len(names) - 1)), "renders"]
    assert len(names) >= 2


@rule
def every_queue_is_bounded_by_what_its_workers_hold(plan):
    promised: dict[str, int] = {}
    for queue in plan.keyed("google_cloud_tasks_queue").values():
        (limits,) = queue["rate_limits"]
        assert 0 < limits["max_dispatches_per_second"] <= 500, queue["name"]
        assert limits["max_concurrent_dispatches"] >= 1, queue["name"]
        function = queued(queue["name"])
        promised[function] = promised.get(function, 0) + limits["max_concurrent_dispatches"]
    for function, tasks in promised.items():
        service = plan.services[function]
        holds = service["scaling"][0]["max_instance_count"] * template(service)["max_instance_request_concurrency"]
        assert tasks <= holds, f"{function} holds {holds}, its queues send {tasks}"
        assert tasks > holds / 2, f"{function}: its queues use {tasks} of {holds}"


@rule
def a_queue_retries_for_infrastructure_only(plan):
    for queue in plan.keyed("google_cloud_tasks_queue").values():
        (retry,) = queue["retry_config"]
        assert 10 <= retry["max_attempts"] <= 20, queue["name"]
        assert re.fullmatch(r"\d+(\.\d+)?s", retry["min_backoff"]), retry["min_backoff"]
        assert re.fullmatch(r"\d+(\.\d+)?s", retry["max_backoff"]), retry["max_backoff"]
        assert float(retry["min_backoff"][:-1]) < float(retry["max_backoff"][:-1]) <= 60

    (said,) = [r for r in plan.shown["configuration"]["root_module"]["resources"] if r["address"] == QUEUE]
    assert "max_retry_duration" not in said["expressions"]["retry_config"][0], "Cloud Tasks ends at the later of both"


@rule
def a_queue_decides_where_its_tasks_go(plan):
    tasks = plan.one("google_service_account", "tasks")["email"]
    for queue in plan.keyed("google_cloud_tasks_queue").values():
        function = queued(queue["name"])
        service = plan.services[function]
        (target,) = queue["http_target"]
        (uri,) = target["uri_override"]
        (token,) = target["oidc_token"]
        assert target["http_method"] == plan.table[function]["method"]
        assert uri["uri_override_enforce_mode"] == "ALWAYS", queue["name"]
        assert uri["scheme"] == "HTTPS", queue["name"]
        assert uri["host"] == host(service), queue["name"]
        assert uri["path_override"][0]["path"] == plan.table[function]["path"], queue["name"]
        assert token["service_account_email"] == tasks, queue["name"]
        assert [token["audience"]] == service["custom_audiences"], queue["name"]


@rule
def every_queue_and_the_sweep_are_at_work(plan):
    assert {queue["desired_state"] for queue in plan.keyed("google_cloud_tasks_queue").values()} <= {None, "RUNNING"}
    assert not plan.one("google_cloud_scheduler_job")["paused"]


@rule
def every_task_is_in_the_queues_log(plan):
    for queue in plan.keyed("google_cloud_tasks_queue").values():
        assert queue["stackdriver_logging_config"][0]["sampling_ratio"] == 1


@rule
def the_sweep_runs_each_minute_as_the_tasks_account(plan):
    job = plan.one("google_cloud_scheduler_job")
    service = plan.services["tasks_sweep"]
    (target,) = job["http_target"]
    (token,) = target["oidc_token"]
    assert (job["schedule"], job["time_zone"]) == ("* * * * *", "Etc/UTC")
    assert target["uri"] == f"https://{host(service)}{plan.table['tasks_sweep']['path']}"
    assert target["http_method"] == "POST"
    assert token["service_account_email"] == plan.one("google_service_account", "tasks")["email"]
    assert [token["audience"]] == service["custom_audiences"]
    waits = int(job["attempt_deadline"].removesuffix("s"))
    assert waits > int(template(service)["timeout"].removesuffix("s"))
    assert waits <= 1800


@rule
def functions_reach_nothing_in_the_network_but_the_database(plan):
    walls = {r.name: r.values for r in plan.all("google_compute_firewall")}
    assert {wall["direction"] for wall in walls.values()} == {"EGRESS"}
    assert not any(wall["disabled"] for wall in walls.values())
    for wall in walls.values():
        assert wall["network"] == plan.one("google_compute_network")["id"]
        assert not (wall["target_tags"] or wall["target_service_accounts"]), "it would hold for some only"
    way, wall = walls["to_database"], walls["to_nothing_else"]
    assert way["priority"] < wall["priority"]
    assert way["allow"] == [{"protocol": "tcp", "ports": ["3307", "5432"]}]
    services = plan.one("google_compute_global_address", "services")
    assert (services["purpose"], services["address_type"], services["prefix_length"]) == ("VPC_PEERING", "INTERNAL", 20)
    assert services["network"] == plan.one("google_compute_network")["id"]
    assert plan.one("google_service_networking_connection")["reserved_peering_ranges"] == [services["name"]]
    assert way["destination_ranges"] == [f"{services['address']}/{services['prefix_length']}"]
    assert wall["deny"][0]["protocol"] == "all"
    assert set(wall["destination_ranges"]) == {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
    assert plan.one("google_compute_network")["auto_create_subnetworks"] is False
    subnetwork = plan.one("google_compute_subnetwork")
    assert int(subnetwork["ip_cidr_range"].partition("/")[2]) <= 20
    assert subnetwork["private_ip_google_access"] is True
