"""The plan keeps every rule."""

import pytest

from tests.terraform import rules


@pytest.mark.parametrize("name", rules.load())
def test_the_plan_keeps(plan, name):
    rules.RULES[name](plan)
