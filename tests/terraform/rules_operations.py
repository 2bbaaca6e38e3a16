"""What an operator relies on: migrations inside the apply, alerts that can fire, health asked from outside."""

import re

from tests.terraform.rules import rule
from tests.terraform.rules_metrics import queries


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
def alerts_can_be_made_before_their_metrics_have_points(plan):
    for alert in plan.all("google_monitoring_alert_policy", "main"):
        for condition in alert.values["conditions"]:
            (promql,) = condition["condition_prometheus_query_language"]
            assert promql["disable_metric_validation"] is True, alert.values["display_name"]
            assert re.search(r"[<>]|absent", promql["query"]), alert.values["display_name"]
            assert int(promql["duration"].removesuffix("s")) <= 900, "somebody has to be told within the quarter"


@rule
def what_must_wake_somebody_does(plan):
    asked = " ".join(query for _, query in queries(plan))
    alerts = {r.key for r in plan.all("google_monitoring_alert_policy", "main")}
    assert alerts >= {
        "failing",
        "renders_fail",
        "tasks_fail",
        "slow",
        "late",
        "dead_letters",
        "connections",
        "credits_differ",
        "no_sweep",
    }
    assert 'status=~"5.."' in asked
    told = plan.keyed("google_monitoring_notification_channel").values()
    assert {c["labels"]["email_address"] for c in told} == set(plan.shown["variables"]["alert_emails"]["value"])
    assert all(c["type"] == "email" and c["enabled"] is not False for c in told)
    channels = {c["id"] for c in told}
    for alert in plan.all("google_monitoring_alert_policy"):
        assert set(alert.values["notification_channels"]) == channels, alert.values["display_name"]
        assert alert.values["enabled"] is not False
        (help_,) = alert.values["documentation"]
        assert help_["content"], alert.values["display_name"]
        assert alert.values["severity"] in ("CRITICAL", "WARNING"), alert.values["display_name"]


@rule
def an_alert_fires_at_what_its_title_says(plan):
    ends = {
        "failing": ("More than 2 %", 'status=~"5.."', "> 0.02 and "),
        "slow": ("above 1000 ms", "histogram_quantile(0.95", "> 1000"),
        "renders_fail": ("More than a quarter of the renders fail", 'status="failed"', "> 0.25 and "),
        "late": ("more than a minute late", "histogram_quantile(0.99", "> 60000"),
        "dead_letters": ("More than 20 deliveries were given up in an hour", "[1h]", "> 20"),
        "secrets_sealed": ("No configured key opens", "[15m]", "> 0"),
        "tasks_fail": ("again and again", 'status=~"5.."', "> 20"),
        "mending": ("again and again", "[30m]", "> 20"),
        "credits_differ": ("do not agree", "[1d]", "> 0"),
        "no_sweep": ("not run for ten minutes", 'function="tasks_sweep",status="204"', "[10m]) > 0)"),
    }
    alerts = {r.key: r.values for r in plan.all("google_monitoring_alert_policy", "main")}
    assert set(alerts) == {*ends, "connections"}
    for name, (title, asked, limit) in ends.items():
        query = alerts[name]["conditions"][0]["condition_prometheus_query_language"][0]["query"]
        assert title in alerts[name]["display_name"], name
        assert asked in query, name
        assert limit in query if name in ("failing", "no_sweep", "renders_fail") else query.endswith(f") {limit}"), name


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
    assert http["request_method"] == plan.table["health"]["method"]
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
