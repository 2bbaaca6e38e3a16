"""Where the sun stands and what it and the sky reach. Imports numpy: import it only while rendering."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.engines.studio_bounce import bounced
from common.engines.studio_filters import Array, Bytes, Index, Map, box, guided
from common.engines.studio_look import Look
from common.engines.studio_scene import FAR, Scene, positions, unpack

_TURNS = (25, 45, 65, 85, 105)  # degrees the sun may stand aside of the camera's back
_STEPS = 96
_REACH = 1.4  # length of a shadow ray, in median depths
_THICK = 0.09  # how deep an occluder is taken to be, in median depths
_OFFSET = 0.0015  # in medians, lifts a ray off its own surface
_ROOF = -0.6  # surfaces that face down more than this cast no shadow: a ceiling would shut out every sun
_EYE = 0.02  # nothing nearer than this is looked at, in medians
_GRAZING = 0.01  # a smaller cosine is not lit at all
_CORNERS = 16
_CORNER_REACH = 0.09  # of ambient occlusion, in median depths
_STRIP = 128
_SCOUT = 14_000  # pixels looked at to choose the sun


@dataclass(frozen=True)
class Light:
    """Maps to enlarge to the picture: `facing` = the sun's cosine (0..1), `up` = -1..1, the rest 0..1.

    Those two have the normal pass's size when there is one. `distance` is in medians, 0 without depth.
    `bounce` (h, w, 3) is what other surfaces send, in the sun's and the sky's unit; None without depth.
    """

    facing: Map
    up: Map
    shadow: Array
    open: Array
    distance: Array
    bounce: Array | None


def light(scene: Scene, look: Look, colour: Array, normal: Bytes | None, seed: int) -> Light:
    """The scene of this (h, w, 3) linear colour under the look's sun.

    The seed chooses the sun's side when both are as good.
    """
    sun = _choose_sun(scene, look, seed)
    facing: Map = np.maximum(scene.normals @ sun, 0)
    up: Map = np.asarray(scene.normals @ scene.up, np.float32)
    ones = np.ones(scene.shape, np.float32)
    shadow, openness, distance, bounce = ones, ones, np.zeros_like(ones), None
    if scene.depth is not None:
        near = np.log(np.minimum(scene.depth, 30)).astype(np.float32)
        hard = _filled(_shadow(scene, sun, look.softness), facing > _GRAZING)
        shadow = np.clip(guided(near, hard, 2 if look.softness <= 1 else 5, 2e-4), 0, 1)
        openness = np.clip(guided(near, _openness(scene), 3, 2e-4), 0, 1)
        distance = np.where(scene.depth < FAR, scene.depth, 0).astype(np.float32)
        lit = (facing * shadow)[..., None] * np.asarray(look.sun, np.float32)
        lit += ((0.5 + 0.5 * up) * openness)[..., None] * np.asarray(look.sky, np.float32)
        bounce = bounced(scene, colour * lit)
    if normal is not None and scene.pass_to_view is not None:
        facing, up = _turned_to(normal, sun @ scene.pass_to_view, scene.up @ scene.pass_to_view)
    return Light(facing, up, shadow, openness, distance, bounce)


def _turned_to(normal: Bytes, sun: Array, up: Array) -> tuple[Map, Map]:
    """The cosines to `sun` (0..1) and `up` of each stored normal, smoothed by a pixel.

    A normal pass has hard edges: unsmoothed, the light has stairs where the snapshot has none.
    """
    height, width = normal.shape[:2]
    maps = np.empty((2, height, width), np.float16)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        rows = np.clip(np.arange(top - 1, bottom + 1), 0, height - 1)
        n = unpack(normal[rows])
        for out, cosine in zip(maps, (np.maximum(n @ sun, 0), n @ up), strict=True):
            lines = cosine[:-2] + 2 * cosine[1:-1] + cosine[2:]
            wide = np.pad(lines, ((0, 0), (1, 1)), mode="edge")
            out[top:bottom] = (wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 16
    return maps[0], maps[1]


def sun_directions(scene: Scene, elevation: float) -> list[Array]:
    """Unit vectors towards possible suns, left and right of the camera's back in turn."""
    up = scene.up.astype(np.float64)
    back = np.array([0.0, 0.0, 1.0]) - up[2] * up
    if np.linalg.norm(back) < 0.2:  # noqa: PLR2004 - looking straight down: the picture's bottom is back
        back = np.array([0.0, -1.0, 0.0]) + up[1] * up
    back /= np.linalg.norm(back)
    right = np.cross(up, back)
    high = np.radians(elevation)
    suns = []
    for turn in np.radians(_TURNS):
        for side in (-1, 1):
            flat = np.cos(turn) * back + side * np.sin(turn) * right
            suns.append((np.cos(high) * flat + np.sin(high) * up).astype(np.float32))
    return suns


def _choose_sun(scene: Scene, look: Look, seed: int) -> Array:
    """The sun that leaves about 60 % of what can be lit in light, on surfaces that differ."""
    small = _thinned(scene)
    solid = small.solid
    best, best_score = None, -np.inf
    for i, sun in enumerate(sun_directions(scene, look.elevation)):
        lit = np.maximum(small.normals @ sun, 0)
        if small.depth is not None:
            lit = lit * _shadow(small, sun, 0.0)
        values = lit[solid]
        share = float((values > 0.05).mean()) if values.size else 0.0  # noqa: PLR2004 - hardly lit at all
        contrast = float(values.std()) if values.size else 0.0
        score = contrast - abs(share - 0.6) + (0.05 if i % 2 == seed % 2 else 0.0)
        if score > best_score:
            best, best_score = sun, score
    assert best is not None, "there are always suns to choose from"  # noqa: S101 - narrows the type
    return best


def _thinned(scene: Scene) -> Scene:
    step = max(1, round((scene.shape[0] * scene.shape[1] / _SCOUT) ** 0.5))
    depth = None if scene.depth is None else scene.depth[::step, ::step]
    return Scene(depth, scene.normals[::step, ::step], scene.focal / step, scene.up, scene.pass_to_view, scene.grain)


def _jitter(at: Index, width: int) -> Array:
    """Interleaved gradient noise (Jimenez 2014), 0..1: neighbours differ, so a small blur evens it out."""
    y, x = np.divmod(at, width)
    return np.asarray(np.modf(52.9829189 * np.modf(0.06711056 * x + 0.00583715 * y)[0])[0], np.float32)


def _shadow(scene: Scene, sun: Array, softness: float) -> Array:
    """(h, w) 1 in the sun, 0 in shadow: steps from each point towards the sun over the depth map.

    `softness` widens the sun; 1 is about two degrees.
    """
    depth = scene.depth
    assert depth is not None, "a shadow needs depth"  # noqa: S101 - the caller's contract
    height, width = scene.shape
    flat_normals = scene.normals.reshape(-1, 3)
    at = np.flatnonzero((flat_normals @ sun > _GRAZING) & (depth.reshape(-1) < FAR))
    blockers = np.where(scene.normals @ scene.up < _ROOF, FAR, depth).reshape(-1)
    points = positions(depth, scene.focal).reshape(-1, 3)[at]
    offset = max(_OFFSET, 1.5 * scene.grain)
    points = points + flat_normals[at] * (offset * (1 - points[:, 2:3]))
    noise = _jitter(at, width)
    ray = _towards(sun, noise, at, width, softness) * _REACH
    free = np.ones(at.size, np.float32)
    for k in range(_STEPS):
        t = (((k + 0.25 + 0.75 * noise) / _STEPS) ** 1.7).astype(np.float32)
        z = -(points[:, 2] + ray[:, 2] * t)
        safe = np.maximum(z, _EYE)
        x = ((points[:, 0] + ray[:, 0] * t) / safe * scene.focal + width / 2).astype(np.int32)
        y = (height / 2 - (points[:, 1] + ray[:, 1] * t) / safe * scene.focal).astype(np.int32)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z > _EYE)
        there = blockers[np.clip(y, 0, height - 1) * width + np.clip(x, 0, width - 1)]
        behind = z - there
        free[inside & (behind > offset * z) & (behind < _THICK)] = 0
    out = np.ones(height * width, np.float32)
    out[at] = free
    return out.reshape(height, width)


def _filled(shadow: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Surfaces turned away get their neighbours' shadow, or smoothing would light the edges beside them."""
    weight = known.astype(np.float32)
    around = box(shadow * weight, 8) / np.maximum(box(weight, 8), 1e-3)
    return np.where(known, shadow, around).astype(np.float32)


def _towards(sun: Array, noise: Array, at: Index, width: int, softness: float) -> Array:
    """(n, 3) directions within the sun's disc, another for each pixel."""
    aside = np.array([0.0, 1.0, 0.0] if abs(sun[1]) < abs(sun[0]) else [1.0, 0.0, 0.0])
    side = np.cross(sun, aside)
    side = (side / np.linalg.norm(side)).astype(np.float32)
    other = np.cross(sun, side).astype(np.float32)
    turn = 2 * np.pi * _jitter(at + 7 * width + 13, width)
    spread = 0.02 * softness * np.sqrt(noise)
    across, along = (spread * np.cos(turn))[:, None], (spread * np.sin(turn))[:, None]
    return np.asarray(sun + across * side + along * other, np.float32)


def _openness(scene: Scene) -> Array:
    """(h, w) 1 in the open, towards 0 in corners: how much of the near hemisphere is free."""
    depth = scene.depth
    assert depth is not None, "occlusion needs depth"  # noqa: S101 - the caller's contract
    height, width = scene.shape
    at = np.flatnonzero(depth.reshape(-1) < FAR)
    flat = depth.reshape(-1)
    normals = scene.normals.reshape(-1, 3)[at]
    points = positions(depth, scene.focal).reshape(-1, 3)
    here = points[at]
    row, col = np.divmod(at, width)
    radius = np.minimum(_CORNER_REACH * scene.focal / flat[at], max(height, width) / 6).astype(np.float32)
    start = 2 * np.pi * _jitter(at, width)
    shut = np.zeros(at.size, np.float32)
    for k in range(_CORNERS):
        turn = start + k * 2.3999632  # the golden angle
        far = radius * ((k + 0.5) / _CORNERS) ** 0.75 + 1
        x = np.clip(col + far * np.cos(turn), 0, width - 1).astype(np.int32)
        y = np.clip(row + far * np.sin(turn), 0, height - 1).astype(np.int32)
        to = points[y * width + x] - here
        length = np.sqrt((to * to).sum(axis=-1)) + 1e-6
        rise = (to * normals).sum(axis=-1) / length
        shut += np.maximum(rise - 0.08, 0) * np.maximum(1 - (length / _CORNER_REACH) ** 2, 0)
    out = np.ones(height * width, np.float32)
    out[at] = np.exp(-4.0 * shut / _CORNERS)
    return out.reshape(height, width)
