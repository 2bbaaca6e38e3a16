"""Tokens that somebody made by hand.

Most are signed with the real key: what refuses them is the rule that the case is about, and not a bad signature.
"""

import hashlib
import hmac
import json
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.auth import tokens
from tests.auth.token_forge import (
    CLAIMS,
    HEADER,
    IAT,
    JWK,
    JWKS,
    NOW,
    PEM,
    derived_key,
    encode,
    forge,
    sign,
    signature,
    verify,
    without,
)  # fmt: skip

OTHER_PEM, OTHER_JWK = derived_key(2_000_003)
GOOD = forge()
PARTS = GOOD.split(".")
H, C, S = PARTS


def refused(token, reason, jwks=JWKS):
    with pytest.raises(tokens.TokenInvalid, match=reason):
        verify(token, jwks)


def test_the_forge_makes_good_tokens_when_nothing_is_changed():
    assert verify(GOOD)


@pytest.mark.parametrize(
    "header",
    [
        *(HEADER | {"alg": alg} for alg in ("none", "None", "nOnE", "", "HS256", "ES384", "ES512", "RS256", "es256")),
        *(HEADER | {"alg": alg} for alg in (None, ["ES256"], {"ES256": 1}, True, 0)),
        *(
            HEADER | {"typ": typ}
            for typ in ("JWT", "jwt", "AT+JWT", "application/at+jwt", "id+jwt", "", None, ["at+jwt"])
        ),
        *(without(HEADER, name) for name in HEADER),
        HEADER | {"jwk": OTHER_JWK},
        HEADER | {"jku": "https://evil.example/jwks.json"},
        HEADER | {"x5u": "https://evil.example/cert.pem"},
        HEADER | {"x5c": ["MIIB"]},
        HEADER | {"x5t": "AAAA"},
        HEADER | {"crit": ["exp"]},
        HEADER | {"crit": []},
        HEADER | {"b64": False, "crit": ["b64"]},
        HEADER | {"zip": "DEF"},
        HEADER | {"cty": "JWT"},
        {},
    ],
    ids=str,
)
def test_a_header_that_is_not_exactly_ours_is_refused_though_the_signature_is_good(header):
    refused(forge(header), "the header is not as ours are")


@pytest.mark.parametrize(
    "kid", ["", "unknown", "../../dev/null", "' OR 1=1 --", "\0", JWK["kid"] + " ", JWK["kid"].lower() + "x", None, 0, True,
            [JWK["kid"]], {"kid": JWK["kid"]}, "\ud800"], ids=lambda kid: type(kid).__name__,
)  # fmt: skip
def test_an_unknown_key_id_is_refused(kid):
    refused(forge(HEADER | {"kid": kid}), "no key of ours")


def test_no_algorithm_and_no_signature_is_refused():
    for alg in ("none", "None", "NONE"):
        for end in ("", "AA", S):
            refused(f"{encode(HEADER | {'alg': alg})}.{C}.{end}", "header")


@pytest.mark.parametrize("secret", [PEM, json.dumps(JWK), JWK["x"], ""], ids=["PEM", "JWK", "x", "empty"])
def test_the_public_key_is_no_shared_secret(secret):
    signed = f"{encode(HEADER | {'alg': 'HS256'})}.{C}"
    mac = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    refused(f"{signed}.{encode(mac)}", "header")


def test_a_stranger_cannot_sign_in_the_name_of_our_key():
    refused(forge(pem=OTHER_PEM), "ignature")


def test_a_key_of_ours_signs_in_its_own_name_only():
    refused(forge(pem=OTHER_PEM), "ignature", tokens.jwks([JWK, OTHER_JWK]))
    assert verify(forge(HEADER | {"kid": OTHER_JWK["kid"]}, pem=OTHER_PEM), tokens.jwks([JWK, OTHER_JWK]))


@pytest.mark.parametrize(
    "made",
    [b"", b"\0" * 64, b"\0" * 63 + b"\1", b"\xff" * 64, b"\0" * 65, signature(f"{H}.{C}") + b"\0", signature(f"{H}.{C}")[:-1],
     signature(f"{H}.{C}", der=True), signature(f"{H}."), signature(f"{H}.{encode(CLAIMS | {'sub': 'x'})}")],
    ids=["empty", "zeros", "one", "ones", "a byte more", "a byte appended", "a byte less", "DER", "of the header", "of others"],
)  # fmt: skip
def test_a_signature_of_something_else_or_in_another_form_is_refused(made):
    refused(f"{H}.{C}.{encode(made)}", "ignature")


def test_a_token_without_its_signature_is_refused():
    refused(f"{H}.{C}.SIGNATURE_REMOVED_BY_GOOGLE", ".")
    refused(f"{H}.{C}.", "ignature")


@pytest.mark.parametrize(
    "text",
    [
        '{"alg":"ES256","alg":"ES256","kid":"KID","typ":"at+jwt"}',
        '{"alg":"none","kid":"KID","typ":"at+jwt","alg":"ES256"}',
        '{"kid":"other","alg":"ES256","kid":"KID","typ":"at+jwt"}',
        '{"alg":"ES256","kid":"KID","typ":"at+jwt","\\u0061lg":"none"}',
    ],
)
def test_a_member_that_stands_twice_in_the_header_is_refused(text):
    refused(forge(text.replace("KID", JWK["kid"])), "stands twice")


@pytest.mark.parametrize(
    "more", ['"sub":"x"', '"exp":9999999999', '"\\u0065xp":1', '"x":{"y":1,"y":2}', '"x":[{"y":1,"y":1}]']
)
def test_a_member_that_stands_twice_in_the_claims_is_refused_at_any_depth(more):
    claims = json.dumps(CLAIMS)[:-1]
    refused(forge(claims=f"{claims},{more}}}"), "stands twice")
    refused(forge(claims=f"{{{more},{claims[1:]}}}"), "stands twice")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"), ("null", "not an object"), ("[]", "not an object"), ('"x"', "not an object"),
        ("1", "not an object"), ("{", "not JSON"), ("{}{}", "not JSON"), ("{'a':1}", "not JSON"), ("{} x", "not JSON"),
        ("\ufeff{}", "not JSON"), (b"\xff\xfe{}", "not JSON"), (b'{"a":"\xff"}', "not JSON"), ("[" * 2000, "not JSON"),
        ('{"a":' * 500, "not JSON"), ('{"a":' + "1" * 2000 + "e}", "not JSON"), (b"{}\0", "not JSON"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(text, reason):
    refused(forge(header=text), reason)
    refused(forge(claims=text), reason)


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize(
    "value",
    [None, True, False, float(IAT), IAT + 0.5, str(IAT), "", [IAT], {"at": IAT}, float("nan"), float("inf"), 1e308],
    ids=repr,
)
def test_a_time_that_is_no_whole_number_is_refused(name, value):
    refused(forge(claims=CLAIMS | {name: value}), "whole numbers")


@pytest.mark.parametrize("name", ["iat", "exp"])
def test_a_missing_time_is_refused(name):
    refused(forge(claims=without(CLAIMS, name)), "whole numbers")


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"exp": IAT + 3601}, "lives longer"), ({"exp": 10**10}, "lives longer"), ({"exp": 10**400}, "lives longer"),
        ({"exp": IAT}, "lives longer"), ({"exp": IAT - 1}, "lives longer"), ({"exp": -1}, "lives longer"),
        ({"exp": 0}, "lives longer"), ({"iat": -(10**18)}, "lives longer"), ({"iat": IAT - 1}, "lives longer"),
        ({"iat": 10**400, "exp": 10**400 + 1}, "future"), ({"iat": 2**63, "exp": 2**63 + 60}, "future"),
        ({"iat": IAT + 61, "exp": IAT + 120}, "future"), ({"iat": -100, "exp": -50}, "expired"),
        ({"iat": IAT - 3660, "exp": IAT - 60}, "expired"), ({"nbf": IAT}, "nbf"), ({"nbf": IAT + 900}, "nbf"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_time_that_is_none_of_ours_is_refused(times, reason):
    refused(forge(claims=CLAIMS | times), reason)


def test_a_number_of_thousands_of_digits_makes_no_difference():
    assert verify(forge(claims=json.dumps(CLAIMS)[:-1] + ',"x":' + "9" * 2000 + "}"))
    refused(forge(claims=CLAIMS | {"exp": 10**2000}), "lives longer")


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "sid", "jti"])
def test_a_missing_claim_is_refused(name):
    refused(forge(claims=without(CLAIMS, name)), name)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "sid", "jti"])
@pytest.mark.parametrize("value", [None, True, 0, 1.5, [], {}], ids=repr)
def test_a_claim_of_another_type_is_refused(name, value):
    refused(forge(claims=CLAIMS | {name: value}), ".")


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "renderiq.evil"}, {"iss": "Renderiq"}, {"iss": ""}, {"iss": ["renderiq"]},
        {"aud": ["renderiq-plugins"]}, {"aud": ["renderiq-plugins", "other"]}, {"aud": "renderiq"}, {"aud": ""},
    ],
    ids=str,
)  # fmt: skip
def test_another_issuer_or_audience_is_refused_and_a_list_is_another(changed):
    refused(forge(claims=CLAIMS | changed), ".")


@pytest.mark.parametrize("name", ["sub", "sid"])
@pytest.mark.parametrize(
    "write", [str.upper, "{{{}}}".format, "urn:uuid:{}".format, lambda text: text.replace("-", ""), "{} ".format, lambda _: "",
              lambda _: "me", lambda text: text[:-1], lambda text: text + "0"],
)  # fmt: skip
def test_an_id_in_another_form_than_ours_is_refused(name, write):
    odd = write("0190b4f0-0000-7000-8000-00000000abcd")
    refused(forge(claims=CLAIMS | {name: odd}), "not an id")


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("change", ["{}=", "{}==", "{}\n", " {}", "{}\t", "{}\0", "{}é", "+{}", "/{}", "%41{}", "{}A"])
def test_base64url_in_any_form_but_the_canonical_is_refused(place, change):
    parts = [*PARTS]
    parts[place] = change.format(parts[place])
    refused(".".join(parts), ".")


@pytest.mark.parametrize("place", [0, 1])
def test_a_part_with_padding_is_refused_even_when_it_was_signed_so(place):
    parts = [H, C]
    parts[place] += "=" * (-len(parts[place]) % 4) or "===="
    refused(sign(*parts), "base64url")


def test_the_spare_bits_of_a_last_character_are_zero():
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(S[-1]) + 1]
    refused(f"{H}.{C}.{S[:-1]}{spare}", "canonical")


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "...", H, f"{H}.{C}", f"{GOOD}.", f".{GOOD}", f"{GOOD}.{S}", f"{H}.{C}.{S}.{S}.{S}", f"{H}..{C}.{S}",
     f"Bearer {GOOD}", GOOD + "\n", "{}", '{"payload":"","signatures":[]}', "rq_sk_live_0", "\0", "é.é.é", "\ud800.a.b"],
    ids=lambda token: repr(token)[:20],
)  # fmt: skip
def test_what_is_not_three_parts_of_base64url_is_refused(token):
    refused(token, ".")


def test_a_token_above_4_kib_is_refused_before_anything_of_it_is_read():
    fitting = CLAIMS | {"x": "x" * 2500}
    assert len(forge(claims=fitting)) <= 4096
    assert verify(forge(claims=fitting))
    refused(forge(claims=CLAIMS | {"x": "x" * 3000}), "4 KiB")
    refused("." * 5_000_000, "4 KiB")


@pytest.mark.parametrize("depth", [200, 900, 1000, 1100, 1500])
def test_deep_claims_never_crash(depth):
    token = forge(claims=json.dumps(CLAIMS)[:-1] + ',"x":' + "[" * depth + "]" * depth + "}")
    try:
        verify(token)
    except tokens.TokenInvalid as error:
        assert "4 KiB" in str(error) or "not JSON" in str(error)  # noqa: PT017


@given(st.data())
def test_no_single_character_of_a_token_can_be_changed(data):
    place = data.draw(st.integers(0, len(GOOD) - 1))
    char = data.draw(st.characters(max_codepoint=255).filter(lambda char: char != GOOD[place]))
    refused(GOOD[:place] + char + GOOD[place + 1 :], ".")


@given(st.text(max_size=300) | st.text("eyJhbGciOiJ.-_=", max_size=300))
def test_nothing_that_somebody_types_is_a_token_or_a_crash(text):
    refused(text, ".")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(CLAIMS)), JSON)
def test_a_signed_token_with_an_odd_claim_is_good_only_when_the_claim_is_as_ours(name, value):
    try:
        claims = verify(forge(claims=CLAIMS | {name: value}))
    except tokens.TokenInvalid:
        return
    assert type(value) is type(CLAIMS[name])
    assert isinstance(claims.expires_at, datetime)
    assert NOW - timedelta(seconds=60) < claims.expires_at <= NOW + timedelta(seconds=3660)


@given(st.sampled_from(sorted(HEADER)) | st.text(max_size=5), JSON)
def test_a_signed_token_with_an_odd_header_is_refused(name, value):
    if HEADER.get(name) != value or name not in HEADER:
        refused(forge(HEADER | {name: value}), ".")
