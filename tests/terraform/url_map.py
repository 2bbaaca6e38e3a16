"""The load balancer's URL map, evaluated as its documentation says.

https://cloud.google.com/load-balancing/docs/url-map-concepts: the host chooses a path matcher; its route rules are
asked in the order of their priority, and the first that matches decides; what matches none goes to the matcher's
default, and an unknown host to the map's.
"""

import re

#: What a match rule may say. Anything else is not understood here, and therefore refused.
UNDERSTOOD = {"full_path_match", "path_template_match", "header_matches", "ignore_case"}
#: What a `*` of a path template takes: one segment, without the characters that a path cannot have.
SEGMENT = r"[A-Za-z0-9._~%!$&'()+,;:@=-]+"


#: What would answer, or change a request, in place of the function.
ACTIONS = ("default_route_action", "default_url_redirect", "header_action", "route_action", "url_redirect")


class UrlMap:
    def __init__(self, values):
        self._values = values
        for part in (values, *values["path_matcher"], *(r for m in values["path_matcher"] for r in m["route_rules"])):
            assert not any(part.get(action) for action in ACTIONS), "not understood: an action"
        self._matchers = {matcher["name"]: matcher for matcher in values["path_matcher"]}
        for matcher in self._matchers.values():
            assert not matcher["path_rule"], "path rules and route rules exclude each other"
            priorities = [rule["priority"] for rule in matcher["route_rules"]]
            assert len(set(priorities)) == len(priorities), "two rules have one priority"

    def backend(self, host, method, path):
        """The backend service's id that answers."""
        matcher = self._matcher(host)
        if matcher is None:
            return self._values["default_service"]
        for rule in sorted(matcher["route_rules"], key=lambda rule: rule["priority"]):
            if any(_matches(match, method, path) for match in rule["match_rules"]):
                return rule["service"]
        return matcher["default_service"]

    def _matcher(self, host):
        for rule in self._values["host_rule"]:
            if host in rule["hosts"] or "*" in rule["hosts"]:
                return self._matchers[rule["path_matcher"]]
        return None


def _matches(match, method, path):
    said = {name for name, value in match.items() if value}
    assert said <= UNDERSTOOD, f"not understood: {said - UNDERSTOOD}"
    assert not match["ignore_case"]
    paths = [match[kind] for kind in ("full_path_match", "path_template_match") if match[kind]]
    assert len(paths) == 1, "a rule says one path"
    return _path(match, path) and all(_header(header, method) for header in match["header_matches"])


def _path(match, path):
    if match["full_path_match"]:
        return path == match["full_path_match"]
    template = match["path_template_match"]
    parts = [SEGMENT if part == "*" else re.escape(part) for part in template.split("/")]
    assert "**" not in template, "not understood"
    assert "{" not in template, "not understood"
    return bool(re.fullmatch("/".join(parts), path))


def _header(header, method):
    said = {name for name, value in header.items() if value}
    assert said == {"header_name", "exact_match"}, f"not understood: {said}"
    assert header["header_name"] == ":method", header["header_name"]
    return method == header["exact_match"]


def function_of(plan, backend_id):
    """The function behind a backend service: through its endpoint group and its Cloud Run service."""
    backends = {b["id"]: b for b in plan.keyed("google_compute_backend_service").values()}
    groups = {g["id"]: g for g in plan.keyed("google_compute_region_network_endpoint_group").values()}
    services = {service["name"]: name for name, service in plan.services.items()}
    (backend,) = backends[backend_id]["backend"]
    (run,) = groups[backend["group"]]["cloud_run"]
    assert not run["url_mask"]
    assert not run["tag"]
    return services[run["service"]]
