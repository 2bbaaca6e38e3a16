"""Sharpening and encoding. Imports Pillow: import it only while rendering."""

import io

from PIL import Image, ImageFilter

from common.engines.base import Picture
from common.engines.studio_filters import Bytes

_THUMBNAIL = 320


def pictures(pixels: Bytes) -> list[Picture]:
    """(h, w, 3) sRGB as the picture and its thumbnail, both JPEG."""
    image = Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(radius=1.1, percent=45, threshold=3))
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    return [_jpeg("picture", image, 95), _jpeg("thumbnail", small, 85)]


def _jpeg(role: str, image: Image.Image, quality: int) -> Picture:
    """4:4:4, because coloured edges of flat surfaces bleed otherwise."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=0, optimize=False)
    return Picture(role, out.getvalue(), "image/jpeg", image.width, image.height)
