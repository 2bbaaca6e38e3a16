"""Errors as Cloud Storage tells them: JSON to the client library, XML to signed URLs.

https://cloud.google.com/storage/docs/xml-api/reference-status, https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

import json
from xml.sax.saxutils import escape

#: What the JSON API calls the XML API's codes.
REASONS = {
    "BadDigest": "invalid",
    "InvalidArgument": "invalid",
    "InvalidRange": "requestedRangeNotSatisfiable",
    "NoSuchBucket": "notFound",
    "NoSuchKey": "notFound",
    "NoSuchUpload": "notFound",
    "PreconditionFailed": "conditionNotMet",
    "AccessDenied": "forbidden",
    "MethodNotAllowed": "methodNotAllowed",
    "NotModified": "notModified",
}


class StorageError(Exception):
    """An HTTP status, the XML API's code, a message, and more elements of the XML answer."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None, **elements: str
    ) -> None:
        """`headers` go with the answer; `elements` are `Details` and the like."""
        super().__init__(message)
        self.status, self.code, self.headers, self.elements = status, code, headers or {}, elements

    def json(self) -> bytes:
        """As the JSON API has it; it has no place for details but the message."""
        message = self.elements.get("Details", str(self))
        reason = {"message": message, "domain": "global", "reason": REASONS.get(self.code, self.code)}
        return json.dumps({"error": {"code": self.status, "message": message, "errors": [reason]}}).encode()

    def xml(self) -> bytes:
        """As the XML API has it."""
        told = {"Code": self.code, "Message": str(self), **self.elements}
        inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in told.items())
        return f"<?xml version='1.0' encoding='UTF-8'?><Error>{inner}</Error>".encode()


def invalid(details: str) -> StorageError:
    """400: an argument makes no sense."""
    return StorageError(400, "InvalidArgument", "Invalid argument.", Details=details)


def not_found(name: str) -> StorageError:
    """There is no such object."""
    return StorageError(404, "NoSuchKey", "The specified key does not exist.", Details=f"No such object: {name}")


def not_allowed() -> StorageError:
    """405: what is asked for is not done here."""
    return StorageError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
