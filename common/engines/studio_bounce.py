"""One bounce: the light that surfaces in the picture send to each other. Imports numpy: import it only while rendering.

Every cell of a coarse grid gathers from every other what is sent its way, as irradiance by direction (spherical
harmonics of the first order, Ramamoorthi and Hanrahan 2001), so that the fine normals decide what they take of it.
What stands in between is not looked for; the light is soft, and openness darkens what is shut in.
"""

import math

import numpy as np

from common.engines.studio_filters import Array, box, sample
from common.engines.studio_scene import FAR, Scene, positions

_CELLS = 64  # along the larger side, at most
_CELL = 8  # pixels of the scene that a cell has along a side, at least: a draft's light is coarser
_BLOCK = 256  # receivers at once
_SOFT = 4.0  # in areas of a cell: what lies right beside is as if it lay a little away, or it would show as a spot


def bounced(scene: Scene, sent: Array) -> Array:
    """(h, w, 3) light on each surface by the (h, w, 3) light that the others send, in its unit."""
    depth = scene.depth
    assert depth is not None, "a bounce needs depth"  # noqa: S101 - the caller's contract
    step = max(_CELL, math.ceil(max(scene.shape) / _CELLS))
    rows, cols = (slice(min(step, n) // 2, None, step) for n in scene.shape)
    coarse = (rows, cols)
    points = positions(depth, scene.focal)[coarse]
    solid = depth[coarse] < FAR
    mean = np.stack([box(sent[..., i], step // 2) for i in range(3)], axis=-1)[coarse]
    fields = np.zeros((4, *solid.shape, 3), np.float32)
    fields[:, solid] = _gathered(points[solid], scene.normals[coarse][solid], mean[solid], step / scene.focal)
    smooth = np.stack([box(field, 1) for field in fields.transpose(0, 3, 1, 2).reshape(12, *solid.shape)])
    return _received(scene, smooth.reshape(4, 3, *solid.shape), box(solid.astype(np.float32), 1))


def _gathered(points: Array, normals: Array, sent: Array, angle: float) -> Array:
    """(4, n, 3): what arrives at each point, then its sums along x, y and z.

    `angle` is a cell's width as the camera sees it, in radians.
    """
    away = np.sqrt((points**2).sum(axis=-1))
    facing = np.maximum(-(points * normals).sum(axis=-1) / np.maximum(away, 1e-6), 0.15)
    area = ((away * angle) ** 2 / facing).astype(np.float32)
    out = np.empty((4, len(points), 3), np.float32)
    for start in range(0, len(points), _BLOCK):
        here = slice(start, start + _BLOCK)
        to = points[None] - points[here, None]
        square = (to**2).sum(axis=-1) + np.float32(1e-9)
        to /= np.sqrt(square)[..., None]
        leaving = np.maximum(-np.einsum("rsi,si->rs", to, normals), 0)
        share = (area * leaving / (square + _SOFT * area)).astype(np.float32)
        out[0, here] = share @ sent
        for axis in range(3):
            out[1 + axis, here] = (share * to[..., axis]) @ sent
    return out


def _received(scene: Scene, fields: Array, solid: Array) -> Array:
    """The light of the coarse fields (4, 3, …) on the fine normals; `solid` is the share that is surface."""
    height, width = scene.shape
    rows, cols = np.arange(height), np.arange(width)
    known = np.maximum(sample(solid, rows, cols, scene.shape), 1e-3)
    out = np.empty((height, width, 3), np.float32)
    for i in range(3):
        fine = [sample(fields[k, i], rows, cols, scene.shape) / known for k in range(4)]
        along = sum(fine[1 + axis] * scene.normals[..., axis] for axis in range(3))
        out[..., i] = np.maximum(0.25 * fine[0] + 0.5 * along, 0) / math.pi
    return out
