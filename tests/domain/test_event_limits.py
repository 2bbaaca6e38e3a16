"""No render that a caller can order has an event that cannot be published: its end would be rolled back for ever."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from common import platforms
from common.domain import events, renders
from common.domain.render_task import EXTENSIONS
from common.http.call import _plain
from common.schemas.renders import MAX_SEED, CreateRender
from common.webhooks.urls import MAX_LENGTH, UrlNotAllowed, check_url

#: In JSON a character has up to twelve bytes: a pair of surrogates, each escaped.
WIDEST, WIDEST_IN_HEADER, WIDEST_IN_URL = "\N{HOUSE BUILDING}", "ÿ", '"'
BASE = "https://hooks.example.com/"
OUTCOMES = ("succeeded", "failed", "canceled", "expired")
RENDER = "01a20a21-6171-75c6-a2c9-7e0f599d04e1"


def texts(longest, alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])):
    """Short and odd ones, and long ones of one character."""
    long = st.builds(lambda char, times: char * times, alphabet, st.integers(longest - 3, longest))
    return st.text(alphabet, min_size=1, max_size=20) | long


def is_allowed(url):
    try:
        check_url(url, allow_local=False)
    except UrlNotAllowed:
        return False
    return True


headers = texts(1000, st.characters(min_codepoint=32, max_codepoint=255))
urls = texts(MAX_LENGTH - len(BASE), st.characters(codec="ascii")).map(BASE.__add__).filter(is_allowed)
bodies = st.fixed_dictionaries(
    {"prompt": texts(4000), "quality": st.sampled_from(["draft", "standard", "high"])},
    optional={
        "style": texts(100),
        "geometryFidelity": st.integers(0, 100),
        "seed": st.integers(0, MAX_SEED),
        "callbackUrl": urls,
    },
)
sizes = st.integers(1, 16_384)
pictures = st.builds(
    lambda role, kind, width, height, size: {
        "role": role,
        "object": f"renders/{RENDER}/{RENDER}/3/{role}.{EXTENSIONS[kind]}",
        "contentType": kind,
        "width": width,
        "height": height,
        "bytes": size,
        "sha256": "f" * 64,
    },
    st.sampled_from(["picture", "thumbnail"]),
    st.sampled_from(sorted(EXTENSIONS)),
    sizes,
    sizes,
    st.integers(1, 1 << 31),
)
files = st.lists(pictures, min_size=1, max_size=4)
errors = st.fixed_dictionaries({"code": texts(40), "message": texts(200), "retryable": st.booleans()})
LARGEST = {
    "prompt": WIDEST * 4000,
    "quality": "standard",
    "style": WIDEST * 100,
    "geometryFidelity": 100,
    "seed": MAX_SEED,
    "callbackUrl": BASE + WIDEST_IN_URL * (MAX_LENGTH - len(BASE)),
}
FILE = {"role": "thumbnail", "object": "x" * 140, "contentType": "image/jpeg", "width": 16_384, "height": 16_384}
FILE |= {"bytes": 1 << 31, "sha256": "f" * 64}
ERROR = {"code": WIDEST * 40, "message": WIDEST * 200, "retryable": True}


@pytest.fixture(scope="module")
def caller(database):
    return database.account(granted=10_000)


@pytest.fixture(scope="module")
def upload(database, caller):
    return database.upload(caller)


def listen(database, caller, url):
    """An active webhook that wants every event."""
    database.sql(
        "INSERT INTO plugin_webhooks (account_id, url, events) VALUES (:account_id::uuid, :url::text, :events::text[])"
        " RETURNING id",
        account_id=caller.account_id,
        url=url,
        events=list(events.EVENTS),
    )


def ended(database, caller, body, status, **result):
    """The payload of the event that the end of a new render publishes."""
    listen(database, caller, body.callback_url or BASE)
    with database.connection() as conn:
        with conn.transaction():
            made = renders.create(conn, caller, body)
        with conn.transaction():
            render = {"id": made.id, "account_id": caller.account_id, "attempt": None}
            assert renders.end(conn, render, status, **result)
    (row,) = database.sql("SELECT payload FROM webhook_deliveries WHERE account_id = :id::uuid", id=caller.account_id)
    database.sql("DELETE FROM plugin_webhooks WHERE account_id = :id::uuid RETURNING id", id=caller.account_id)
    assert row["payload"]["data"]["id"] == str(made.id)
    return row["payload"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, agent=headers, version=headers, status=st.sampled_from(OUTCOMES), made=files, error=errors)
@example(LARGEST, WIDEST_IN_HEADER * 1000, "1.2.0", "succeeded", [FILE] * 4, ERROR)
@example(LARGEST, WIDEST_IN_HEADER * 1000, "1.2.0", "failed", [FILE] * 4, ERROR)
def test_the_event_of_any_render_can_be_published(database, caller, upload, body, agent, version, status, made, error):
    sent = {"User-Agent": agent, "X-Renderiq-Plugin-Version": version, "X-Renderiq-Platform": version}
    ordering = replace(caller, user_agent=_plain(agent)[:500], platform=platforms.detect(sent))
    ordered = CreateRender.model_validate_json(json.dumps(body | {"uploadId": str(upload)}))
    result = {"files": made} if status == "succeeded" else {"error": error} if status != "canceled" else {}
    payload = ended(database, ordering, ordered, status, **result)
    assert len(json.dumps(payload)) <= events.MAX_PAYLOAD_BYTES
    assert payload["data"]["prompt"] == body["prompt"]
