"""Whatever is sent, every endpoint answers with what the contract knows: never a 5xx, never a page of HTML."""

import gzip
import importlib
import json
from urllib.parse import quote
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functions.test_every_endpoint import PUBLIC_TABLE, WITH_BODY, by_name, credential, path
from tests.support import send

#: The contract's table of problems.
CODES = {
    400: "malformed_json multiple_credentials idempotency_key_required idempotency_key_invalid cursor_invalid",
    401: "unauthenticated invalid_credentials invalid_token invalid_key key_expired key_revoked invalid_refresh_token",
    402: "insufficient_credits",
    403: "insufficient_scope session_required platform_not_allowed scope_not_grantable csrf_header_required",
    404: "not_found",
    405: "method_not_allowed",
    409: "idempotency_in_flight secret_already_shown key_not_rotatable name_taken upload_incomplete"
    " upload_already_completed render_already_finished delivery_in_flight webhook_not_active",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid_request idempotency_mismatch url_not_allowed callback_not_registered upload_mismatch"
    " upload_not_an_image image_too_large upload_not_ready",
    426: "plugin_update_required",
    429: "rate_limited",
}
DEEP = 100_000
HUGE = 10**400

#: Bodies that are no JSON text (RFC 8259): refused as malformed, whatever an endpoint wants.
NO_JSON = {
    "nothing but spaces": b"  \n ",
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "an overlong UTF-8 form": b'{"name": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "a NUL after it": b"{}\x00",
    "a NUL in a text": b'{"name": "a\x00b"}',
    "two documents": b"{}{}",
    "a trailing comma": b'{"name": "a",}',
    "single quotes": b"{'name': 'a'}",
    "a comment": b"{} // nothing",
    "deep arrays": b"[" * DEEP,
    "deep objects": b'{"name":' * DEEP,
    "closed deep arrays": b"[" * DEEP + b"]" * DEEP,
    "a bad escape": rb'{"name": "\x41"}',
    "a lone surrogate": rb'{"name": "\ud800"}',
    "a number with a leading zero": b'{"name": 01}',
    "a form": b"name=a",
    "gzip": gzip.compress(b"{}"),
}
#: JSON texts that hold what no field takes, or that not every parser reads alike.
ODD_JSON = {
    "not a number": b'{"noSuchField": NaN}',
    "infinity": b'{"noSuchField": -Infinity}',
    "a huge integer": b'{"noSuchField": 1%s}' % (b"0" * 5000),
    "a huge exponent": b'{"noSuchField": 1e999999}',
    "a key twice": b'{"noSuchField": 1, "noSuchField": 2}',
    "an empty key": b'{"": 1}',
    "a NUL in a key": rb'{"\u0000": 1}',
    "a prototype": b'{"__proto__": {"admin": true}}',
    "ten thousand keys": b"{%s}" % b",".join(b'"k%d":0' % n for n in range(10_000)),
    "a long key": b'{"%s": 1}' % (b"k" * 500_000),
    "a long text": b'{"noSuchField": "%s"}' % (b"x" * 1_000_000),
}
TEXTS = [
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ufeff",
        "\ufffe",
        "\u202e",
        "\U0010ffff",
        "é" * 300,
        "x" * 100_000,
        "\n",
        "%00",
        "../..",
    ),
    *("null", "' OR 1=1 --", "{{7*7}}", "${jndi:ldap://x}", "<script>", "１２", "1_0", "0x10", "NaN", "-0", "1e3"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"),
    *(
        "2026-02-30T00:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00",
        "99999999999",
        "-99999999999",
    ),
    *("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "{" + str(uuid4()) + "}"),
    *(
        "urn:uuid:" + str(uuid4()),
        uuid4().hex,
        "http://[",
        "https://[::1",
        "https://a:99999/",
        "https://\u2100.example",
    ),
    *("https://xn--/", "javascript:alert(1)", "https://user:pw@host.example/", "file:///etc/passwd", "http:///"),
]
NUMBERS = [0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, HUGE, 1.0, 1.5, -0.0, 1e308, 5e-324]
OTHERS = [None, True, False, [], {}, [[]], [None], [{}], [""], ["x"] * 1000, {"a": {"b": []}}]


def headers_for(stack, row, *more, json_body=True):
    """What the endpoint needs to get as far as its body."""
    own = [f"{name}: {value}".encode() for name, value in credential(stack, row).items()]
    own += [b"Content-Type: application/json"] if json_body else []
    return [*own, f"Idempotency-Key: {uuid4()}".encode(), *more]


def problem_with(answer, statuses=None):
    """What is wrong with `answer`; None when it is a good one."""
    if answer.status < 400:
        return None if statuses is None else f"{answer.status}, not refused"
    if answer.status not in CODES:
        return f"{answer.status}: {answer.body[:300]}"
    if answer.code not in CODES[answer.status].split():
        return f"{answer.status} with the code {answer.code}: {answer.body[:300]}"
    if answer.json["status"] != answer.status or answer.json["requestId"] != answer.headers["X-Request-Id"]:
        return f"a problem that contradicts its answer: {answer.body[:300]}"
    if statuses is not None and answer.status not in statuses:
        return f"{answer.status} {answer.code}, not {statuses}"
    return None


def assert_all_good(found):
    bad = {name: problem for name, problem in found.items() if problem}
    assert not bad, "\n".join(f"{name}: {problem}" for name, problem in bad.items())


# Request bodies -----------------------------------------------------------------------------------------------------


@by_name(WITH_BODY)
def test_what_is_no_json_is_malformed(stack, row):
    def sent(body):
        return send(stack.base_url, row["method"], path(row), headers_for(stack, row), body)

    assert_all_good({name: problem_with(sent(body), [400]) for name, body in NO_JSON.items()})


@by_name(WITH_BODY)
def test_odd_json_is_refused(stack, row):
    def sent(body):
        return send(stack.base_url, row["method"], path(row), headers_for(stack, row), body)

    assert_all_good({name: problem_with(sent(body), [400, 422]) for name, body in ODD_JSON.items()})


def model_of(row, parameter):
    """The model of the endpoint's `body` or `query`."""
    spec = importlib.import_module(f"functions.{row['name']}.main").main.spec
    return spec.parameters.get(parameter)


def fields_of(row, parameter):
    """The name on the wire and the JSON schema of each field of an endpoint's model, and which are required."""
    model = model_of(row, parameter)
    if model is None:
        return {}, {}, []
    schema = model.model_json_schema(by_alias=True)
    return schema.get("properties", {}), schema.get("$defs", {}), schema.get("required", [])


def variants(schema, defs):
    """The alternatives of a field's schema, references resolved."""
    if "$ref" in schema:
        return variants(defs[schema["$ref"].rpartition("/")[2]], defs)
    return [
        one for each in schema.get("anyOf", [schema]) for one in (variants(each, defs) if each != schema else [each])
    ]


def example(schema, defs):
    """A value that the schema allows."""
    schema = variants(schema, defs)[0]
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "array":
            return [example(schema.get("items", {}), defs)] * schema.get("minItems", 0)
        case "string" if schema.get("format") == "uuid":
            return str(uuid4())
        case "string" if schema.get("format") == "date-time":
            return "2036-01-01T00:00:00Z"
    return "x" * max(1, schema.get("minLength", 1))


def allowed_types(schema, defs):
    found = {one.get("type") or type(next(iter(one.get("enum", ["x"])))).__name__ for one in variants(schema, defs)}
    return {"str": "string", "int": "integer"}.get(min(found), "") and {"string"} | found or found


def json_type(value):
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    ):
        if isinstance(value, kind):
            return name
    return "null"


BODY_FIELDS = [
    pytest.param(row, name, id=f"{row['name']}-{name}") for row in WITH_BODY for name in fields_of(row, "body")[0]
]


def bodies_with(row, field, value):
    """The endpoint's smallest good body, with `value` for `field`."""
    fields, defs, required = fields_of(row, "body")
    return {name: example(fields[name], defs) for name in required} | {field: value}


def dumped(value):
    return json.dumps(value).replace(str(HUGE), "1" + "0" * 400).encode()


@pytest.mark.parametrize(("row", "field"), BODY_FIELDS)
def test_no_value_of_a_field_breaks_an_endpoint(stack, row, field):
    found = {}
    for value in [*TEXTS, *NUMBERS, *OTHERS]:
        body = dumped(bodies_with(row, field, value))
        answer = send(stack.base_url, row["method"], path(row), headers_for(stack, row), body)
        found[repr(value)[:60]] = problem_with(answer)
    assert_all_good(found)


@pytest.mark.parametrize(("row", "field"), BODY_FIELDS)
def test_a_value_of_another_type_is_refused_and_its_field_named(stack, row, field):
    fields, defs, _ = fields_of(row, "body")
    types = allowed_types(fields[field], defs)
    found = {}
    for value in (None, True, 7, 1.5, "text", [], {}):
        if json_type(value) in types:
            continue
        body = dumped(bodies_with(row, field, value))
        answer = send(stack.base_url, row["method"], path(row), headers_for(stack, row), body)
        named = answer.status == 422 and any(error["field"].split(".")[0] == field for error in answer.json["errors"])
        found[repr(value)] = problem_with(answer, [422]) or (None if named else f"{field} is not named: {answer.body}")
    assert_all_good(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@by_name(WITH_BODY)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_json_in_the_fields_is_answered(stack, row, data):
    fields, defs, _ = fields_of(row, "body")
    chosen = data.draw(
        st.fixed_dictionaries({}, optional={name: JSON | st.just(example(fields[name], defs)) for name in fields})
    )
    body = json.dumps(chosen).encode()
    answer = send(stack.base_url, row["method"], path(row), headers_for(stack, row), body)
    assert problem_with(answer) is None, problem_with(answer)


# Queries ------------------------------------------------------------------------------------------------------------

QUERIES = [
    *("%", "%zz=1", "%ff=%fe", "a=%00", "=", "&&&", "==&=", ";", "?", "a=1;b=2", "a", "+", "a[]=1", "a[b]=1", "a.b=1"),
    *("noSuchParameter=1", "no%20such=1", "access_token=x", "api_key=x", "limit", "x=" + "y" * 50_000, "a=1&" * 2000),
]


@by_name(PUBLIC_TABLE)
def test_no_query_breaks_an_endpoint(stack, row):
    def sent(query):
        body = b"{}" if row["method"] in ("POST", "PATCH") else b""
        return send(stack.base_url, row["method"], f"{path(row)}?{query}", headers_for(stack, row), body)

    assert_all_good({query[:60]: problem_with(sent(query)) for query in QUERIES})


QUERY_FIELDS = [
    pytest.param(row, name, id=f"{row['name']}-{name}") for row in PUBLIC_TABLE for name in fields_of(row, "query")[0]
]


@pytest.mark.parametrize(("row", "field"), QUERY_FIELDS)
def test_no_value_of_a_parameter_breaks_an_endpoint(stack, row, field):
    texts = [
        *map(quote, TEXTS),
        *(str(number) for number in NUMBERS),
        "%",
        "%ff",
        "%ED%A0%80",
        "+1",
        "%201",
        "1%0A",
        "²",
    ]
    found = {}
    for text in texts:
        target = f"{path(row)}?{field}={text}".encode().decode("latin-1")
        if target.isascii():
            found[text[:60]] = problem_with(send(stack.base_url, row["method"], target, headers_for(stack, row)))
    assert_all_good(found)


# Headers ------------------------------------------------------------------------------------------------------------

HEADERS = [
    b"X-Forwarded-For: garbage, \xff\xfe, ,,",
    b"X-Forwarded-For: " + b"10.0.0.1," * 5000,
    b"X-Forwarded-For: ::ffff:1.2.3.4%eth0, 1.2.3.4:80, [::1]:9",
    b"X-Forwarded-For: ' OR 1=1 --",
    b"User-Agent: \xff\xfe\x80",
    b"User-Agent: " + b"Renderiq-Plugin/" * 6000,
    b"X-Renderiq-Platform: \xff/\xfe",
    b"X-Renderiq-Platform: sketchup/" + b"9" * 5000,
    b"X-Renderiq-Platform: sketchup\r\nX-Renderiq-Platform: revit",
    b"X-Renderiq-Plugin-Version: \xe2\x82\xac",
    b"X-Renderiq-Plugin-Version: 1." + b"1." * 5000,
    b"X-Request-Id: \xff",
    b"X-Request-Id: " + b"a" * 60_000,
    b"X-Request-Id: one-request\r\nX-Request-Id: other-request",
    b"Prefer: wait=99999999999999999999",
    b"Prefer: wait=-1",
    b"Prefer: wait=0, wait=0, \xff",
    b"Prefer: " + b"wait=x," * 8000,
    b"If-None-Match: \xff",
    b"If-None-Match: " + b'"a",' * 20_000,
    b"Cookie: \xff=\xff; =; a=",
    b"Cookie: __Host-session=",
    b"Cookie: " + b"a=b;" * 20_000,
    b"Idempotency-Key: second",
    b"Accept: \xff",
    b"Accept-Encoding: gzip;q=\xff",
    b"Content-Encoding: gzip",
    b"X-HTTP-Method-Override: DELETE",
    b"X-Method-Override: \xff",
    b"X-Cloud-Trace-Context: \xff/\xff;o=\xff",
    b"Function-Execution-Id: \xff",
    b"traceparent: 00-\xff",
    b"Range: bytes=-1--1",
    b"Forwarded: for=\xff",
    b"X-Forwarded-Proto: \xff",
    b"X-Forwarded-Host: evil.example",
    b"Origin: null",
    b"Expect: 100-continue",
    b"Expect: something-else",
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"If-Modified-Since: never",
    b"Date: \xff",
    b"Content-Language: \xff",
    b"X-Serverless-Authorization: Bearer a.b.c",
    b"X-CloudTasks-TaskName: forged",
]


@by_name(PUBLIC_TABLE)
def test_no_header_breaks_an_endpoint(stack, row):
    body = b"{}" if row["method"] in ("POST", "PATCH") else b""

    def sent(header):
        return send(stack.base_url, row["method"], path(row), headers_for(stack, row, header), body)

    assert_all_good({repr(header[:60]): problem_with(sent(header)) for header in HEADERS})


CREDENTIALS = [
    b"Authorization: \xff",
    b"Authorization: Bearer \xff",
    b"Authorization: Bearer",
    b"Authorization: Bearer a b",
    b"Authorization: Bearer rq_sk_test_\xe9",
    b"Authorization: Bearer " + b"a." * 30_000,
    b"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
    b"Authorization: Bearer x\r\nAuthorization: Bearer y",
    b"Authorization: Digest username=\xff",
    b"X-API-Key: \xff",
    b"X-API-Key: rq_sk_test_" + b"a" * 60_000,
    b"X-API-Key: a\r\nX-API-Key: b",
    b"Cookie: __Host-session=\xff\xfe",
    b'Cookie: __Host-session="\\377\\000"',
    b"Cookie: __Host-session=a; __Host-session=b",
]


@by_name([row for row in PUBLIC_TABLE if not row["public"]])
def test_no_credential_breaks_an_endpoint(stack, row):
    body = b"{}" if row["method"] in ("POST", "PATCH") else b""
    kind = [b"Content-Type: application/json"] if body else []

    def sent(header):
        return send(stack.base_url, row["method"], path(row), [header, *kind], body)

    assert_all_good({repr(header[:60]): problem_with(sent(header), [400, 401, 403]) for header in CREDENTIALS})


@by_name(WITH_BODY)
@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-16",
        "application/json;;;",
        "APPLICATION/JSON",
        "",
        "\xff",
        "/",
        "application/problem+json",
        "multipart/form-data",
    ],
)
def test_no_content_type_breaks_an_endpoint(stack, row, content_type):
    line = f"Content-Type: {content_type}".encode("latin-1")
    headers = [*headers_for(stack, row, json_body=False), line]
    answer = send(stack.base_url, row["method"], path(row), headers, b"{}")
    assert problem_with(answer) is None, problem_with(answer)


@by_name(WITH_BODY)
def test_a_method_override_changes_nothing(stack, row):
    headers = headers_for(stack, row, b"X-HTTP-Method-Override: GET", b"X-HTTP-Method: GET")
    answer = send(stack.base_url, row["method"], f"{path(row)}?_method=GET", headers, b'{"noSuchField": 1}')
    assert problem_with(answer, [422]) is None, problem_with(answer)


@by_name(WITH_BODY)
def test_a_compressed_body_is_not_read_as_if_it_were_plain(stack, row):
    headers = headers_for(stack, row, b"Content-Encoding: gzip")
    answer = send(stack.base_url, row["method"], path(row), headers, gzip.compress(b"{}"))
    assert problem_with(answer, [400, 415]) is None, problem_with(answer)


@by_name(WITH_BODY)
def test_a_chunked_body_above_a_mebibyte_is_refused(stack, row):
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    headers = headers_for(stack, row, b"Transfer-Encoding: chunked")
    answer = send(stack.base_url, row["method"], path(row), headers, chunk + chunk + b"0\r\n\r\n")
    assert problem_with(answer, [413]) is None, problem_with(answer)
