"""What a render costs, in credits."""

from common.engines.base import Quality

#: By quality; the only place that knows.
PRICES: dict[Quality, int] = {"draft": 1, "standard": 2, "high": 4}
