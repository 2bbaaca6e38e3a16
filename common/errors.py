"""What a caller may be told went wrong, as problem details (RFC 9457): one class a status.

The `code` is stable and part of the contract; the class's docstring is the problem's title.
"""

from collections.abc import Mapping
from typing import Any


class Problem(Exception):
    """Something went wrong."""

    status = 500
    code = "internal"

    def __init__(
        self,
        detail: str = "",
        *,
        code: str = "",
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """`members` are extension members of the problem, in snake_case."""
        self.code = code or type(self).code
        self.detail = detail or self.title
        self.headers = dict(headers or {})
        self.members = members
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """The same words for every problem of this kind."""
        return (type(self).__doc__ or "").splitlines()[0].rstrip(".")


class BadRequest(Problem):
    """The request cannot be understood."""

    status = 400
    code = "malformed_json"


class Unauthenticated(Problem):
    """A valid credential is needed."""

    status = 401
    code = "unauthenticated"


class PaymentRequired(Problem):
    """There are too few credits."""

    status = 402
    code = "insufficient_credits"


class Forbidden(Problem):
    """The credential does not allow this."""

    status = 403
    code = "insufficient_scope"


class NotFound(Problem):
    """There is nothing here."""

    status = 404
    code = "not_found"


class MethodNotAllowed(Problem):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class Conflict(Problem):
    """The present state does not allow this."""

    status = 409
    code = "conflict"


class TooLarge(Problem):
    """The body is too large."""

    status = 413
    code = "body_too_large"


class UnsupportedMediaType(Problem):
    """The body is of a type that is not understood."""

    status = 415
    code = "unsupported_media_type"


class Invalid(Problem):
    """The request is understood, its values cannot be accepted."""

    status = 422
    code = "invalid_request"


class UpdateRequired(Problem):
    """This version of the plugin is no longer supported."""

    status = 426
    code = "plugin_update_required"


class RateLimited(Problem):
    """Too many requests."""

    status = 429
    code = "rate_limited"


class Internal(Problem):
    """The service failed; the request id helps to find out why."""


class Unavailable(Problem):
    """The service cannot answer now; try again later."""

    status = 503
    code = "unavailable"
