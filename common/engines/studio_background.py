"""Finding a flat background that reaches the top edge. Imports numpy and Pillow: import it only while rendering."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from common.engines.studio_filters import Bytes

Mask = npt.NDArray[np.bool_]

_TOLERANCE = 2  # in 8-bit steps
# A viewport clears its background to one exact colour; a ceiling, drawn, is dithered or shaded.
_LEAST_EXACT = 0.97
_FAINT = 16  # less, doubled, is noise
_SWEEPS = 16  # what lies behind more turns than that is no background, and a maze must not take for ever


@dataclass(frozen=True)
class Background:
    """`mask` (h, w), where it is; `lines` (h, w), how much of it thin lines cover, 0..255."""

    mask: Mask
    lines: Bytes


def flat_background(rgb: Bytes) -> Background | None:
    """Where the one colour along the top edge goes on, or None when the top is not one colour."""
    height, width = rgb.shape[:2]
    if min(height, width) < 16:  # noqa: PLR2004 - too small to tell a background from the subject
        return None
    top = rgb[: max(1, height // 100)].reshape(-1, 3)
    colour = np.median(top, axis=0).astype(np.int16)
    if (top == colour).all(axis=-1).mean() < _LEAST_EXACT:
        return None
    like = np.empty((height, width), np.bool_)
    for y in range(0, height, 256):
        like[y : y + 256] = (np.abs(rgb[y : y + 256] - colour) <= _TOLERANCE).all(axis=-1)
    # To the pixel: a line that is one pixel wide holds the sky back.
    mask = _joined_to_top(like)
    return None if mask.all() else Background(mask, _thin_lines(rgb, colour))


def _thin_lines(rgb: Bytes, colour: npt.NDArray[np.int16]) -> Bytes:
    """What differs from `colour` and is nowhere 5 pixels thick: what softens the mask's edge would swallow it."""
    differs = np.empty(rgb.shape[:2], np.uint8)
    for y in range(0, len(rgb), 256):
        most = np.abs(rgb[y : y + 256] - colour).max(axis=-1)
        differs[y : y + 256] = np.minimum(most * 2, 255)
    thick = Image.fromarray(np.where(differs > _FAINT, np.uint8(255), np.uint8(0)))
    for _ in range(2):
        thick = thick.filter(ImageFilter.MinFilter(3))
    for _ in range(3):
        thick = thick.filter(ImageFilter.MaxFilter(3))
    return np.where(np.asarray(thick) > 0, np.uint8(0), differs)


def _joined_to_top(mask: Mask) -> Mask:
    """The part of `mask` joined to its first row, by sweeps down and up until nothing is added."""
    reached = np.zeros_like(mask)
    reached[0] = mask[0]
    count = -1
    for _ in range(_SWEEPS):
        if count == (count := int(reached.sum())):
            break
        for order in (range(1, len(mask)), range(len(mask) - 2, -1, -1)):
            before = order.start - order.step
            for y in order:
                reached[y] |= _spread(mask[y], reached[y] | reached[before])
                before = y
    return reached


def _spread(open_: Mask, seeds: Mask) -> Mask:
    """The runs of `open_` in one row that hold a seed."""
    run = np.cumsum(~open_)
    holds = np.zeros(run[-1] + 1, np.bool_)
    holds[run[open_ & seeds]] = True
    return open_ & holds[run]
