"""Light, exposure, sky and tone, a strip of rows at a time so that memory does not grow with the picture.

Imports numpy: import it only while rendering.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.engines.studio_filters import (
    LUMA,
    Array,
    Bytes,
    Index,
    blur,
    dither_noise,
    guided_lines,
    nearest,
    sample,
    srgb_to_linear_table,
)
from common.engines.studio_input import Source
from common.engines.studio_light import Light
from common.engines.studio_look import Look
from common.engines.studio_sky import Sky, sky_for

_STRIP = 128
_PREVIEW = 400  # pixels across, for exposure, base and glow
_RANGE = 1.6  # stops of spread above which the tones are drawn together
_LEAST = 1e-4  # keeps logarithms finite
_NOISE = 256
_CURVE_TOP = 16.0  # the brightest light that the curve tells apart
_DAY_KEY = 0.19
_DAY_WHITE = 0.85  # what a snapshot's white is once its tones are drawn together


@dataclass(frozen=True)
class _Plan:
    """What the preview decided for every strip."""

    exposure: float
    evenness: float
    slope: Array
    offset: Array
    glow: Array
    sky: Sky | None
    noise: Array
    curve: Array


def grade(source: Source, look: Look, light: Light | None, seed: int, check: Callable[[], None]) -> Bytes:
    """(h, w, 3) sRGB at the source's size; `check` is called between strips and may raise."""
    if source.drawing:  # black on white says what it says in any light
        return source.rgb
    height, width = source.rgb.shape[:2]
    shader = _Shader(source, look, light)
    plan = _plan(shader, seed)
    out = np.empty((height, width, 3), np.uint8)
    cols = np.arange(width)
    # A strip of a very wide picture is lower, of a narrow one taller: the same memory for each.
    rows_at_once = max(1, min(height, _STRIP * 1280 // width))
    for top in range(0, height, rows_at_once):
        check()
        rows = np.arange(top, min(top + rows_at_once, height))
        out[rows[0] : rows[-1] + 1] = _finished(shader, plan, rows, cols)
    return out


class _Shader:
    """Linear light of any rows and columns of the picture, before exposure."""

    def __init__(self, source: Source, look: Look, light: Light | None) -> None:
        self.source, self.look, self.light = source, look, light
        self.shape = source.rgb.shape[:2]
        self._linear = srgb_to_linear_table()
        self._balance = _balance(look)

    def behind(self, rows: Index, cols: Index) -> Array | None:
        """How much of the sky shows, 0..1; None without a background."""
        mask = self.source.background
        return None if mask is None else mask[rows][:, cols].astype(np.float32) / np.float32(255)

    def shade(self, rows: Index, cols: Index) -> Array:
        """(rows, cols, 3)."""
        colour = self._linear[self.source.rgb[rows][:, cols]]
        if self.light is None:
            return self._veiled(colour * self._balance)
        return self._lit(colour, self.light, rows, cols)

    def _veiled(self, colour: Array) -> Array:
        """Nobody knows how far anything is: fog, which was asked for, lies evenly over the picture."""
        veil = np.float32(0.45 * max(self.look.haze - 0.25, 0))
        mist = 0.4 * np.asarray(self.look.sky, np.float32) + 0.05 * np.asarray(self.look.sun, np.float32)
        return np.asarray(colour + veil * (mist - colour), np.float32) if veil else colour

    def _lit(self, colour: Array, light: Light, rows: Index, cols: Index) -> Array:
        look = self.look
        maps = (light.facing, light.up, light.shadow, light.open)
        facing, up, shadow, openness = (sample(a, rows, cols, self.shape) for a in maps)
        sun, sky = np.asarray(look.sun, np.float32), np.asarray(look.sky, np.float32)
        tint = np.asarray(look.tint, np.float32)
        # Light from below is what the sunlit ground sends back, warmer and weaker than the sky.
        ground = (0.19 * sun + 0.26 * sky) * np.array([1.08, 1.0, 0.88], np.float32)
        above = (0.5 + 0.5 * up) * openness
        below = (0.5 - 0.5 * up) * openness * (1.0 if light.bounce is None else 0.35)
        total = (facing * shadow)[..., None] * sun + above[..., None] * sky + below[..., None] * ground
        total += (0.10 * openness)[..., None] * sky
        if light.bounce is not None:
            for i in range(3):
                total[..., i] += openness * sample(light.bounce[..., i], rows, cols, self.shape)
        lit = colour * total * tint
        distance = sample(light.distance, rows, cols, self.shape)
        veil = 1 - np.exp(-0.22 * look.haze * np.maximum(distance - 0.5, 0))
        return np.asarray(lit + veil[..., None] * (0.5 * sky + 0.04 * sun - lit), np.float32)


def _balance(look: Look) -> Array:
    """White balance of a picture that is not relit: the light's colour at half strength, luminance kept."""
    mixed = (0.55 * np.asarray(look.sun) + 0.9 * np.asarray(look.sky)) ** 0.6 * np.asarray(look.tint)
    return np.asarray(mixed / float(mixed @ LUMA), np.float32)


def _plan(shader: _Shader, seed: int) -> _Plan:
    height, width = shader.shape
    look = shader.look
    shape = tuple(max(1, min(n, round(n * _PREVIEW / max(height, width)))) for n in (height, width))
    rows, cols = (nearest(np.arange(n), full, n) for n, full in zip(shape, (height, width), strict=True))
    picture = shader.shade(rows, cols)
    behind = shader.behind(rows, cols)
    luminance = picture @ LUMA
    subject = luminance if behind is None else luminance[behind < 0.5]  # noqa: PLR2004 - half
    exposure = _exposure(subject, look, lit=shader.light is not None)
    tone = np.log2(luminance * exposure + _LEAST)
    slope, offset = guided_lines(tone, tone, max(2, _PREVIEW // 20), 0.15)
    spread = float(np.log2(subject * exposure + _LEAST).std()) if subject.size else 0.0
    sky = None
    bright = picture * exposure
    if behind is not None:
        sky = sky_for(look, shader.source.background, seed)
        bright = bright + (sky.at(rows, cols, shader.shape) - bright) * behind[..., None]
    # By luminance: by channel, what is white in a low sun would glow red.
    above = np.clip(1 - 0.9 / np.maximum(bright @ LUMA, _LEAST), 0, 1)
    over = np.minimum(bright * above[..., None], 2.0)
    glow = np.stack([blur(over[..., i], max(1, _PREVIEW // 40)) for i in range(3)], axis=-1)
    evenness = min(1.0, _RANGE / max(spread, _LEAST))
    gain = _local_contrast(tone, slope * tone + offset, look, evenness)
    seen = luminance * exposure * gain
    white = _white(seen if behind is None else seen[behind < 0.5])  # noqa: PLR2004 - half
    return _Plan(exposure, evenness, slope, offset, glow, sky, dither_noise(_NOISE, _NOISE, seed), _curve(white))


def _white(luminance: Array) -> float:
    """What comes out as white: the brightest there is, or a snapshot's white, of which darker light leaves less."""
    bright = float(np.quantile(luminance, 0.99)) if luminance.size else 0.0
    return float(np.clip(bright, _DAY_WHITE, _CURVE_TOP))


def _exposure(luminance: Array, look: Look, *, lit: bool) -> float:
    """The gain that brings the picture's mean to the look's key, held back before it burns out.

    A snapshot that is not lit anew is darkened only as the light asked for is darker than day: what is white in it,
    paper or a wall, is to be white.
    """
    if luminance.size == 0:
        return 1.0
    mean = float(np.exp2(np.mean(np.log2(luminance + 1e-3))))
    bright = float(np.quantile(luminance, 0.97))
    gain = (look.key / mean) ** 0.85 * (look.key / 0.18) ** 0.15
    # Lit anew, a picture has highlights; else its whites are surfaces, whose shading is to be seen.
    brightest, least = (3.2, 0.1) if lit else (2.5, min(1.0, look.key / _DAY_KEY))
    return float(np.clip(min(gain, brightest * look.key**0.8 / max(bright, 1e-3)), least, 8.0))


def _finished(shader: _Shader, plan: _Plan, rows: Index, cols: Index) -> Bytes:
    look, shape = shader.look, shader.shape
    picture = shader.shade(rows, cols)
    picture *= plan.exposure
    tone = np.log2(picture @ LUMA + np.float32(_LEAST))
    base = sample(plan.slope, rows, cols, shape) * tone + sample(plan.offset, rows, cols, shape)
    picture *= _local_contrast(tone, base, look, plan.evenness)[..., None]
    if look.saturation != 1:
        grey = (picture @ LUMA)[..., None]
        picture = np.maximum(grey + (picture - grey) * np.float32(look.saturation), 0)
    behind = shader.behind(rows, cols)
    if behind is not None and plan.sky is not None and behind.any():
        picture += (plan.sky.at(rows, cols, shape) - picture) * behind[..., None]
    for i in range(3):
        picture[..., i] += np.float32(look.glow) * sample(plan.glow[..., i], rows, cols, shape)
    picture *= _vignette(look, rows, cols, shape)[..., None]
    return _toned(picture, plan, rows, cols)


def _local_contrast(tone: Array, base: Array, look: Look, evenness: float) -> Array:
    """The gain that evens out the base (large areas) a little and lifts the detail (texture, edges).

    `evenness` below 1 does it more: a snapshot that was shaded already and is lit again spans more than is seen.
    """
    detail = tone - base
    # What is as small as a viewport's own 8-bit noise is left alone.
    kept = detail * detail / (detail * detail + 0.0016)
    middle = np.log2(look.key)
    gain = (0.90 * look.contrast * evenness - 1) * (base - middle) + (look.detail - 1) * np.clip(
        detail * kept, -0.6, 0.6
    )
    return np.asarray(np.exp2(np.clip(gain, -1.5, 1.5)), np.float32)


def _vignette(look: Look, rows: Index, cols: Index, shape: tuple[int, int]) -> Array:
    y = ((rows + 0.5) / shape[0] * 2 - 1).astype(np.float32)
    x = ((cols + 0.5) / shape[1] * 2 - 1).astype(np.float32)
    away = (y[:, None] ** 2 + x[None, :] ** 2) ** 1.25
    return np.asarray(np.clip(1 - look.vignette * away, 0.2, 1), np.float32)


def _curve(white: float) -> Array:
    """65,536 values 0..255: a filmic curve that is 255 at `white`, and the sRGB gamma, by square root."""
    film = np.clip(_film((np.arange(65536) / 65535) ** 2 * _CURVE_TOP) / _film(np.array(white)), 0, 1)
    curved = 1.055 * np.maximum(film, 1e-9) ** (1 / 2.4) - 0.055
    gamma = np.where(film <= 0.0031308, film * 12.92, curved)  # noqa: PLR2004 - sRGB
    return (gamma * 255).astype(np.float32)


def _film(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Narkowicz's fit of the ACES curve."""
    x = light * 0.8
    return np.asarray(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14))


def _toned(picture: Array, plan: _Plan, rows: Index, cols: Index) -> Bytes:
    place = np.sqrt(np.clip(picture, 0, _CURVE_TOP) * np.float32(1 / _CURVE_TOP)) * np.float32(65535)
    noise = plan.noise[rows % _NOISE][:, cols % _NOISE]
    toned = plan.curve[place.astype(np.uint16)] + noise[..., None] * np.float32(0.75) + np.float32(0.5)
    return np.asarray(np.clip(toned, 0, 255), np.uint8)
