"""The way in: one load balancer, every method and path to its one function."""

import json

from tests.terraform.plan import Plan
from tests.terraform.rules import rule
from tests.terraform.url_map import UrlMap, function_of


def routed(plan):
    return {name: row for name, row in plan.table.items() if not row["internal"] and row["method"] != "*"}


def example(path):
    return "/".join(
        "0198c0de-0000-7000-8000-000000000000" if part.startswith("{") else part for part in path.split("/")
    )


def domain(plan: Plan) -> str:
    return plan.shown["variables"]["domain"]["value"]


@rule
def every_method_and_path_leads_to_its_function(plan):
    urls = UrlMap(plan.one("google_compute_url_map", "edge"))
    for name, row in routed(plan).items():
        found = function_of(plan, urls.backend(domain(plan), row["method"], example(row["path"])))
        assert found == name, f"{row['method']} {row['path']} leads to {found}"


@rule
def every_public_row_has_exactly_one_route_rule(plan):
    (matcher,) = plan.one("google_compute_url_map", "edge")["path_matcher"]
    led_to = sorted(function_of(plan, rule["service"]) for rule in matcher["route_rules"])
    assert led_to == sorted(routed(plan))
    assert all(len(rule["match_rules"]) == 1 for rule in matcher["route_rules"])
    assert sum(bool(rule["match_rules"][0]["path_template_match"]) for rule in matcher["route_rules"]) <= 100


@rule
def no_template_comes_before_a_literal_path(plan):
    (matcher,) = plan.one("google_compute_url_map", "edge")["path_matcher"]
    ordered = sorted(matcher["route_rules"], key=lambda rule: rule["priority"])
    wild = [(r["match_rules"][0]["path_template_match"] or "").count("*") for r in ordered]
    assert wild == sorted(wild), "what has more parameters comes later, or it shadows what has fewer"


@rule
def what_nothing_matches_goes_to_the_fallback(plan):
    values = plan.one("google_compute_url_map", "edge")
    urls = UrlMap(values)
    for host in (domain(plan), "other.example.org"):
        assert function_of(plan, urls.backend(host, "GET", "/nothing/here")) == "fallback", host
    assert values["host_rule"][0]["hosts"] == [domain(plan)]


@rule
def exactly_the_public_functions_have_a_backend(plan):
    behind = sorted(function_of(plan, b["id"]) for b in plan.keyed("google_compute_backend_service").values())
    assert behind == sorted(name for name, row in plan.table.items() if not row["internal"])


@rule
def backends_are_serverless_and_guarded(plan):
    policy = plan.one("google_compute_security_policy")["id"]
    for name, backend in plan.keyed("google_compute_backend_service").items():
        assert backend["security_policy"] == policy, name
        assert backend["load_balancing_scheme"] == "EXTERNAL_MANAGED", name
        assert backend["protocol"] == "HTTPS", name
        assert not backend["enable_cdn"], f"{name}: answers to a credential must not be cached"
        assert not any(iap["enabled"] for iap in backend["iap"]), f"{name}: callers have no Google account"
    given = plan.shown["configuration"]["root_module"]["resources"]
    (backends,) = [r for r in given if r["address"] == "google_compute_backend_service.function"]
    assert "timeout_sec" not in backends["expressions"], "a serverless backend takes no timeout"
    for name, group in plan.keyed("google_compute_region_network_endpoint_group").items():
        assert group["network_endpoint_type"] == "SERVERLESS", name


@rule
def one_address_cannot_flood(plan):
    rules = {rule["priority"]: rule for rule in plan.one("google_compute_security_policy")["rule"]}
    assert len(rules) == 2
    throttle = rules[min(rules)]
    assert throttle["action"] == "throttle"
    assert throttle["match"][0]["config"][0]["src_ip_ranges"] == ["*"]
    (options,) = throttle["rate_limit_options"]
    assert (options["enforce_on_key"], options["exceed_action"], options["conform_action"]) == (
        "IP",
        "deny(429)",
        "allow",
    )
    (threshold,) = options["rate_limit_threshold"]
    assert 0 < threshold["count"] <= 6000
    assert threshold["interval_sec"] == 60
    assert rules[2147483647]["action"] == "allow"
    assert not any(rule["preview"] for rule in rules.values()), "a preview only tells what it would do"
    assert all(rule["match"][0]["versioned_expr"] == "SRC_IPS_V1" for rule in rules.values())


@rule
def only_https_is_spoken(plan):
    https = plan.one("google_compute_target_https_proxy")
    assert https["url_map"] == plan.one("google_compute_url_map", "edge")["id"]
    assert https["ssl_policy"] == plan.one("google_compute_ssl_policy")["id"]
    assert https["ssl_certificates"] == [plan.one("google_compute_managed_ssl_certificate")["id"]]
    ssl = plan.one("google_compute_ssl_policy")
    assert (ssl["min_tls_version"], ssl["profile"]) == ("TLS_1_2", "MODERN")
    assert plan.one("google_compute_managed_ssl_certificate")["managed"][0]["domains"] == [domain(plan)]
    (redirect,) = plan.one("google_compute_url_map", "to_https")["default_url_redirect"]
    assert redirect["https_redirect"] is True
    assert redirect["redirect_response_code"] == "PERMANENT_REDIRECT"
    assert redirect["strip_query"] is False


@rule
def both_ports_are_at_the_one_address(plan):
    address = plan.one("google_compute_global_address", "edge")["id"]
    ports = {r.values["port_range"]: r.values for r in plan.all("google_compute_global_forwarding_rule")}
    assert set(ports) == {"80", "443"}
    assert {rule["ip_address"] for rule in ports.values()} == {address}
    assert {rule["load_balancing_scheme"] for rule in ports.values()} == {"EXTERNAL_MANAGED"}
    assert ports["443"]["target"] == plan.one("google_compute_target_https_proxy")["id"]
    assert ports["80"]["target"] == plan.one("google_compute_target_http_proxy")["id"]
    assert (
        plan.one("google_compute_target_http_proxy")["url_map"] == plan.one("google_compute_url_map", "to_https")["id"]
    )


@rule
def no_internal_path_is_routed(plan):
    assert "/internal/" not in json.dumps(plan.one("google_compute_url_map", "edge"))
