"""What is stored: objects, and the upload sessions that become objects."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.local.storage.preconditions import METAGENERATION, Declared, Preconditions


@dataclass(frozen=True)
class Object:
    """An object's metadata. `md5` and `crc32c` are base64; `created` is Unix seconds."""

    name: str
    generation: int
    size: int
    file: Path
    content_type: str
    md5: str
    crc32c: str
    created: float

    @property
    def md5_hex(self) -> str:
        """The MD5 as the XML API's ETag has it."""
        return base64.b64decode(self.md5).hex()

    def headers(self) -> dict[str, str]:
        """As the XML API shows it."""
        return {
            "ETag": f'"{self.md5_hex}"',
            "x-goog-generation": str(self.generation),
            "x-goog-metageneration": str(METAGENERATION),
            "x-goog-storage-class": "STANDARD",
            "x-goog-hash": f"crc32c={self.crc32c},md5={self.md5}",
            "x-goog-stored-content-encoding": "identity",
            "x-goog-stored-content-length": str(self.size),
        }

    def resource(self, bucket: str) -> dict[str, Any]:
        """As the JSON API shows it."""
        moment = datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{self.name}/{self.generation}",
            "name": self.name,
            "bucket": bucket,
            "generation": str(self.generation),
            "metageneration": str(METAGENERATION),
            "contentType": self.content_type,
            "storageClass": "STANDARD",
            "size": str(self.size),
            "md5Hash": self.md5,
            "crc32c": self.crc32c,
            "etag": base64.b64encode(str(self.generation).encode()).decode(),
            "timeCreated": moment,
            "updated": moment,
        }


@dataclass(frozen=True)
class Session:
    """A resumable upload. `total` is None while the size is not known; `done` the generation it became."""

    id: str
    name: str
    content_type: str
    preconditions: Preconditions
    declared: Declared
    total: int | None
    created: float
    signed: bool
    done: int | None = None
    canceled: bool = False

    @classmethod
    def of(cls, row: Any) -> "Session":
        """From a row of the sessions."""
        session_id, name, content_type, preconditions, declared, total, created, signed, done, canceled = row
        return cls(
            session_id,
            name,
            content_type,
            Preconditions(**json.loads(preconditions)),
            Declared(**json.loads(declared)),
            total,
            created,
            bool(signed),
            done,
            bool(canceled),
        )

    def row(self) -> tuple[Any, ...]:
        """As a row of the sessions."""
        conditions, declared = json.dumps(vars(self.preconditions)), json.dumps(vars(self.declared))
        return (
            self.id,
            self.name,
            self.content_type,
            conditions,
            declared,
            self.total,
            self.created,
            self.signed,
            self.done,
            self.canceled,
        )
