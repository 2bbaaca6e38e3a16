"""Signing by `signBlob`: what a service that does not answer may cost."""

import socket
import time

import pytest
from google.auth.exceptions import TransportError

from common.clients import storage


def test_a_signing_service_that_is_silent_is_given_up_soon():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        request = storage.signing_requests(0.2)
        started = time.monotonic()
        with pytest.raises(TransportError):
            request(url=f"https://127.0.0.1:{silent.getsockname()[1]}/", method="POST")
    assert time.monotonic() - started < 10  # google-auth's own deadline is 120 s
