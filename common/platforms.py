"""Which plugin is calling, by what its headers tell. A caller writes them: they may tighten, never loosen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PLATFORMS = ("sketchup", "revit", "autocad", "rhino", "archicad", "blender")
UNKNOWN = "unknown"
#: Without spaces, punctuation and the host's own version (`Rhino 8`, `Revit 2025`).
ALIASES = {
    "su": "sketchup",
    "trimblesketchup": "sketchup",
    "autodeskrevit": "revit",
    "rvt": "revit",
    "acad": "autocad",
    "autodeskautocad": "autocad",
    "rhino3d": "rhino",
    "rhinoceros": "rhino",
    "rhinoceros3d": "rhino",
    "graphisoftarchicad": "archicad",
    "blender3d": "blender",
    "bpy": "blender",
}
MAX_HEADER = 500
MAX_VERSION = 40
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9 ._-]{0,40}")
_AGENT = re.compile(
    r"(?:^|[\s(;])Renderiq-Plugin[/-]([A-Za-z][A-Za-z0-9_]{0,40})(?:/([^\s;,()]+))?", re.IGNORECASE | re.ASCII
)
#: Semantic versions, and what Ruby (`1.2.0.beta1`), Python (`1.2.0rc1`) and .NET (`1.2.0.345`) write.
_VERSION = re.compile(
    r"v?(?P<numbers>\d{1,9}(?:\.\d{1,9}){0,4})"
    r"(?:-(?P<dashed>[0-9A-Za-z.-]+)|\.?(?P<lettered>[A-Za-z][0-9A-Za-z.-]*))?"
    r"(?:\+[0-9A-Za-z.-]+)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Detected:
    """A platform's name or `unknown`, the plugin's version, and what told the platform."""

    name: str
    plugin_version: str | None
    source: Literal["header", "user_agent", "none"]


def detect(headers: Mapping[str, str]) -> Detected:
    """The platform and plugin version that `headers` tell; never fails, whatever stands in them.

    `headers` knows no case, or has the names as HTTP writes them. The version is at most 40 ASCII characters. Another
    platform's version is not taken: minimum versions are a platform's own.
    """
    version = _version(headers.get("X-Renderiq-Plugin-Version"))
    sent_name, sent_version = _from_header(headers.get("X-Renderiq-Platform"))
    agent_name, agent_version = _from_agent(headers.get("User-Agent"))
    if sent_name:
        same = agent_version if agent_name == sent_name else None
        return Detected(sent_name, version or sent_version or same, "header")
    if agent_name:
        return Detected(agent_name, version or agent_version, "user_agent")
    return Detected(UNKNOWN, version, "none")


def is_version(text: str) -> bool:
    """Whether `text` is a version that can be compared."""
    return _VERSION.fullmatch(text) is not None


def below_minimum(version: str, minimum: str) -> bool:
    """Whether `version` is older than `minimum`, in the order of semantic versions.

    Missing numbers are zeros, a pre-release is older than its release, build metadata does not count. What is no
    version at all is not older: a plugin is not refused for a header that we cannot read.
    """
    ours, least = _VERSION.fullmatch(version[:MAX_HEADER]), _VERSION.fullmatch(minimum[:MAX_HEADER])
    return bool(ours and least and _sortable(ours) < _sortable(least))


def _from_header(text: str | None) -> tuple[str | None, str | None]:
    """Platform and version of `sketchup` or `SketchUp/1.2.0 (anything)`."""
    name, _, rest = (text or "")[:MAX_HEADER].partition("/")
    words = rest.split(maxsplit=1)
    return _name(name.strip()), _version(words[0]) if words else None


def _from_agent(text: str | None) -> tuple[str | None, str | None]:
    """Platform and version of a User-Agent with `Renderiq-Plugin/SketchUp/1.0.0` in it."""
    found = _AGENT.search((text or "")[:MAX_HEADER])
    return (_name(found[1]), _version(found[2])) if found else (None, None)


def _name(text: str) -> str | None:
    if not _NAME.fullmatch(text):
        return None
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    for candidate in (plain, plain.rstrip("0123456789")):
        name = ALIASES.get(candidate, candidate)
        if name in PLATFORMS:
            return name
    return None


def _version(text: str | None) -> str | None:
    plain = (text or "")[:MAX_HEADER].strip()
    if len(plain) > MAX_VERSION or not _VERSION.fullmatch(plain):
        return None
    return plain.lstrip("vV")


def _sortable(found: re.Match[str]) -> tuple[list[int], bool, list[tuple[int, int, str]]]:
    """Numbers, then releases after pre-releases, then the pre-release's parts: numbers before letters.

    Digits count as numbers even where no dot parts them: `rc10` comes after `rc9`.
    """
    numbers = [int(number) for number in found["numbers"].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    before = found["dashed"] or found["lettered"]
    parts = re.findall(r"\d+|[a-z]+", (before or "").lower())
    return numbers, before is None, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
