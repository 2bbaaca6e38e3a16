"""Whether a PNG has all its rows. Pillow takes a stream that ends early but well for a picture whose rest is black."""

import struct
import zlib
from collections.abc import Iterator

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: Adam7 (PNG specification, 8.2): first column, first row, and the steps to the next.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE, _PART = 65_536, 1 << 20


def has_all_rows(data: bytes) -> bool:
    """Inflates `data`, a whole PNG file, in constant memory. struct.error, KeyError, zlib.error when it is none."""
    missing = _raw_size(data)
    inflater = zlib.decompressobj()
    for piece in _pieces(data):
        missing -= len(inflater.decompress(piece, _PART))
        while missing > 0 and inflater.unconsumed_tail:
            missing -= len(inflater.decompress(inflater.unconsumed_tail, _PART))
        if missing <= 0:
            return True
    return False


def _raw_size(data: bytes) -> int:
    """Bytes of all rows, each with its filter's byte."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = ((len(range(x, width, dx)), len(range(y, height, dy))) for x, y, dx, dy in passes)
    return sum(rows * (1 + (cols * depth * _CHANNELS[colour] + 7) // 8) for cols, rows in sizes if cols)


def _pieces(data: bytes) -> Iterator[memoryview]:
    """The IDAT chunks' contents, a little at a time."""
    view, at = memoryview(data), 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            content = view[at + 8 : at + 8 + length]
            yield from (content[i : i + _PIECE] for i in range(0, len(content), _PIECE))
        at += 12 + length
