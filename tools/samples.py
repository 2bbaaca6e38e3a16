"""A contact sheet of the studio engine over the sample pictures: what a change to it does, at a glance.

`python -m tools.samples [--out DIR]` writes `contact-sheet.jpg`: a row for each sample, with and without
its passes, a column for each prompt, each with a caption.
"""

import argparse
import io
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from common.engines import Job, choose

_SAMPLES = Path(__file__).parent.parent / "docs" / "samples"
_PROMPTS = ("a bright day", "misty morning", "sunset, dramatic", "overcast", "night")
_CELL = (480, 300)
_CAPTION = 20
_TIME_LIMIT = 120.0  # seconds for one picture


@dataclass(frozen=True)
class _Row:
    snapshot: str
    passes: tuple[str, ...] = ()


_ROWS = (
    _Row("room_viewport"),
    _Row("room_viewport", ("depth", "normal")),
    _Row("room_flat", ("depth", "normal")),
    _Row("room_flat", ("depth",)),
    _Row("room_flat", ("normal",)),
    _Row("blender_viewport"),
    _Row("house_shaded"),
    _Row("house_lines"),
)


def main() -> None:
    """Write the sheet and say where."""
    parser = argparse.ArgumentParser(description="Write a contact sheet of the studio engine.")
    parser.add_argument("--out", type=Path, default=_SAMPLES, help="the folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    path = out / "contact-sheet.jpg"
    contact_sheet().save(path, quality=88, optimize=True)
    print(path)


def contact_sheet() -> Image.Image:
    """Every sample with every prompt, the snapshot itself in the first column."""
    width, height = _CELL[0], _CELL[1] + _CAPTION
    sheet = Image.new("RGB", (width * (1 + len(_PROMPTS)), height * len(_ROWS)), "white")
    for y, row in enumerate(_ROWS):
        _paste(sheet, (0, y * height), _sample(row.snapshot), f"{row.snapshot}: as sent")
        for x, prompt in enumerate(_PROMPTS, start=1):
            started = time.monotonic()
            picture = _render(row, prompt)
            passes = " + ".join(row.passes) or "no passes"
            caption = f"{row.snapshot}, {passes}: {prompt} ({time.monotonic() - started:.1f} s)"
            _paste(sheet, (x * width, y * height), picture, caption)
    return sheet


def _sample(name: str) -> bytes:
    return (_SAMPLES / f"{name}.png").read_bytes()


def _render(row: _Row, prompt: str) -> bytes:
    job = Job(
        snapshot=_sample(row.snapshot),
        depth=_sample("room_depth") if "depth" in row.passes else None,
        normal=_sample("room_normal") if "normal" in row.passes else None,
        prompt=prompt,
        style=None,
        quality="standard",
        seed=0,
        geometry_fidelity=None,
        deadline=time.monotonic() + _TIME_LIMIT,
    )
    return choose("studio").render(job, lambda _stage: None)[0].data


def _paste(sheet: Image.Image, at: tuple[int, int], data: bytes, caption: str) -> None:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.thumbnail(_CELL, Image.Resampling.LANCZOS)
    sheet.paste(picture, at)
    ImageDraw.Draw(sheet).text((at[0] + 4, at[1] + _CELL[1] + 3), caption, fill="black", font_size=12)


if __name__ == "__main__":
    main()
