"""What the tests of the sender are given: receivers, names and certificates, stopped when a test ends."""

import contextlib

import pytest

from common.webhooks.sender import send
from tests.webhooks.receivers import (
    BODY,
    HEADERS,
    HOST,
    NO_CONTENT,
    Certificates,
    NameServer,
    Receiver,
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def running():
    """Starts receivers and name servers, and stops them after the test."""
    with contextlib.ExitStack() as stack:

        def start(server):
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def local_names(running):
    """Every name is this machine."""
    return running(NameServer(A=["127.0.0.1"])).resolver()


@pytest.fixture
def receive(running, certificates):
    """A receiver over TLS that answers by `script`."""

    def start(script=NO_CONTENT, tls=None, **options):
        return running(Receiver(script, tls or certificates.server(), **options))

    return start


@pytest.fixture
def post(certificates, local_names):
    """Send to a receiver, by name and TLS, with everything guarded but loopback."""

    def run(receiver, path="/hooks", *, host=HOST, resolver=None, tls=None, body=BODY, **options):
        return send(
            f"https://{host}:{receiver.port}{path}",
            body,
            HEADERS,
            allow_local=True,
            resolver=resolver or local_names,
            tls=tls or certificates.trusting,
            **options,
        )

    return run


@pytest.fixture
def answered(receive, post):
    """What becomes of one attempt that is answered by `script`."""

    def run(script, **options):
        return post(receive(script), **options)

    return run
