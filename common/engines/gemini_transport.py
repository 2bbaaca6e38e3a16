"""The SDK's connections, with one deadline for all its tries. Imports httpx2: import it only while rendering."""

import time

import httpx2

from common.engines.base import EngineError


class DeadlineTransport(httpx2.HTTPTransport):
    """Raises EngineError `engine_timeout` when `deadline` (of `time.monotonic()`) comes.

    The SDK gives each try the same time and takes a timeout for a reason to try again: three slow answers would take
    three times as long as there is, and each would be paid for.
    """

    def __init__(self, deadline: float) -> None:
        """Nothing is sent yet."""
        super().__init__()
        self._deadline = deadline

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one try with the time that is left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise timeout()
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), left)
        try:
            return super().handle_request(request)
        except httpx2.TimeoutException as error:
            raise timeout() from error


def timeout() -> EngineError:
    """What a deadline means to a render."""
    return EngineError("engine_timeout", "The render took longer than it may.", retryable=True)
