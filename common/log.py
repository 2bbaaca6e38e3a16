"""Structured logging: one JSON object a line in the cloud, one readable line locally."""

import json
import logging
import re
import sys
from functools import cache
from typing import Any

from common.clock import now
from common.config import settings

#: What we mint, wherever a caller or an exception may have put it: a key in a path, a token in a message.
_SECRET = re.compile(
    r"rq_(?:sk_(?:live|test)|rt)_[0-9A-Za-z]{20,}|whsec_[0-9A-Za-z+/=]{20,}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+|(?<=X-Goog-Signature=)[0-9a-f]+",
    re.ASCII,
)


def redacted(text: str) -> str:
    """`text` without the secrets that it holds."""
    return _SECRET.sub("[redacted]", text)


class JsonFormatter(logging.Formatter):
    """What Cloud Logging reads: `severity`, `message`, `time`, and those of the record's `fields` that are set.

    A null would be there: a filter `keyId:*` finds it, and a label has it as a value.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        fields = getattr(record, "fields", {})
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "time": now().isoformat(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in fields.items() if value is not None},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return redacted(json.dumps(entry, default=str))


class TextFormatter(logging.Formatter):
    """What a person reads."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, message, and the fields that are set."""
        fields = getattr(record, "fields", {})
        told = " ".join(f"{name}={value}" for name, value in fields.items() if value not in (None, ""))
        line = f"{now():%H:%M:%S} {record.levelname[0]} {record.getMessage()} {told}".rstrip()
        return redacted(f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line)


@cache
def configure() -> None:
    """Send everything to standard output, once; called with a process's first request.

    `force` takes away what the server that runs us has set up: each line would stand there twice.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if settings().deployed else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def event(name: str, /, level: int = logging.INFO, **fields: Any) -> None:
    """Log that something happened, under a stable name that metrics count by."""
    logging.getLogger("renderiq").log(level, name, extra={"fields": {"event": name, **fields}})
