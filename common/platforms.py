"""Which plugin is calling, by what its headers tell. A caller writes them: they may tighten, never loosen."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PLATFORMS = ("sketchup", "revit", "autocad", "rhino", "archicad", "blender")
UNKNOWN = "unknown"
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
_HEADER = re.compile(r"\s*([A-Za-z][A-Za-z0-9 ._-]{0,40}?)\s*(?:/\s*(\S{1,40}))?\s*")
_AGENT = re.compile(r"(?:^|[\s(;])Renderiq-Plugin[/-]([A-Za-z][A-Za-z0-9_]{0,40})(?:/(\S{1,40}))?", re.IGNORECASE)
_VERSION = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,3}(?:[-+.][0-9A-Za-z.+-]{1,24})?)")


@dataclass(frozen=True, slots=True)
class Detected:
    """A platform's name or `unknown`, the plugin's version, and what told the platform."""

    name: str
    plugin_version: str | None
    source: Literal["header", "user_agent", "none"]


def detect(headers: Mapping[str, str]) -> Detected:
    """The platform and plugin version that `headers` tell; never fails, whatever stands in them."""
    version = _version(headers.get("X-Renderiq-Plugin-Version"))
    sent = (headers.get("X-Renderiq-Platform") or "")[:MAX_HEADER]
    if found := _HEADER.fullmatch(sent):
        name = _name(found[1])
        if name:
            return Detected(name, version or _version(found[2]), "header")
    agent = _AGENT.search((headers.get("User-Agent") or "")[:MAX_HEADER])
    if agent and (name := _name(agent[1])):
        return Detected(name, version or _version(agent[2]), "user_agent")
    return Detected(UNKNOWN, version, "none")


def below_minimum(version: str, minimum: str) -> bool:
    """Whether `version` is older than `minimum`; a pre-release is older than its release.

    What is no version at all is not older: a plugin is not refused for a header that we cannot read.
    """
    if not _VERSION.fullmatch(version):
        return False
    return _sortable(version) < _sortable(minimum)


def _name(text: str) -> str | None:
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    name = ALIASES.get(plain, plain)
    return name if name in PLATFORMS else None


def _version(text: str | None) -> str | None:
    found = _VERSION.fullmatch((text or "").strip()[:40])
    return found[1] if found else None


def _sortable(version: str) -> tuple[tuple[int, ...], bool]:
    numbers, dash, _ = version.removeprefix("v").partition("+")[0].partition("-")
    parts = [int(part) for part in numbers.split(".") if part.isdigit()]
    return tuple(parts + [0] * (4 - len(parts))), not dash
