"""What the v2 REST API's JSON is made of: errors, durations, timestamps, enums."""

import re
from datetime import UTC, datetime
from typing import Any

#: Protobuf's JSON takes an enum's number or its name.
METHODS = ("POST", "POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")
SCHEMES = ("HTTPS", "HTTP", "HTTPS")
MAX_HEADER_BYTES = 80 * 1024
ENFORCE_MODES = ("ALWAYS", "IF_NOT_EXISTS", "ALWAYS")


class ApiError(Exception):
    """An error as Google's APIs tell it."""

    def __init__(self, code: int, status: str, message: str) -> None:
        """`code` is the HTTP status, `status` gRPC's name of it."""
        super().__init__(message)
        self.code, self.status = code, status

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        return {"error": {"code": self.code, "message": str(self), "status": self.status}}


def invalid(message: str) -> ApiError:
    """The request cannot be accepted."""
    return ApiError(400, "INVALID_ARGUMENT", message)


def seconds(duration: str | None) -> float:
    """`3.5s` as 3.5; 0 for none. ApiError for anything else."""
    if not duration:
        return 0.0
    if not re.fullmatch(r"-?\d{1,12}(\.\d{1,9})?s", duration):
        raise invalid(f"{duration!r} is not a duration; expected seconds such as '3.5s'")
    return float(duration[:-1])


def timestamp(moment: float) -> str:
    """Unix seconds as RFC 3339."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unix(text: str) -> float:
    """RFC 3339, with up to nine digits of a second, as Unix seconds. ApiError for anything else."""
    try:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        raise invalid(f"{text!r} is not a timestamp") from None
    if moment.tzinfo is None:
        raise invalid(f"{text!r} is not a timestamp: it has no time zone")
    return moment.timestamp()


def enum(names: tuple[str, ...], value: str | int) -> str:
    """An enum's name, told by its number or its name; 0 and what ends in UNSPECIFIED are the default."""
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, str):
        if value in names:
            return value
        if value.endswith("_UNSPECIFIED"):
            return names[0]
    raise invalid(f"{value!r} is none of {', '.join(dict.fromkeys(names))}")


def check_headers(holder: str, headers: dict[str, str]) -> None:
    """ApiError for headers that HTTP does not know, or that are too large together."""
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(
            r"[\t\x20-\x7e\x80-\xff]*", value
        ):
            raise invalid(f"{holder}.headers: {name!r} is malformed")
    if sum(len(name) + len(value) for name, value in headers.items()) >= MAX_HEADER_BYTES:
        raise invalid(f"{holder}.headers must be less than {MAX_HEADER_BYTES} bytes")
