"""Preconditions and declared checksums: https://cloud.google.com/storage/docs/request-preconditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.local.storage.errors import StorageError, invalid

NAMES = ("generation_match", "generation_not_match", "metageneration_match", "metageneration_not_match")
#: Nothing changes an object's metadata here.
METAGENERATION = 1


@dataclass(frozen=True)
class Preconditions:
    """What must hold of the present object; a generation of 0 means that there is none."""

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> "Preconditions":
        """As the JSON API has them: `ifGenerationMatch` and the like."""
        return cls(**{name: number(query.get("if" + name.title().replace("_", ""))) for name in NAMES})

    @classmethod
    def of_headers(cls, headers: Mapping[str, str]) -> "Preconditions":
        """As the XML API has them: `x-goog-if-generation-match` and the like."""
        return cls(**{name: number(headers.get("x-goog-if-" + name.replace("_", "-"))) for name in NAMES})

    def check(self, generation: int, *, reading: bool = False) -> None:
        """StorageError 412, or 304 for a read of what has not changed."""
        meta = METAGENERATION if generation else None
        if self.generation_match not in (None, generation) or self.metageneration_match not in (None, meta):
            raise StorageError(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold."
            )
        if generation == self.generation_not_match or (meta and meta == self.metageneration_not_match):
            status, code = (304, "NotModified") if reading else (412, "PreconditionFailed")
            raise StorageError(status, code, "At least one of the pre-conditions you specified did not hold.")


@dataclass(frozen=True)
class Declared:
    """Checksums in base64 that the bytes must have; None for those that were not declared."""

    md5: str | None = None
    crc32c: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str], metadata: Mapping[str, Any] | None = None) -> "Declared":
        """From `Content-MD5`, from `x-goog-hash: crc32c=…,md5=…`, and from a resource's metadata."""
        words = (word.strip().partition("=") for word in headers.get("x-goog-hash", "").split(","))
        told = {name: value for name, _, value in words if value}
        more = metadata or {}
        return cls(
            md5=more.get("md5Hash") or headers.get("content-md5") or told.get("md5"),
            crc32c=more.get("crc32c") or told.get("crc32c"),
        )

    def merged(self, later: "Declared") -> "Declared":
        """What was declared first, completed by what was declared `later`."""
        return Declared(self.md5 or later.md5, self.crc32c or later.crc32c)

    def check(self, md5: str, crc32c: str) -> None:
        """StorageError 400 `BadDigest` when the bytes are others."""
        for name, told, found in (("MD5", self.md5, md5), ("CRC32C", self.crc32c, crc32c)):
            if told and told != found:
                raise StorageError(
                    400,
                    "BadDigest",
                    f"The {name} you specified did not match what we received.",
                    Details=f"The {name} you specified in base64 ({told}) did not match what we computed ({found}).",
                )


def number(text: str | None) -> int | None:
    """A number of a query or a header. StorageError 400 when it is none."""
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise invalid(f"{text!r} is not a number.")
    return int(text)
