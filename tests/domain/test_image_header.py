"""A picture's header, of every kind that programs write, and of files that are cut off anywhere."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from common.domain.image_header import Header, NotAnImageError, parse

SIZE = (301, 97)


def written(kind, mode="RGB", **options):
    noise = np.random.default_rng(3).integers(0, 255, (SIZE[1], SIZE[0], 4), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(out, kind, **options)
    return out.getvalue()


BASELINE = written("JPEG")
PICTURES = {
    "png": (written("PNG"), "image/png"),
    "jpeg": (BASELINE, "image/jpeg"),
    "progressive jpeg": (written("JPEG", progressive=True), "image/jpeg"),
    "jpeg with metadata": (written("JPEG", exif=b"Exif\0\0" + bytes(40_000)), "image/jpeg"),
    "jpeg with fill bytes": (BASELINE[:2] + b"\xff\xff\xff" + BASELINE[2:], "image/jpeg"),
    "webp": (written("WEBP"), "image/webp"),
    "lossless webp": (written("WEBP", lossless=True), "image/webp"),
    "transparent webp": (written("WEBP", "RGBA"), "image/webp"),
}
by_kind = pytest.mark.parametrize(("data", "content_type"), PICTURES.values(), ids=PICTURES)


@by_kind
def test_the_size_is_found_whoever_wrote_the_picture(data, content_type):
    assert parse(data) == Header(content_type, *SIZE)


@by_kind
def test_a_header_that_is_cut_off_is_not_misread(data, content_type):
    for length in [*range(16, 400), *range(400, len(data), 997)]:
        assert parse(data[:length]) in (None, Header(content_type, *SIZE))


def test_a_png_whose_header_was_damaged_is_none():
    data = bytearray(PICTURES["png"][0])
    data[18] ^= 1
    with pytest.raises(NotAnImageError, match="broken"):
        parse(bytes(data))


def test_a_jpeg_without_a_size_before_its_data_is_none():
    with pytest.raises(NotAnImageError, match="before its size"):
        parse(b"\xff\xd8\xff\xda" + bytes(64))


def test_a_png_that_begins_with_another_chunk_is_none():
    chunk = struct.pack(">I", 13) + b"tEXt" + bytes(13)
    with pytest.raises(NotAnImageError, match="broken"):
        parse(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(chunk[4:])))
