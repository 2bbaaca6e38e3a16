"""The resumable upload protocol: https://cloud.google.com/storage/docs/performing-resumable-uploads."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.local.storage.errors import invalid
from tools.local.storage.model import Object, Session
from tools.local.storage.preconditions import Declared
from tools.local.storage.store import QUANTUM, Store

_RANGE = re.compile(r"bytes (?:(?P<first>\d{1,18})-(?P<last>\d{1,18})|\*)/(?P<total>\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True)
class Chunk:
    """What a PUT says of its bytes. `end` is one past the last; `start` is None for a question of the status."""

    start: int | None
    end: int
    total: int | None


def parse(content_range: str, length: int) -> Chunk:
    """The chunk of a `Content-Range`; without one the whole object comes at once."""
    if not content_range:
        return Chunk(0, length, length)
    found = _RANGE.fullmatch(content_range)
    if not found:
        raise invalid(f"Malformed Content-Range {content_range!r}.")
    total = None if found["total"] == "*" else int(found["total"])
    if found["first"] is None:
        return Chunk(None, 0, total)
    start, end = int(found["first"]), int(found["last"]) + 1
    if end - start != length or (total is not None and end > total):
        raise invalid("Content-Range does not fit the content.")
    if length < QUANTUM and end != total:
        raise invalid(
            "The number of bytes uploaded is required to be equal or greater than 262144, except for the final request"
            f" (it's recommended to be the exact multiple of 262144). The received request contained {length} bytes."
        )
    return Chunk(start, end, total)


def receive(store: Store, session: Session, chunk: Chunk, body: Iterator[bytes], declared: Declared) -> Object | int:
    """The finished object, or how many bytes are kept so far.

    A chunk may overlap what is kept, but not leave a gap: then nothing of it is kept. What was cut short is kept
    up to a multiple of 256 KiB. `declared` are the checksums that came with the last chunk.
    """
    if session.done is not None:
        return store.find(session.name, session.done)
    total = chunk.total if chunk.total is not None else session.total
    if session.total is not None and chunk.total not in (None, session.total):
        raise invalid("The total size differs from the one declared.")
    kept = store.kept(session, total)
    if total is not None and chunk.end > total:
        raise invalid("There are more bytes than the total size.")
    if chunk.start is not None and chunk.start <= kept:
        _append(store.file_of(session), kept, body, skip=kept - chunk.start)
        kept = store.kept(session, total)
    if kept != total:
        return kept
    return store.finish(session, declared)


def _append(path: Path, kept: int, body: Iterator[bytes], skip: int) -> None:
    """Write the body, but for its first `skip` bytes, after the first `kept` bytes of the file."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(kept)
        file.seek(kept)
        for data in body:
            file.write(data[skip:])
            skip = max(0, skip - len(data))
