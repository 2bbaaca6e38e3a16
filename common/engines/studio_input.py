"""Decoding for the studio engine. Imports numpy and Pillow: import it only while rendering."""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps

from common.engines.base import EngineError, Job
from common.engines.png_rows import has_all_rows
from common.engines.studio_background import flat_background
from common.engines.studio_drawing import is_drawing
from common.engines.studio_filters import Array, Bytes, nearest, srgb_to_linear_table

MAX_PIXELS = 16_000_000
_MAX_SIDE = 16_384
_MAX_STORED_PIXELS = 100_000_000
# What Pillow's decoders raise on damaged files, as its own documentation and tests show.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What was sent, decoded.

    `rgb` (h, w, 3) at the output's size; `background` (h, w), 255 where the sky goes, or None; `depth` in
    the pass's own units and size, 0 = background, or None; `normal` (h, w, 3) as stored, or None. `drawing`:
    it is lines on paper, and there is nothing to light.
    """

    rgb: Bytes
    background: Bytes | None
    depth: Array | None
    normal: Bytes | None
    drawing: bool = False

    @property
    def has_passes(self) -> bool:
        """Whether there is anything to light the picture by."""
        return self.depth is not None or self.normal is not None

    def colour(self, shape: tuple[int, int]) -> Array:
        """(*shape, 3) linear, from the nearest pixels."""
        rows, cols = (nearest(np.arange(n), m, n) for n, m in zip(shape, self.rgb.shape[:2], strict=True))
        return srgb_to_linear_table()[self.rgb[rows][:, cols]]


def read(job: Job, scale: float, *, keep_background: bool) -> Source:
    """The job's pictures, the snapshot resized by `scale`.

    `keep_background`: a flat top may be a ceiling; only passes or transparency say otherwise.
    Raises EngineError `snapshot_unreadable`.
    """
    picture = _reduced(eight_bit(open_picture(job.snapshot, "snapshot")), Image.Resampling.BOX)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    depth = _depth(job.depth) if job.depth else None
    normal = np.asarray(_pass(job.normal, "normal pass").convert("RGB")) if job.normal else None
    nothing = _behind(depth, normal)
    if nothing is None:
        return _alone(picture, size, keep_background=keep_background)
    return Source(np.asarray(_sized(picture.convert("RGB"), size)), _soft(nothing, size), depth, normal)


def open_picture(data: bytes, what: str) -> Image.Image:
    """A decoded picture; a JPEG is decoded at 1/2, 1/4 or 1/8 when that is enough."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        pixels = picture.width * picture.height
        if pixels > _MAX_STORED_PIXELS:
            raise EngineError("snapshot_unreadable", f"The {what} has more than 100 Mpx.", retryable=False)
        if pixels > MAX_PIXELS:
            fit = (MAX_PIXELS / pixels) ** 0.5
            picture.draft(None, (int(picture.width * fit), int(picture.height * fit)))
        picture.load()
        if picture.format == "PNG" and not has_all_rows(data):
            raise EngineError("snapshot_unreadable", f"The {what} lacks some of its rows.", retryable=False)
        return ImageOps.exif_transpose(picture)
    except _UNREADABLE as error:
        raise EngineError("snapshot_unreadable", f"The {what} cannot be decoded.", retryable=False) from error


def _reduced(picture: Image.Image, how: Image.Resampling) -> Image.Image:
    """At most 16 Mpx and 16,384 a side."""
    fit = min((MAX_PIXELS / (picture.width * picture.height)) ** 0.5, _MAX_SIDE / max(picture.size), 1.0)
    if fit == 1.0:
        return picture
    if picture.mode in {"P", "PA"} and how != Image.Resampling.NEAREST:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return picture.resize((max(1, int(picture.width * fit)), max(1, int(picture.height * fit))), how)


def _pass(data: bytes, what: str) -> Image.Image:
    """A decoded pass; reduced to the nearest, as a mean of two depths or normals is neither."""
    return _reduced(open_picture(data, what), Image.Resampling.NEAREST)


def eight_bit(picture: Image.Image) -> Image.Image:
    """A 16-bit grey picture as 8-bit grey; Pillow's own conversion would cut it off at 255."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))


def _alone(picture: Image.Image, size: tuple[int, int], *, keep_background: bool) -> Source:
    """A snapshot without passes: only its own transparency or its flat top tells what is behind it."""
    clear = _with_alpha(picture)
    rgb = _on_white(clear) if clear else picture.convert("RGB")
    if is_drawing(rgb):
        return Source(np.asarray(_sized(rgb, size)), None, None, None, drawing=True)
    if clear:
        sized = _sized(clear, size)  # Pillow weighs colours by their alpha, so that none comes from behind
        return Source(np.asarray(sized.convert("RGB")), 255 - np.asarray(sized.getchannel("A")), None, None)
    found = None if keep_background else flat_background(np.asarray(rgb))
    background = _soft(found.mask, size) if found else None
    if found and background is not None:
        background = np.minimum(background, 255 - np.asarray(_sized(Image.fromarray(found.lines), size)))
    return Source(np.asarray(_sized(rgb, size)), background, None, None)


def _sized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _with_alpha(picture: Image.Image) -> Image.Image | None:
    """The picture as RGBA when some of it is transparent; not all, as what programs send that leave alpha empty."""
    if not picture.has_transparency_data:
        return None
    clear = picture.convert("RGBA")
    alpha = np.asarray(clear.getchannel("A"))
    return clear if alpha.min() < 255 and alpha.max() >= 128 else None  # noqa: PLR2004 - all, and half, of a byte


def _on_white(clear: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _depth(data: bytes) -> Array | None:
    """The pass in its own units with 0 for the background; None when it is all background."""
    picture = _pass(data, "depth pass")
    deep = picture.mode.startswith("I")
    values = np.asarray(picture if deep else picture.convert("L"))
    # The type's largest value is "nothing there"; the farthest surface of a picture need not be.
    depth = np.where(values >= (65535 if deep else 255), 0, values).astype(np.float32)
    return depth if depth.any() else None


def _behind(depth: Array | None, normal: Bytes | None) -> npt.NDArray[np.bool_] | None:
    """Where the passes have nothing; None without any."""
    if depth is not None:
        return np.asarray(depth == 0)
    if normal is not None:
        return np.asarray(((normal.astype(np.int32) - 128) ** 2).sum(axis=-1) < 32 * 32)
    return None


def _soft(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> Bytes | None:
    """The mask at the output's size, grown by a pixel and softened: no fringe of the old background."""
    if not mask.any() or mask.all():
        return None
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(picture.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.GaussianBlur(0.8)))
