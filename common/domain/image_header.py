"""What a picture's header says, read without decoding anything: PNG, JPEG and WebP.

Pillow would have to be given the whole file for WebP and refuses headers that are cut off.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

#: All that PNG and WebP need; a JPEG's size may stand behind megabytes of metadata.
SHORT, LONG = 65_536, 16_777_216

#: Enough of a file's end to see how it ends.
END = 4096
_IEND = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD8)}
_END = {0xD9, 0xDA}


class NotAnImageError(ValueError):
    """The bytes are no PNG, JPEG or WebP."""


@dataclass(frozen=True, slots=True)
class Header:
    """A picture's type and its size in pixels."""

    content_type: Literal["image/png", "image/jpeg", "image/webp"]
    width: int
    height: int


def parse(start: bytes) -> Header | None:
    """The header in a file's first bytes, or None when it goes on behind them. NotAnImageError."""
    try:
        header = _parse(start)
    except (struct.error, IndexError):
        return None
    if header.width < 1 or header.height < 1:
        raise NotAnImageError("it has no pixels")
    return header


def check_end(header: Header, start: bytes, end: bytes, size: int) -> None:
    """NotAnImageError when a file of `size` bytes does not end where its picture does.

    One that was cut off is refused here and not in a render, and one that goes on behind its picture (a polyglot: an
    archive, a page) is not taken for one. `start` and `end` are its first and last bytes, 16 at least of each.
    """
    match header.content_type:
        case "image/png":
            whole = end.endswith(_IEND)
        case "image/jpeg":
            whole = end.rstrip(b"\x00").endswith(b"\xff\xd9")  # some cameras fill up with zeros
        case "image/webp":
            whole = int.from_bytes(start[4:8], "little") + 8 == size
    if not whole:
        raise NotAnImageError("it does not end where its picture does")


def _parse(start: bytes) -> Header:
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(start)
    if start.startswith(b"\xff\xd8\xff"):
        return _jpeg(start)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _webp(start)
    raise NotAnImageError("it begins like no PNG, JPEG or WebP")


def _png(start: bytes) -> Header:
    length, kind, width, height = struct.unpack_from(">I4sII", start, 8)
    (crc,) = struct.unpack_from(">I", start, 29)
    if (length, kind) != (13, b"IHDR") or zlib.crc32(start[12:29]) != crc:
        raise NotAnImageError("its PNG header is broken")
    return Header("image/png", width, height)


def _jpeg(start: bytes) -> Header:
    """Walk from marker to marker up to the frame header (SOF), which holds the size."""
    at = 2
    while True:
        if start[at] != 0xFF:  # noqa: PLR2004 - each marker begins with it
            raise NotAnImageError("its JPEG segments are broken")
        marker = start[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _SOF:
            height, width = struct.unpack_from(">HH", start, at + 5)
            return Header("image/jpeg", width, height)
        elif marker in _END or marker == 0:
            raise NotAnImageError("its JPEG data comes before its size")
        else:
            at += 2 + max(2, struct.unpack_from(">H", start, at + 2)[0])


def _webp(start: bytes) -> Header:
    match start[12:16]:
        case b"VP8X":
            width = 1 + int.from_bytes(_exactly(start, 24, 3), "little")
            height = 1 + int.from_bytes(_exactly(start, 27, 3), "little")
        case b"VP8L":
            mark, bits = struct.unpack_from("<BI", start, 20)
            if mark != 0x2F:  # noqa: PLR2004 - the signature of lossless data
                raise NotAnImageError("its WebP header is broken")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            mark, width, height = struct.unpack_from("<3sHH", start, 23)
            if mark != b"\x9d\x01\x2a":
                raise NotAnImageError("its WebP header is broken")
            width, height = width & 0x3FFF, height & 0x3FFF
        case kind if len(kind) == 4:  # noqa: PLR2004 - a whole name of a chunk
            raise NotAnImageError("its WebP header is broken")
        case _:
            raise IndexError
    return Header("image/webp", width, height)


def _exactly(data: bytes, at: int, length: int) -> bytes:
    if len(data) < at + length:
        raise IndexError
    return data[at : at + length]
