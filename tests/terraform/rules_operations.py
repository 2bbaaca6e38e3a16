"""What an operator relies on: migrations inside the apply, metrics that count something, alerts that can fire."""

import ast
import json
import re
from functools import cache

from tests.terraform.rules import rule
from tests.terraform.terraform import ROOT

LOG = ROOT / "common"


@cache
def logged_events():
    """The fields of each event that the code logs, by its name."""
    found: dict[str, set[str]] = {}
    for path in LOG.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("log.event", "event") and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    found.setdefault(name.value, set()).update(_fields(node, ast.parse(path.read_text())))
    return found


def _fields(call, module):
    """The keywords of a call, those of `**name` by the dictionaries that the module calls so."""
    for keyword in call.keywords:
        if keyword.arg:
            yield keyword.arg
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == ast.unparse(keyword.value):
                if isinstance(node.value, ast.Dict):
                    yield from (key.value for key in node.value.keys if isinstance(key, ast.Constant))
                elif isinstance(node.value, ast.Call):
                    yield from (k.arg for k in node.value.keywords if k.arg)


def metrics(plan):
    return {r.values["name"]: r.values for r in plan.all("google_logging_metric")}


@rule
def the_migrations_run_inside_the_apply(plan):
    job = plan.one("google_cloud_run_v2_job")
    digest = plan.shown["variables"]["image"]["value"].partition("@sha256:")[2]
    assert job["run_execution_token"].startswith(digest[:12]), "another image is another run"
    assert not job["start_execution_token"], "the apply must wait for the end, not for the start"
    assert re.fullmatch(r"[a-z0-9-]+", job["run_execution_token"])
    assert len(f"{job['name']}-{job['run_execution_token']}") < 63
    (task,) = job["template"][0]["template"]
    assert task["service_account"] == plan.one("google_service_account", "migrator")["email"]
    assert task["vpc_access"][0]["network_interfaces"][0]["subnetwork"] == plan.one("google_compute_subnetwork")["id"]
    assert task["vpc_access"][0]["egress"] == "PRIVATE_RANGES_ONLY"
    assert task["timeout"] == "1800s"
    assert task["max_retries"] <= 1
    # Terraform must wait for longer than the job, and its second try, may take.
    assert set(job["timeouts"].values()) >= {"70m"}
    given = {env["name"]: env["value"] for env in task["containers"][0]["env"]}
    assert given == {
        "INSTANCE_CONNECTION_NAME": plan.one("google_sql_database_instance")["connection_name"],
        "DB_NAME": plan.one("google_sql_database")["name"],
        "DB_USER": plan.one("google_sql_user", "migrator")["name"],
    }


@rule
def the_same_image_migrates_again_when_it_is_deployed_again(plan):
    token = plan.one("google_cloud_run_v2_job")["run_execution_token"]
    assert token.count("-") == 1, "an execution's name is taken for ever: a roll-back needs another"
    expressions = _configuration(plan, "google_cloud_run_v2_job.migrate")["run_execution_token"]["references"]
    assert {"var.image", "var.deployment"} <= set(expressions)


def _configuration(plan, address):
    (found,) = [r for r in plan.shown["configuration"]["root_module"]["resources"] if r["address"] == address]
    return found["expressions"]


@rule
def every_metric_counts_what_the_code_logs(plan):
    events = logged_events()
    for name, metric in metrics(plan).items():
        assert metric["filter"].startswith('resource.type="cloud_run_revision" AND '), name
        (event,) = re.findall(r'jsonPayload\.event="(\w+)"', metric["filter"])
        assert event in events, f"{name}: nothing logs {event}"
        fields = set(re.findall(r"jsonPayload\.(\w+)", metric["filter"])) - {"event"}
        fields |= {
            re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", e)[1] for e in (metric["label_extractors"] or {}).values()
        }
        if metric["value_extractor"]:
            fields.add(re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", metric["value_extractor"])[1])
        assert fields <= events[event], f"{name}: {event} has no {fields - events[event]}"
        (descriptor,) = metric["metric_descriptor"]
        assert {label["key"] for label in descriptor["labels"]} == set(metric["label_extractors"] or {}), name
        assert descriptor["metric_kind"] == "DELTA", name
        assert (descriptor["value_type"] == "DISTRIBUTION") == bool(metric["value_extractor"]), name


@rule
def what_the_operator_asks_is_measured(plan):
    named = {name.removeprefix("renderiq_") for name in metrics(plan)}
    assert named >= {"renders", "deliveries", "dead_letters", "key_use", "request_ms"}
    labels = {name: set(metric["label_extractors"] or {}) for name, metric in metrics(plan).items()}
    assert "platform" in labels["renderiq_renders"]
    assert {"outcome", "error_class"} <= labels["renderiq_deliveries"]


def queries(plan):
    """Every PromQL text, by where it stands."""
    dashboard = json.loads(plan.one("google_monitoring_dashboard")["dashboard_json"])
    for tile in dashboard["mosaicLayout"]["tiles"]:
        for data in tile["widget"]["xyChart"]["dataSets"]:
            yield tile["widget"]["title"], data["timeSeriesQuery"]["prometheusQuery"]
    for alert in plan.all("google_monitoring_alert_policy"):
        for condition in alert.values["conditions"]:
            for promql in condition["condition_prometheus_query_language"]:
                yield alert.values["display_name"], promql["query"]


@rule
def charts_and_alerts_ask_for_metrics_and_labels_that_exist(plan):
    made = metrics(plan)
    for title, query in queries(plan):
        asked = re.findall(r"logging_googleapis_com:user_(\w+?)(_bucket)?(?:\{([^}]*)\})?[\[\s)]", query)
        googles = re.findall(r"(?:cloudsql|cloudtasks|run|loadbalancing)_googleapis_com:\w+", query)
        assert asked or googles, title
        for name, bucket, selector in asked:
            assert name in made, f"{title}: there is no metric {name}"
            assert bool(bucket) == bool(made[name]["value_extractor"]), f"{title}: {name}"
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
            known = set(made[name]["label_extractors"] or {}) | {"le"}
            assert labels | (grouped - {"queue_id"}) <= known, f"{title}: {labels | grouped} of {known}"
        assert query.count("(") == query.count(")"), title
        assert query.count("{") == query.count("}"), title


@rule
def alerts_can_be_made_before_their_metrics_have_points(plan):
    for alert in plan.all("google_monitoring_alert_policy", "main"):
        for condition in alert.values["conditions"]:
            (promql,) = condition["condition_prometheus_query_language"]
            assert promql["disable_metric_validation"] is True, alert.values["display_name"]
            assert re.search(r"[<>]|absent", promql["query"]), alert.values["display_name"]
            assert re.fullmatch(r"\d+s", promql["duration"])


@rule
def what_must_wake_somebody_does(plan):
    asked = " ".join(query for _, query in queries(plan))
    alerts = {r.key for r in plan.all("google_monitoring_alert_policy", "main")}
    assert alerts >= {"failing", "slow", "late", "dead_letters", "connections", "no_sweep"}
    assert 'status=~"5.."' in asked
    channels = {c["id"] for c in plan.keyed("google_monitoring_notification_channel").values()}
    assert channels
    for alert in plan.all("google_monitoring_alert_policy"):
        assert set(alert.values["notification_channels"]) == channels, alert.values["display_name"]
        assert alert.values["enabled"] is not False
        (help_,) = alert.values["documentation"]
        assert help_["content"], alert.values["display_name"]
        assert alert.values["severity"] in ("CRITICAL", "WARNING"), alert.values["display_name"]


@rule
def the_connections_alert_is_at_80_percent(plan):
    (alert,) = [r.values for r in plan.all("google_monitoring_alert_policy", "main") if r.key == "connections"]
    query = alert["conditions"][0]["condition_prometheus_query_language"][0]["query"]
    flags = {f["name"]: f["value"] for f in plan.one("google_sql_database_instance")["settings"][0]["database_flags"]}
    assert query.endswith(f"> {int(flags['max_connections']) * 8 // 10}")


@rule
def a_slow_answer_that_was_asked_for_alarms_nobody(plan):
    (alert,) = [r.values for r in plan.all("google_monitoring_alert_policy", "main") if r.key == "slow"]
    query = alert["conditions"][0]["condition_prometheus_query_language"][0]["query"]
    watched = set(re.search(r'function=~"([^"]*)"', query)[1].split("|"))
    assert watched == {name for name, row in plan.table.items() if not row["internal"] and not row["waits"]}


@rule
def health_is_asked_from_outside(plan):
    check = plan.one("google_monitoring_uptime_check_config")
    (http,) = check["http_check"]
    assert (http["path"], http["port"]) == (plan.table["health"]["path"], 443)
    assert http["use_ssl"] is True
    assert http["validate_ssl"] is True
    assert check["monitored_resource"][0]["labels"]["host"] == plan.shown["variables"]["domain"]["value"]
    (matcher,) = check["content_matchers"]
    assert (matcher["matcher"], matcher["content"]) == ("MATCHES_JSON_PATH", '"ok"')
    assert matcher["json_path_matcher"][0] == {"json_path": "$.status", "json_matcher": "EXACT_MATCH"}
    assert http["accepted_response_status_codes"][0]["status_value"] == 200
    assert check["period"] == "60s"
    down = plan.one("google_monitoring_alert_policy", "down")
    (threshold,) = down["conditions"][0]["condition_threshold"]
    assert check["uptime_check_id"] in threshold["filter"]
    assert (threshold["comparison"], threshold["threshold_value"]) == ("COMPARISON_GT", 1)
    (aggregation,) = threshold["aggregations"]
    assert aggregation["cross_series_reducer"] == "REDUCE_COUNT_FALSE"
    assert aggregation["per_series_aligner"] == "ALIGN_NEXT_OLDER"


@rule
def the_promise_is_three_nines_at_the_edge(plan):
    slo = plan.one("google_monitoring_slo")
    assert slo["goal"] == 0.999
    assert slo["rolling_period_days"] == 28
    (ratio,) = slo["request_based_sli"][0]["good_total_ratio"]
    edge = plan.one("google_compute_url_map", "edge")["name"]
    assert f'url_map_name="{edge}"' in ratio["total_service_filter"]
    assert ratio["bad_service_filter"] == ratio["total_service_filter"] + " metric.labels.response_code_class=500"
