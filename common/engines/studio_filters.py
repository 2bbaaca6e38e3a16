"""Filters over float32 arrays. Imports numpy: import it only while rendering."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Map = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Bytes = npt.NDArray[np.uint8]
Index = npt.NDArray[np.intp]

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def srgb_to_linear_table() -> Array:
    """256 linear values, one for each byte of an sRGB channel."""
    s = np.arange(256, dtype=np.float64) / 255
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4).astype(np.float32)  # noqa: PLR2004 - sRGB


def box(a: Array, radius: int) -> Array:
    """Mean over a (2r+1)² window of a (h, w) array, edges repeated; the cost does not grow with r."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(a, pad, mode="edge"), axis=axis, dtype=np.float64)
        n, width = a.shape[axis], 2 * radius + 1
        upper = np.take(total, np.arange(width, width + n), axis=axis)
        a = ((upper - np.take(total, np.arange(n), axis=axis)) / width).astype(np.float32)
    return a


def guided_lines(guide: Array, a: Array, radius: int, eps: float) -> tuple[Array, Array]:
    """The guided filter's local lines (He et al. 2010): the filtered `a` is slope * guide + offset."""
    mean_g, mean_a = box(guide, radius), box(a, radius)
    covariance = box(guide * a, radius) - mean_g * mean_a
    slope = covariance / (box(guide * guide, radius) - mean_g * mean_g + np.float32(eps))
    return box(slope.astype(np.float32), radius), box((mean_a - slope * mean_g).astype(np.float32), radius)


def guided(guide: Array, a: Array, radius: int, eps: float) -> Array:
    """`a` smoothed except across edges of `guide`; both (h, w)."""
    slope, offset = guided_lines(guide, a, radius, eps)
    return slope * guide + offset


def blur(a: Array, radius: int) -> Array:
    """Close to a Gaussian of sigma ≈ `radius`, as three box means; (h, w)."""
    for _ in range(3):
        a = box(a, radius)
    return a


def nearest(at: Index, size: int, full: int) -> Index:
    """For pixels `at` of a row of `full`, the pixel of a row of `size` that covers each."""
    return np.asarray(np.minimum((at + 0.5) * (size / full), size - 1), np.intp)


def between(at: Index, size: int, full: int) -> tuple[Index, Index, Array]:
    """For pixels `at` of a row of `full`: both neighbours in a row of `size` and the second's weight."""
    x = np.clip((at + 0.5) * (size / full) - 0.5, 0, size - 1)
    low = x.astype(np.intp)
    return low, np.minimum(low + 1, size - 1), (x - low).astype(np.float32)


def sample(a: Map, rows: Index, cols: Index, shape: tuple[int, int]) -> Array:
    """(h, w) `a` enlarged bilinearly to `shape`, at these rows and columns only."""
    y0, y1, fy = between(rows, a.shape[0], shape[0])
    x0, x1, fx = between(cols, a.shape[1], shape[1])
    top = a[y0].astype(np.float32)
    lines = top + (a[y1] - top) * fy[:, None]
    left = np.take(lines, x0, axis=1)
    return np.asarray(left + (np.take(lines, x1, axis=1) - left) * fx, np.float32)


def dither_noise(height: int, width: int, seed: int) -> Array:
    """(h, w) triangular noise in -1..1, the same for the same seed: it hides 8-bit steps."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.random((height, width), np.float32) - rng.random((height, width), np.float32)
