"""The sky behind the subject. Imports numpy: import it only while rendering."""

from dataclasses import dataclass

import numpy as np

from common.engines.studio_filters import Array, Bytes, Index, sample
from common.engines.studio_look import Look

_GRID = 256


@dataclass(frozen=True)
class Sky:
    """Colour by height, clouds over it; `bottom` is the lowest row (0..1) where the sky shows."""

    zenith: Array
    horizon: Array
    cloud: Array
    cover: Array
    bottom: float

    def at(self, rows: Index, cols: Index, shape: tuple[int, int]) -> Array:
        """(rows, cols, 3) linear, in the units of the exposed picture."""
        height = np.clip(1 - (rows + 0.5) / shape[0] / self.bottom, 0, 1).astype(np.float32)[:, None]
        mix = (height**0.65)[..., None]
        plain = self.horizon + (self.zenith - self.horizon) * mix
        cover = sample(self.cover, rows, cols, shape) * np.minimum(height * 4, 1)
        return np.asarray(plain + cover[..., None] * (self.cloud - plain), np.float32)


def sky_for(look: Look, background: Bytes | None, seed: int) -> Sky:
    """The look's sky, down to the lowest row of `background` that is mostly sky or has any."""
    bottom = 1.0
    if background is not None:
        rows = np.flatnonzero(background.max(axis=1) > 127)  # noqa: PLR2004 - half of a byte
        bottom = max(float(rows[-1] + 1) / background.shape[0], 0.1) if rows.size else 1.0
    zenith, horizon = np.asarray(look.zenith, np.float32), np.asarray(look.horizon, np.float32)
    white = 0.75 * horizon + 0.25 * float(horizon.max())
    return Sky(zenith, horizon, white.astype(np.float32), look.clouds * _clouds(seed), bottom)


def _clouds(seed: int) -> Array:
    """(256, 256) 0..1: octaves of seeded noise, drawn out sideways as clouds near the horizon are."""
    rng = np.random.Generator(np.random.PCG64(seed))
    at = np.arange(_GRID)
    total = np.zeros((_GRID, _GRID), np.float32)
    weight = 1.0
    for cells in (3, 6, 12, 24, 48):
        grid = rng.random((2 * cells, cells), np.float32)
        smooth = sample(grid, at, at, (_GRID, _GRID))
        total += np.float32(weight) * smooth
        weight *= 0.55
    total = (total - total.min()) / max(float(np.ptp(total)), 1e-6)
    cover = np.clip((total - 0.45) / 0.4, 0, 1)
    return np.asarray(cover * cover * (3 - 2 * cover), np.float32)
