"""The Cloud Tasks stand-in and who receives its tasks."""

import pytest

from tests.local.tasks_stand_in import Receiver, StandIn


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    stand_in = StandIn(tmp_path_factory.mktemp("tasks"))
    yield stand_in
    stand_in.stop()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()
