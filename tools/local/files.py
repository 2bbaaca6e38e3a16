"""The small files of a data folder."""

import json
from pathlib import Path
from typing import Any

from tools.local.processes import StartError


def read_json(path: Path) -> dict[str, Any]:
    """What a file holds. StartError when it is damaged."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        raise StartError(f"{path} is damaged; `make reset` begins anew, or choose another folder with DATA=") from None
    return found


def write_private(path: Path, text: str) -> None:
    """Replace a file at once; only its owner may read it."""
    draft = path.with_name(path.name + ".tmp")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
