"""Finding a flat background that reaches the top edge. Imports numpy: import it only while rendering."""

import numpy as np
import numpy.typing as npt

from common.engines.studio_filters import Bytes, nearest

Mask = npt.NDArray[np.bool_]

_TOLERANCE = 2  # in 8-bit steps
# A viewport clears its background to one exact colour; a ceiling, drawn, is dithered or shaded.
_LEAST_EXACT = 0.97
_SMALL = 400  # the joined area is searched for at this size


def flat_background(rgb: Bytes) -> Mask | None:
    """(h, w) where the one colour along the top edge goes on, or None when the top is not one colour."""
    height, width = rgb.shape[:2]
    if min(height, width) < 16:  # noqa: PLR2004 - too small to tell a background from the subject
        return None
    top = rgb[: max(1, height // 100)].reshape(-1, 3)
    colour = np.median(top, axis=0).astype(np.int16)
    if (top == colour).all(axis=-1).mean() < _LEAST_EXACT:
        return None
    step = max(1, max(height, width) // _SMALL)
    reached = _joined_to_top(_close(rgb[::step, ::step], colour))
    if reached.all():
        return None
    rows, cols = (nearest(np.arange(n), m, n) for n, m in zip((height, width), reached.shape, strict=True))
    grown = _grown(reached)
    mask = np.empty((height, width), np.bool_)
    for y in range(0, height, 256):
        mask[y : y + 256] = _close(rgb[y : y + 256], colour) & grown[rows[y : y + 256]][:, cols]
    return mask


def _close(rgb: Bytes, colour: npt.NDArray[np.int16]) -> Mask:
    return np.asarray((np.abs(rgb.astype(np.int16) - colour) <= _TOLERANCE).all(axis=-1))


def _joined_to_top(mask: Mask) -> Mask:
    """The part of `mask` joined to its first row, by sweeps down and up until nothing is added."""
    reached = np.zeros_like(mask)
    reached[0] = mask[0]
    count = -1
    while count != (count := int(reached.sum())):
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


def _grown(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    out = np.zeros_like(mask)
    for dy in range(3):
        for dx in range(3):
            out |= padded[dy : dy + height, dx : dx + width]
    return out
