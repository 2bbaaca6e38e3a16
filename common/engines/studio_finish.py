"""Sharpening and encoding. Imports Pillow: import it only while rendering."""

from PIL import Image, ImageFilter

from common.engines.base import Picture
from common.engines.encoding import jpeg, thumbnail
from common.engines.studio_filters import Bytes


def pictures(pixels: Bytes) -> list[Picture]:
    """(h, w, 3) sRGB as the picture and its thumbnail, both JPEG."""
    image = Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(radius=1.1, percent=45, threshold=3))
    return [Picture("picture", jpeg(image, 95), "image/jpeg", image.width, image.height), thumbnail(image)]
