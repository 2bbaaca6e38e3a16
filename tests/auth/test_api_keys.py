"""API keys, refresh tokens and scopes: their text, and what is kept of it."""

import hashlib
import json
import re
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import routing
from common.auth import api_keys, refresh_tokens
from common.auth.scopes import ALL, Scope

PREFIXES = st.sampled_from(api_keys.PREFIXES)
KEY = api_keys.generate("rq_sk_live_")


@given(PREFIXES)
def test_a_new_key_has_fifty_characters_and_is_well_formed(prefix):
    key = api_keys.generate(prefix)
    assert re.fullmatch(prefix + "[0-9A-Za-z]{39}", key)
    assert len(key) == 50
    assert api_keys.well_formed(key)


def test_the_checksum_is_the_crc32_of_all_that_precedes_in_base62():
    value = 0
    for char in KEY[-6:]:
        value = value * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(char)
    assert value == zlib.crc32(KEY[:-6].encode())


def test_keys_never_repeat_and_use_the_whole_alphabet():
    keys = [api_keys.generate("rq_sk_test_") for _ in range(500)]
    assert len(set(keys)) == 500
    assert set("".join(key[11:44] for key in keys)) == set(api_keys.ALPHABET)


@pytest.mark.parametrize("prefix", ["", "rq_sk_", "rq_sk_prod_", "sk_live_", "rq_sk_live"])
def test_a_prefix_that_no_request_could_use_is_refused(prefix):
    with pytest.raises(ValueError, match="begins with"):
        api_keys.generate(prefix)


@given(PREFIXES, st.integers(0, 49), st.sampled_from(api_keys.ALPHABET))
def test_one_wrong_character_is_noticed(prefix, place, char):
    key = api_keys.generate(prefix)
    mistyped = key[:place] + char + key[place + 1 :]
    assert api_keys.well_formed(mistyped) == (mistyped == key)


@given(st.text() | st.text("rq_skliveta0Z9", max_size=60))
def test_garbage_is_no_key_and_never_raises(text):
    assert not api_keys.well_formed(text)


@pytest.mark.parametrize(
    "text",
    [
        "", KEY + "\n", " " + KEY, KEY + "0", KEY[:-1], KEY.upper(), KEY.replace("live", "test"),
        KEY.replace("rq", "rq\0"), KEY[:-1] + "é", KEY[:-1] + "٣", KEY * 10_000,
    ],
    ids=range(11),
)  # fmt: skip
def test_a_key_with_anything_changed_is_no_key(text):
    assert not api_keys.well_formed(text)


@pytest.mark.parametrize("length", [0, 32, 34, 60, 5000])
def test_a_right_checksum_does_not_make_up_for_a_wrong_length(length):
    text = "rq_sk_live_" + "0" * length
    assert not api_keys.well_formed(text + api_keys.base62(zlib.crc32(text.encode()), 6))


def test_only_the_digest_and_the_hint_are_kept():
    assert api_keys.digest(KEY) == hashlib.sha256(KEY.encode()).digest()
    hint = api_keys.hint(KEY)
    assert re.fullmatch(r"rq_sk_live_[0-9A-Za-z]{4}…[0-9A-Za-z]{4}", hint)
    assert KEY.startswith(hint[:15])
    assert KEY.endswith(hint[-4:])


def test_the_hint_gives_four_of_the_random_characters_away_and_no_more():
    first, last = api_keys.hint(KEY).split("…")
    assert len(first) - len("rq_sk_live_") == 4
    assert len(last) <= api_keys.CHECK_CHARS


def test_a_refresh_token_has_256_bits_and_only_its_digest_is_kept():
    tokens = [refresh_tokens.generate() for _ in range(500)]
    assert len(set(tokens)) == 500
    assert all(re.fullmatch(r"rq_rt_[0-9A-Za-z]{43}", token) for token in tokens)
    assert refresh_tokens.digest(tokens[0]) == hashlib.sha256(tokens[0].encode()).digest()


def test_a_refresh_token_is_never_taken_for_a_key():
    assert not api_keys.well_formed(refresh_tokens.generate())


@given(st.integers(0, 2**256 - 1))
def test_base62_is_of_fixed_width_and_can_be_read_back(number):
    text = api_keys.base62(number, 43)
    assert len(text) == 43
    value = 0
    for char in text:
        value = value * 62 + api_keys.ALPHABET.index(char)
    assert value == number


def test_the_scopes_are_those_of_the_contract():
    assert {str(scope) for scope in Scope} == ALL == {
        "keys:read", "keys:write", "webhooks:read", "webhooks:write", "renders:read", "renders:write",
        "projects:read", "projects:write", "credits:read", "uploads:write",
    }  # fmt: skip


def test_every_endpoint_asks_for_a_scope_that_exists_or_says_who_may_call():
    table = json.loads((Path(__file__).parents[2] / "terraform/functions.json").read_text())
    rows = table if isinstance(table, list) else next(value for value in table.values() if isinstance(value, list))
    asked = {row["scope"] for row in rows}
    assert asked <= ALL | {routing.PUBLIC, routing.ANY, routing.SESSION, routing.INTERNAL}
