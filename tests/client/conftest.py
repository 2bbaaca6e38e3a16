"""What the client's tests share: a fault proxy in front of the running stack's API."""

import pytest

from tests.fault_proxy import FaultProxy


@pytest.fixture(scope="session")
def api_proxy(stack):
    running = FaultProxy(stack.base_url)
    yield running
    running.close()


@pytest.fixture
def proxy(api_proxy):
    api_proxy.clear()
    yield api_proxy
    assert api_proxy.left() == []
