"""The geometry behind a picture: positions, normals and which way is up, from the passes.

View space: x right, y up, z towards the viewer; lengths in units of the median depth. Imports numpy: import
it only while rendering.
"""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from common.engines.studio_filters import Array, Bytes, Index, guided, nearest

Pass = TypeVar("Pass", Array, Bytes)

FAR = 1e4  # the depth given to the background
_FIT_WIDTH = 160
_FIELDS_OF_VIEW = range(20, 116, 5)  # degrees across the larger side
_USUAL_FIELD = 55
_WORST_FIT = 0.12  # mean of 1 - cos between the normals sent and the depth's own
_MISSING = 0.5  # a normal shorter than this is "nothing there"


@dataclass(frozen=True)
class Scene:
    """`depth` (h, w) along the view axis, FAR = background, or None; `normals` (h, w, 3) in view space.

    `focal` in pixels; `up` in view space; `pass_to_view` (3, 3) takes the normal pass's directions to view
    space, None when the normals come from the depth; `grain` is one step of the stored depth.
    """

    depth: Array | None
    normals: Array
    focal: float
    up: Array
    pass_to_view: Array | None
    grain: float

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the maps."""
        return self.normals.shape[0], self.normals.shape[1]

    @property
    def solid(self) -> npt.NDArray[np.bool_]:
        """Where there is a surface."""
        return np.asarray((self.normals**2).sum(axis=-1) > _MISSING**2)


def build(depth: Array | None, normal: Bytes | None, pixels: int) -> Scene:
    """The scene at no more than `pixels`, from either pass or both."""
    if depth is None:
        assert normal is not None, "a scene needs a pass"  # noqa: S101 - the caller's contract
        return _from_normals(unpack(_thinned(normal, pixels)))
    small, grain = _in_medians(_thinned(depth, pixels))
    if normal is None:
        return _from_depth(small, grain)
    shape = small.shape[:2]
    rows, cols = (nearest(np.arange(n), m, n) for n, m in zip(shape, normal.shape[:2], strict=True))
    sent = unpack(normal[rows][:, cols])
    field, radial, turn, error = _fit_camera(small, sent)
    if error > _WORST_FIT:  # the passes do not show the same thing, and only the depth can cast shadows
        return _from_depth(small, grain)
    focal = _focal(shape, field)
    planar = _planar(small, focal) if radial else small
    normals = np.asarray(sent @ turn.T, np.float32)
    normals[small >= FAR] = 0
    return Scene(planar, normals, focal, _up_of(turn), turn, grain)


def unpack(normal: Bytes) -> Array:
    """Stored normals (…, 3) as unit vectors; zero where nothing is there."""
    n = (normal.astype(np.float32) - 127.5) / 127.5
    length = np.sqrt((n * n).sum(axis=-1, keepdims=True))
    return np.where(length > _MISSING, n / np.maximum(length, _MISSING), 0).astype(np.float32)


def rays(shape: tuple[int, int], focal: float) -> tuple[Array, Array]:
    """Both x (w,) and y (h,) of the direction (x, y, -1) through each pixel's middle."""
    height, width = shape
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal
    y = (height / 2 - 0.5 - np.arange(height, dtype=np.float32)) / focal
    return x.astype(np.float32), y.astype(np.float32)


def positions(depth: Array, focal: float) -> Array:
    """(h, w, 3) points in view space."""
    x, y = rays((depth.shape[0], depth.shape[1]), focal)
    return np.stack([x[None, :] * depth, y[:, None] * depth, -depth], axis=-1).astype(np.float32)


def _thinned(a: Pass, pixels: int) -> Pass:
    """Every nth pixel, so that there are at most `pixels`.

    Not a mean: that of two depths is a surface that is not there. Not an uneven choice: that of a slope is
    a staircase.
    """
    step = math.ceil((a.shape[0] * a.shape[1] / pixels) ** 0.5)
    return a[::step, ::step]


def _in_medians(depth: Array) -> tuple[Array, float]:
    """Depth in medians, and what one step of the stored depth is in them."""
    solid = depth > 0
    median = max(float(np.median(depth[solid])), 1e-6)
    return np.where(solid, depth / median, FAR).astype(np.float32), 1 / median


def _focal(shape: tuple[int, int], field: float) -> float:
    return max(shape) / 2 / float(np.tan(np.radians(field) / 2))


def _planar(depth: Array, focal: float) -> Array:
    """Distance along the view axis from distance along the ray."""
    x, y = rays((depth.shape[0], depth.shape[1]), focal)
    along = depth / np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
    return np.where(depth >= FAR, FAR, along).astype(np.float32)


def _slope(points: Array, depth: Array, axis: int) -> Array:
    """The difference to the nearer (in depth) of both neighbours, so that an edge is not a slope."""
    ahead, behind = (np.diff(points, axis=axis, append=_edge(points, axis, -1)),
                     np.diff(points, axis=axis, prepend=_edge(points, axis, 0)))  # fmt: skip
    jump_ahead = np.abs(np.diff(depth, axis=axis, append=_edge(depth, axis, -1)))
    jump_behind = np.abs(np.diff(depth, axis=axis, prepend=_edge(depth, axis, 0)))
    ends = np.arange(depth.shape[axis])
    shape = (-1, 1) if axis == 0 else (1, -1)
    first, last = (ends == 0).reshape(shape), (ends == len(ends) - 1).reshape(shape)
    take_ahead = (first | (jump_ahead <= jump_behind)) & ~last
    return np.asarray(np.where(take_ahead[..., None], ahead, behind), np.float32)


def _edge(a: Array, axis: int, at: int) -> Array:
    return np.take(a, [at], axis=axis)


def _normals_of(depth: Array, focal: float) -> Array:
    """(h, w, 3) unit normals of the surface in the depth; zero on the background."""
    points = positions(depth, focal)
    normal = np.cross(_slope(points, depth, 1), -_slope(points, depth, 0))
    length = np.sqrt((normal**2).sum(axis=-1, keepdims=True))
    facing = np.array([0, 0, 1], np.float32)
    unit = np.where(length > 1e-12, normal / np.maximum(length, 1e-12), facing)  # noqa: PLR2004 - no area
    return np.where(depth[..., None] < FAR, unit, 0).astype(np.float32)


def _from_depth(depth: Array, grain: float) -> Scene:
    focal = _focal((depth.shape[0], depth.shape[1]), _USUAL_FIELD)
    near = np.log(np.minimum(depth, 20)).astype(np.float32)
    smooth = np.where(depth < FAR, np.exp(guided(near, near, 2, 1e-6)), FAR).astype(np.float32)
    raw = _normals_of(smooth, focal)
    # 8- and 16-bit depth is a staircase: its normals are averaged along the surface, not across edges.
    fine = np.stack([guided(near, np.ascontiguousarray(raw[..., i]), 3, 1e-4) for i in range(3)], axis=-1)
    length = np.maximum(np.sqrt((fine**2).sum(axis=-1, keepdims=True)), 1e-3)
    normals = np.where(depth[..., None] < FAR, fine / length, 0).astype(np.float32)
    return Scene(depth, normals, focal, _floor_direction(normals), None, grain)


def _from_normals(sent: Array) -> Scene:
    """World normals alone: z is up, and the camera stands where most surfaces face."""
    towards = sent.reshape(-1, 3).sum(axis=0) * (1, 1, 0)
    size = float(np.hypot(towards[0], towards[1]))
    z = towards / size if size > 1e-3 else np.array([0, -1, 0])  # noqa: PLR2004 - no direction
    up = np.array([0, 0, 1])
    turn = np.stack([np.cross(up, z), up, z]).astype(np.float32)
    normals = np.asarray(sent @ turn.T, np.float32)
    focal = _focal((sent.shape[0], sent.shape[1]), _USUAL_FIELD)
    return Scene(None, normals, focal, np.array([0, 1, 0], np.float32), turn, 0.0)


def _fit_camera(depth: Array, sent: Array) -> tuple[float, bool, Array, float]:
    """Field of view, kind of depth and turn with which the depth's normals are those sent, and the error."""
    step = max(1, max(depth.shape) // _FIT_WIDTH)
    depth, sent = depth[::step, ::step], sent[::step, ::step]
    best: tuple[float, bool, Array, float] = (_USUAL_FIELD, False, np.eye(3, dtype=np.float32), 2.0)
    for field in _FIELDS_OF_VIEW:
        focal = _focal((depth.shape[0], depth.shape[1]), field)
        for radial in (False, True):
            own = _normals_of(_planar(depth, focal) if radial else depth, focal)
            turn, error = _turn(sent.reshape(-1, 3), own.reshape(-1, 3))
            if error < best[3] - 1e-4:
                best = (field, radial, turn, error)
    return best


def _turn(sent: Array, own: Array) -> tuple[Array, float]:
    """The rotation (Kabsch) from `sent` to `own`, fitted again without the worst, and mean 1 - cos."""
    both: Index = np.flatnonzero(((sent**2).sum(axis=-1) > 0) & ((own**2).sum(axis=-1) > 0))
    turn, error = np.eye(3, dtype=np.float32), 2.0
    for _ in range(3):
        if both.size == 0:
            return turn, 2.0
        u, _s, vt = np.linalg.svd(own[both].T.astype(np.float64) @ sent[both])
        turn = (u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt).astype(np.float32)
        off = 1 - ((sent[both] @ turn.T) * own[both]).sum(axis=-1)
        error = float(np.minimum(off, 0.5).mean())
        both = both[off <= max(float(np.quantile(off, 0.8)), 1e-6)]
    return turn, error


def _up_of(turn: Array) -> Array:
    """The view direction of the world's up: z, unless y is clearly what the camera holds upright."""
    z, y = turn[:, 2], turn[:, 1]
    return np.asarray(y if y[1] > 0.8 and abs(z[1]) < 0.5 else z, np.float32)  # noqa: PLR2004 - see above


def _floor_direction(normals: Array) -> Array:
    """Which way floors face, near the picture's up; y itself when there is no floor."""
    up = np.array([0, 1, 0], np.float32)
    flat = normals.reshape(-1, 3)
    for least in (0.6, 0.85, 0.95):
        near = flat[flat @ up > least]
        if len(near) < 0.02 * len(flat):
            return up
        mean = near.mean(axis=0)
        up = (mean / np.linalg.norm(mean)).astype(np.float32)
    return up
