"""The small files of a data folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.local.processes import StartError


def read_json(path: Path, whole: Callable[[Any], bool]) -> dict[str, Any]:
    """What a file holds. StartError when it is damaged, or written by another version: when it is not `whole`."""
    told = "is damaged or of another version; `make reset` begins anew, or choose another folder with DATA="
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        good = whole(found)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise StartError(f"{path} {told}") from None
    if not good:
        raise StartError(f"{path} {told}")
    return found


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; only its owner may read it."""
    draft = path.with_name(path.name + ".tmp")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
