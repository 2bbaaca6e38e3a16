"""Encoding results. Imports Pillow: import it only while rendering."""

import io

from PIL import Image

from common.engines.base import Picture

_THUMBNAIL = 320


def jpeg(image: Image.Image, quality: int) -> bytes:
    """4:4:4, because coloured edges of flat surfaces bleed otherwise."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=0, optimize=False)
    return out.getvalue()


def thumbnail(image: Image.Image) -> Picture:
    """A JPEG of at most 320 px a side."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    return Picture("thumbnail", jpeg(small, 85), "image/jpeg", small.width, small.height)
