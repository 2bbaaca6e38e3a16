"""The rules that a plan must keep: each a function that takes a plan and fails with a sentence."""

from collections.abc import Callable

from tests.terraform.plan import Plan

RULES: dict[str, Callable[[Plan], None]] = {}


def rule(check):
    """Make a function one of the rules."""
    assert check.__name__ not in RULES, check.__name__
    RULES[check.__name__] = check
    return check


def load():
    """All rules, by name."""
    from tests.terraform import (
        rules_access,
        rules_edge,
        rules_functions,
        rules_metrics,
        rules_operations,
        rules_settings,
        rules_storage,
        rules_work,
    )

    assert all((rules_access, rules_edge, rules_functions, rules_metrics))
    assert all((rules_operations, rules_settings, rules_storage, rules_work))
    return dict(RULES)
