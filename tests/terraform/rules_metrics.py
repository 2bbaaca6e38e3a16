"""What is measured: metrics that count what the code logs, and charts and alerts that ask for metrics that there are."""

import ast
import json
import re
from functools import cache

from functions.renders_create.main import main as renders_create
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


OF_FUNCTIONS = 'resource.type="cloud_run_revision"'


def counts(filter_, entry):
    """Whether a filter, of the forms that ours have, finds a line; a field that is not there is never equal to anything.

    https://cloud.google.com/logging/docs/view/logging-query-language
    """
    parts = filter_.split(" AND ")
    return all(any(_holds(term, entry) for term in part.strip("()").split(" OR ")) for part in parts)


def _holds(term, entry):
    if term == OF_FUNCTIONS:
        return True
    field, operator, text = re.fullmatch(r"jsonPayload\.(\w+)(=|>|:)(.+)", term).groups()
    if field not in entry:
        return False
    if operator == ":":
        assert text == "*", term
        return True
    value = json.loads(text)
    return entry[field] == value if operator == "=" else entry[field] > value


def counted(plan, entry):
    """The metrics that count a line of the log."""
    return {name.removeprefix("renderiq_") for name, m in metrics(plan).items() if counts(m["filter"], entry)}


REQUEST = {"event": "request", "function": "renders_create", "platform": "revit", "ms": 12.5, "code": None}
ACCEPTED = renders_create.spec.route.status
#: Lines of the log, and the metrics that count them.
LINES = [
    (REQUEST | {"status": ACCEPTED, "keyId": "k"}, {"requests", "request_ms", "renders", "key_use"}),
    (REQUEST | {"status": ACCEPTED}, {"requests", "request_ms", "renders"}),
    (REQUEST | {"status": 402, "code": "payment_required"}, {"requests", "request_ms"}),
    (REQUEST | {"status": ACCEPTED, "function": "webhooks_test"}, {"requests", "request_ms"}),
    ({"event": "task", "function": "tasks_sweep", "status": 204, "ms": 3.0}, {"tasks"}),
    ({"event": "render_ended", "status": "failed", "code": "internal"}, {"renders_ended"}),
    ({"event": "delivery", "outcome": "pending", "errorClass": "timeout", "ms": 15000}, {"deliveries", "delivery_ms"}),
    ({"event": "delivery_dead", "errorClass": "gone"}, {"dead_letters"}),
    ({"event": "webhook_disabled", "reason": "410"}, {"webhooks_disabled"}),
    ({"event": "webhook_secret_sealed", "webhookId": "w"}, {"secrets_sealed"}),
    ({"event": "sweep", "renders": 1, "deliveries": 0}, {"mended"}),
    ({"event": "sweep", "renders": 0, "deliveries": 7}, {"mended"}),
    ({"event": "sweep", "renders": 0, "deliveries": 0, "expiredUploads": 3}, set()),
    ({"event": "credits_differ", "accountId": "a"}, {"credits_differ"}),
]


@rule
def a_metric_counts_the_lines_that_it_is_about_and_no_others(plan):
    for entry, expected in LINES:
        assert set(entry) - {"event"} <= logged_events()[entry["event"]], entry
        assert counted(plan, entry) == expected, entry
    told = {name for _, names in LINES for name in names}
    assert {f"renderiq_{name}" for name in told} == set(metrics(plan)), "each metric has a line"


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
def what_is_slow_can_be_told_from_what_is_not(plan):
    for name, metric in metrics(plan).items():
        for buckets in metric["bucket_options"]:
            (said,) = buckets["exponential_buckets"]
            assert said["growth_factor"] <= 1.5, f"{name}: a percentile is no better than its bucket"
            assert said["scale"] * said["growth_factor"] ** said["num_finite_buckets"] >= 60_000, (
                f"{name}: a minute, in ms"
            )
        assert not metric["disabled"], name


@rule
def a_label_is_called_as_what_it_says(plan):
    for name, metric in metrics(plan).items():
        for label, said in (metric["label_extractors"] or {}).items():
            words = label.split("_")
            assert said == f"EXTRACT(jsonPayload.{words[0]}{''.join(map(str.title, words[1:]))})", f"{name}: {label}"


@rule
def what_the_operator_asks_is_measured(plan):
    named = {name.removeprefix("renderiq_") for name in metrics(plan)}
    assert named >= {"renders", "deliveries", "dead_letters", "key_use", "request_ms", "credits_differ"}
    labels = {name: set(metric["label_extractors"] or {}) for name, metric in metrics(plan).items()}
    assert "platform" in labels["renderiq_renders"]
    assert {"outcome", "error_class"} <= labels["renderiq_deliveries"]


#: Google's own metrics that are asked for, as PromQL writes them:
#: https://cloud.google.com/monitoring/api/metrics_gcp_c
GOOGLES = {
    "cloudsql_googleapis_com:database_postgresql_num_backends",
    "cloudtasks_googleapis_com:queue_depth",
    "cloudtasks_googleapis_com:queue_task_attempt_delays_bucket",
}


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
        googles = re.findall(r"(?:cloudsql|cloudtasks)_googleapis_com:\w+(?=\{monitored_resource=)", query)
        assert len(asked) + len(googles) == query.count("_googleapis_com:") > 0, title
        assert set(googles) <= GOOGLES, f"{title}: {set(googles) - GOOGLES}"
        for name, bucket, selector in asked:
            assert name in made, f"{title}: there is no metric {name}"
            assert bool(bucket) == bool(made[name]["value_extractor"]), f"{title}: {name}"
            assert selector.startswith('monitored_resource="cloud_run_revision"'), f"{title}: of several types, refused"
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"monitored_resource"}
            grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
            known = set(made[name]["label_extractors"] or {}) | {"le"}
            assert labels | (grouped - {"queue_id"}) <= known, f"{title}: {labels | grouped} of {known}"
        assert query.count("(") == query.count(")"), title
        assert query.count("{") == query.count("}"), title
