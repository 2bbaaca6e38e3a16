"""The plans are what was looked at."""

import difflib

from tests.terraform.inventory import PAGE, page


def test_the_plans_are_what_the_inventory_says(plan, bootstrap):
    told, planned = PAGE.read_text().splitlines(), page(plan, bootstrap).splitlines()
    different = "\n".join(difflib.unified_diff(told, planned, "inventory.txt", "the plans", lineterm="", n=1))
    assert not different, f"look at it, then `python -m tests.terraform.inventory`:\n{different}"
