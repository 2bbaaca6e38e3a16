"""Compares every account's balance with its entries and its renders: `python -m tools.reconcile`.

The sweep does the same each night and logs `credits_differ`. Exits with 1 when anything differs, and with 2 when
nothing could be compared.
"""

import argparse
import sys

from common.config import ConfigError
from common.domain import credits as account_credits
from common.errors import Problem


def main() -> int:
    """Print each difference; 1 when there is one, 2 when they could not be compared."""
    argparse.ArgumentParser(prog="python -m tools.reconcile", description=__doc__).parse_args()
    found = 0
    try:
        for found, difference in enumerate(account_credits.reconcile(), start=1):  # noqa: B007 - the last one counts
            print("  ".join(f"{name}: {value}" for name, value in difference.items()))
    except (Problem, ConfigError) as error:
        sys.stderr.write(f"reconcile: {error}\n")
        return 2
    print(f"{found} accounts differ" if found else "balances, entries and renders agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
