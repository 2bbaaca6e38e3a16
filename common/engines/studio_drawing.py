"""Telling a drawing from a view of a model. Imports numpy and Pillow: import it only while rendering."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.engines.studio_filters import Bytes

_BRIGHT_TOLERANCE, _DARK_TOLERANCE = 16, 4  # in 8-bit steps: what JPEG adds beside a line is paper still
_PAPER = 0.35  # of all pixels, at least, are of one exact colour; a shaded or noisy surface has none
_MOST_SURFACE = 0.004
_CELL, _CELLS = 6, 160  # a surface holds whole squares of so many pixels, or of this part of the larger side
_FULL, _BRIGHT, _HALF, _DARK = 255, 192, 128, 64


def is_drawing(picture: Image.Image) -> bool:
    """Whether an RGB picture is one flat colour, its paper, with nothing on it but lines, text and solid ink.

    Hidden-line views, sections and plans are; a shaded model on a white background is not.
    """
    rgb = np.asarray(picture)
    paper = _paper(rgb)
    if paper is None:
        return False
    cell = max(_CELL, max(picture.size) // _CELLS)
    drawn = _drawn(rgb, paper)
    solid = np.asarray(Image.fromarray(drawn.view(np.uint8) * np.uint8(255)).reduce(cell)) == _FULL
    return bool((solid & ~_ink(np.asarray(picture.reduce(cell)), paper)).mean() < _MOST_SURFACE)


def _paper(rgb: Bytes) -> npt.NDArray[np.int16] | None:
    """The one colour of much of the picture, by every nth pixel; None when no colour is."""
    step = max(1, int((rgb.shape[0] * rgb.shape[1] / 250_000) ** 0.5))
    some = rgb[::step, ::step].reshape(-1, 3)
    colours, counts = np.unique(some.astype(np.int32) @ np.array([65536, 256, 1], np.int32), return_counts=True)
    if counts.max() <= _PAPER * len(some):
        return None
    found = int(colours[counts.argmax()])
    return np.array([found >> 16, found >> 8 & 255, found & 255], np.int16)


def _drawn(rgb: Bytes, paper: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """(h, w) where there is something else than paper, a few rows at a time."""
    out = np.empty(rgb.shape[:2], np.bool_)
    tolerance = _BRIGHT_TOLERANCE if paper.mean() > _HALF else _DARK_TOLERANCE
    for y in range(0, len(rgb), 256):
        out[y : y + 256] = (np.abs(rgb[y : y + 256] - paper) > tolerance).any(axis=-1)
    return out


def _ink(rgb: Bytes, paper: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """Where a colour is as far from the paper's as the walls of a plan, which are filled with it."""
    return np.asarray((rgb < _DARK).all(axis=-1) if paper.mean() > _HALF else (rgb > _BRIGHT).all(axis=-1))
