"""Errors as Cloud Storage tells them: JSON to the client library, XML to signed URLs."""

import json
from xml.sax.saxutils import escape


class StorageError(Exception):
    """An HTTP status, the XML API's code, and a message."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        """`headers` go with the answer."""
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}

    def json(self) -> bytes:
        """As the JSON API has it."""
        reason = {"message": str(self), "domain": "global", "reason": self.code}
        return json.dumps({"error": {"code": self.status, "message": str(self), "errors": [reason]}}).encode()

    def xml(self) -> bytes:
        """As the XML API has it."""
        told = f"<Error><Code>{self.code}</Code><Message>{escape(str(self))}</Message></Error>"
        return f"<?xml version='1.0' encoding='UTF-8'?>{told}".encode()


def not_found(name: str) -> StorageError:
    """There is no such object."""
    return StorageError(404, "NoSuchKey", f"No such object: {name}")
