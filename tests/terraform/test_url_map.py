"""The URL map is the gateway: the same function answers in the cloud and on a laptop, whatever is asked.

The gateway is the real one, by WSGI, before functions that only tell their name.
"""

import json
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.terraform.terraform import SOURCE
from tests.terraform.url_map import SEGMENT, UrlMap, function_of
from tools.local.gateway import Gateway
from tools.local.identity import Issuer, generate_key_pem

TABLE = json.loads((SOURCE / "functions.json").read_text())["functions"]
PUBLIC = [row for row in TABLE if not row["internal"] and row["method"] != "*"]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
WORDS = sorted(
    {part for row in TABLE for part in row["path"].split("/") if part and "{" not in part and "*" not in part}
)
IDS = ("0198c0de-0000-7000-8000-000000000000", "x", "a.b_c~d", "register", "keys")


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """Asks the gateway which function answers a method and a path."""
    root = tmp_path_factory.mktemp("functions")
    for row in TABLE:
        (root / row["name"]).mkdir()
        (root / row["name"] / "main.py").write_text(f"def main(request):\n    return {row['name']!r}\n")
    app = Gateway(TABLE, root, Issuer(generate_key_pem(), "tasks@example.com"))

    def ask(method, path):
        told = []
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "REMOTE_ADDR": "127.0.0.1",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": BytesIO(),
            "wsgi.errors": BytesIO(),
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        body = app(environ, lambda status, _headers, _error=None: told.append(status))
        text = b"".join(body).decode()
        if hasattr(body, "close"):
            body.close()
        return "refused" if told[0].startswith("403") else text or head(told)

    def head(told):
        """An answer without a body: the fallback's to HEAD."""
        assert told[0].startswith("200"), told
        return "fallback"

    return ask


@pytest.fixture(scope="session")
def edge(plan):
    urls = UrlMap(plan.one("google_compute_url_map", "edge"))
    functions = {b["id"]: function_of(plan, b["id"]) for b in plan.keyed("google_compute_backend_service").values()}
    return lambda method, path, host="api.example.com": functions[urls.backend(host, method, path)]


def variants(path):
    """A path with each of its parameters in several ways, and what is nearly it."""
    for value in IDS:
        yield "/".join(value if part.startswith("{") else part for part in path.split("/"))
    real = "/".join(IDS[0] if part.startswith("{") else part for part in path.split("/"))
    empty = "/".join("" if part.startswith("{") else part for part in path.split("/"))
    yield from (real + "/", "/" + real, real + "/more", real[:-1], real.upper(), empty, real.replace("/api", "", 1))
    yield real.rpartition("/")[0] or "/"


@pytest.mark.parametrize("row", PUBLIC, ids=lambda row: row["name"])
def test_the_edge_and_the_gateway_agree_around_every_path(row, edge, gateway):
    for path in variants(row["path"]):
        for method in METHODS:
            assert edge(method, path) == gateway(method, path), f"{method} {path}"


@pytest.mark.parametrize("row", PUBLIC, ids=lambda row: row["name"])
def test_a_path_with_its_method_is_its_functions(row, edge):
    path = "/".join(IDS[0] if part.startswith("{") else part for part in row["path"].split("/"))
    assert edge(row["method"], path) == row["name"]


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/plugins", "/api/plugins/", "/api/plugins/nothing", "/index.html", "//"]
)
def test_what_nobody_has_is_the_fallbacks(path, edge, gateway):
    for method in METHODS:
        assert edge(method, path) == gateway(method, path) == "fallback"


@pytest.mark.parametrize("row", [row for row in TABLE if row["internal"]], ids=lambda row: row["name"])
def test_an_internal_path_leads_to_no_internal_function(row, edge, gateway):
    for method in METHODS:
        assert edge(method, row["path"]) == "fallback"
    assert gateway(row["method"], row["path"]) == "refused"


def test_another_host_is_the_fallbacks(edge):
    assert edge("GET", "/api/plugins/health", host="example.org") == "fallback"


SEGMENTS = st.one_of(
    st.sampled_from(WORDS), st.from_regex(SEGMENT, fullmatch=True).filter(lambda text: "%" not in text)
)


@given(
    method=st.sampled_from(METHODS),
    parts=st.lists(SEGMENTS, max_size=6),
    base=st.booleans(),
    end=st.sampled_from(["", "/"]),
)
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_edge_and_the_gateway_agree_on_any_path(edge, gateway, method, parts, base, end):
    path = "/" + "/".join([*(["api", "plugins"] if base else []), *parts]) + end
    if path.startswith("/internal/tasks/") and gateway(method, path) == "refused":
        assert edge(method, path) == "fallback"
        return
    if path in ("/robots.txt", "/favicon.ico"):  # functions-framework's own
        return
    assert edge(method, path) == gateway(method, path)
