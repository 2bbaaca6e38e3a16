"""Which plugin is calling: what headers tell, and which version is too old."""

import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import platforms
from common.auth.limits import BUCKETS
from common.config import ConfigError, read
from common.platforms import PLATFORMS, Detected, below_minimum, detect
from common.schemas.keys import Platform

PLATFORM, VERSION, AGENT = "X-Renderiq-Platform", "X-Renderiq-Plugin-Version", "User-Agent"


@pytest.mark.parametrize(
    ("sent", "name", "version"),
    [
        ("sketchup", "sketchup", None), ("SketchUp/1.2.0", "sketchup", "1.2.0"), ("REVIT", "revit", None),
        (" Blender / 2.0 ", "blender", "2.0"), ("SketchUp/1.2.0 (Windows; x64)", "sketchup", "1.2.0"), ("revit/", "revit", None),
        ("Rhino 8", "rhino", None), ("rhino8/1.0", "rhino", "1.0"), ("Rhino3D", "rhino", None), ("Rhinoceros 3D", "rhino", None),
        ("Autodesk Revit 2025/3.1", "revit", "3.1"), ("AutoCAD", "autocad", None), ("acad", "autocad", None),
        ("ArchiCAD 27", "archicad", None), ("Graphisoft-ArchiCAD", "archicad", None), ("Trimble SketchUp", "sketchup", None),
        ("bpy/v4.1.0", "blender", "4.1.0"), ("sketchup/not-a-version", "sketchup", None), ("auto_cad/1.0rc1", "autocad", "1.0rc1"),
    ],
)  # fmt: skip
def test_the_platform_header_tells_platform_and_version(sent, name, version):
    assert detect({PLATFORM: sent}) == Detected(name, version, "header")


@pytest.mark.parametrize(
    ("agent", "name", "version"),
    [
        ("Renderiq-Plugin/SketchUp/1.0.0", "sketchup", "1.0.0"), ("Renderiq-Plugin-SketchUp/1.0.0", "sketchup", "1.0.0"),
        ("renderiq-plugin/revit", "revit", None), ("Ruby/3.2 Renderiq-Plugin/Rhino8/2.1 (Windows)", "rhino", "2.1"),
        ("Mozilla/5.0 (Renderiq-Plugin/ArchiCAD/1.4.2; macOS)", "archicad", "1.4.2"),
        ("Renderiq-Plugin/AutoCAD/1.4.2-beta.1+build.5", "autocad", "1.4.2-beta.1+build.5"),
    ],
)  # fmt: skip
def test_else_the_user_agent_tells(agent, name, version):
    assert detect({AGENT: agent}) == Detected(name, version, "user_agent")


@pytest.mark.parametrize(
    "headers",
    [
        {}, {PLATFORM: ""}, {AGENT: "curl/8.5.0"}, {AGENT: "SketchUp/24.0 Ruby"}, {PLATFORM: "vectorworks"}, {PLATFORM: "sketch"},
        {PLATFORM: "sketchup, revit"}, {PLATFORM: "/1.0.0"}, {PLATFORM: "8"}, {AGENT: "NotRenderiq-Plugin/SketchUp/1.0.0"},
        {AGENT: "Renderiq-Plugin/Maya/1.0.0"}, {AGENT: "Renderiq-Plugin/"}, {PLATFORM: "unknown"}, {PLATFORM: "ſketchup"},
    ],
    ids=str,
)  # fmt: skip
def test_otherwise_it_is_unknown(headers):
    assert detect(headers) == Detected("unknown", None, "none")


def test_an_unknown_platform_header_leaves_it_to_the_user_agent():
    headers = {PLATFORM: "vectorworks/9.9", AGENT: "Renderiq-Plugin/Revit/1.1"}
    assert detect(headers) == Detected("revit", "1.1", "user_agent")


def test_the_version_header_comes_first_then_the_platforms_own_then_the_user_agents():
    agent = "Renderiq-Plugin/SketchUp/1.0"
    assert detect({PLATFORM: "sketchup/2.0", AGENT: agent, VERSION: "3.0"}).plugin_version == "3.0"
    assert detect({PLATFORM: "sketchup/2.0", AGENT: agent}).plugin_version == "2.0"
    assert detect({PLATFORM: "sketchup", AGENT: agent}).plugin_version == "1.0"
    assert detect({PLATFORM: "sketchup/2.0", VERSION: "newest"}).plugin_version == "2.0"
    assert detect({VERSION: "3.0"}) == Detected("unknown", "3.0", "none")


def test_a_version_of_more_than_40_characters_is_none():
    assert detect({VERSION: "1.0.0-" + "a" * 34}).plugin_version == "1.0.0-" + "a" * 34
    assert detect({VERSION: "1.0.0-" + "a" * 35}).plugin_version is None


def test_another_platforms_version_is_not_taken():
    assert detect({PLATFORM: "revit", AGENT: "Renderiq-Plugin/SketchUp/1.0"}) == Detected("revit", None, "header")


def test_every_alias_leads_to_a_platform_and_every_platform_has_a_limit_and_may_have_keys():
    assert set(platforms.ALIASES.values()) <= set(PLATFORMS)
    assert set(BUCKETS) == {"unknown", *PLATFORMS}
    assert get_args(Platform) == PLATFORMS
    assert [detect({PLATFORM: alias}).name for alias in platforms.ALIASES] == [*platforms.ALIASES.values()]


@given(st.sampled_from(PLATFORMS), st.lists(st.booleans(), min_size=8, max_size=8))
def test_names_know_no_case(name, upper):
    sent = "".join(char.upper() if up else char for char, up in zip(name, upper, strict=False))
    sent += name[len(sent) :]
    assert detect({PLATFORM: sent}).name == name
    assert detect({AGENT: f"Renderiq-Plugin/{sent}/1.0"}).name == name


HEADER = st.text(max_size=600) | st.text("Renderiq-Plugin/SketchUp 1.0+-\0é;(", max_size=600)


@given(st.dictionaries(st.sampled_from([PLATFORM, VERSION, AGENT]), HEADER))
def test_whatever_stands_in_the_headers_the_answer_is_plain_and_short(headers):
    found = detect(headers)
    assert found.name in (*PLATFORMS, "unknown")
    assert (found.name == "unknown") == (found.source == "none")
    if found.plugin_version is not None:
        assert 0 < len(found.plugin_version) <= 40
        assert found.plugin_version.isascii()
        assert found.plugin_version.isprintable()
        assert not below_minimum(found.plugin_version, found.plugin_version)


@pytest.mark.parametrize("char", [" ", "a", "1", "/", ".", "-", "Renderiq-Plugin-", "1.", "\t", "0-"])
def test_long_headers_cost_nothing(char):
    sent = char * 200_000
    start = time.perf_counter()
    for _ in range(20):
        detect({PLATFORM: sent, VERSION: sent, AGENT: sent})
        below_minimum(sent, sent)
    assert time.perf_counter() - start < 1


ORDERED = [
    "0.9", "1.0.0-1", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
    "1.0.0-rc.1", "1.0.0", "1.0.0.1", "1.0.1", "1.2", "1.9.9", "1.10.0rc1", "1.10.0", "2024.1", "2024.1.0.345",
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(ORDERED) - 1))
def test_versions_are_in_the_order_of_semantic_versions(place):
    older, newer = ORDERED[place], ORDERED[place + 1]
    assert below_minimum(older, newer)
    assert not below_minimum(newer, older)


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0.0"), ("1.2", "1.2.0.0"), ("v1.2", "1.2"), ("V1.2", "1.2"), ("1.0.0+a", "1.0.0+b"), ("1.0.0rc1", "1.0.0-rc.1"),
     ("1.0.0.beta1", "1.0.0-beta.1"), ("1.0-RC1", "1.0-rc1"), ("01.02", "1.2")],
)  # fmt: skip
def test_versions_that_are_written_differently_are_the_same(one, other):
    assert not below_minimum(one, other)
    assert not below_minimum(other, one)


@pytest.mark.parametrize(
    "odd", ["", "x", "latest", "1..2", ".1", "1.", "-1", "1.0.٣", "²", "1,0", "1 0", "1.0\n", "9" * 1000, "\0"]
)
def test_what_is_no_version_keeps_nobody_out(odd):
    assert not below_minimum(odd, "1.0.0")
    assert not below_minimum("1.0.0", odd)


NUMBERS = st.lists(st.integers(0, 999_999_999), min_size=1, max_size=4)


@given(NUMBERS, NUMBERS)
def test_plain_numbers_compare_as_numbers(one, other):
    padded = [numbers + [0] * (4 - len(numbers)) for numbers in (one, other)]
    written = [".".join(map(str, numbers)) for numbers in (one, other)]
    assert below_minimum(*written) == (padded[0] < padded[1])


@given(st.text("v0123.-+abcrc", max_size=20), st.text("v0123.-+abcrc", max_size=20))
def test_of_two_versions_at_most_one_is_older(one, other):
    assert not (below_minimum(one, other) and below_minimum(other, one))
    assert not below_minimum(one, one)


def test_minimum_versions_are_read_whatever_case_their_platforms_have():
    minimum = read({"MINIMUM_PLUGIN_VERSIONS": "SketchUp=1.2.0, revit = 2.0"}).minimum_versions
    assert minimum == {"sketchup": "1.2.0", "revit": "2.0"}


@pytest.mark.parametrize(
    "text", ["sketchup", "sketchup=", "=1.0", "sketchupp=1.0", "sketchup=new", "revit=2.0;rhino=1"]
)
def test_a_minimum_version_that_could_never_refuse_anybody_is_a_mistake(text):
    with pytest.raises(ConfigError, match="MINIMUM_PLUGIN_VERSIONS"):
        read({"MINIMUM_PLUGIN_VERSIONS": text})
