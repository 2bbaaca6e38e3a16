"""What a render costs, in credits."""

from common.engines import Quality

#: By engine and quality; the only place that knows.
PRICES: dict[str, dict[Quality, int]] = {
    "studio": {"draft": 1, "standard": 2, "high": 4},
    "gemini": {"draft": 1, "standard": 2, "high": 4},
}
