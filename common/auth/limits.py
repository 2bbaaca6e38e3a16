"""What a caller is told of its limits (draft-ietf-httpapi-ratelimit-headers-11), and the refusal."""

import math
from dataclasses import dataclass

from common.errors import RateLimited

#: The order of the buckets in `rate_limits.arrivals`; the user's own bucket comes before them. Append only.
BUCKETS = ("unknown", "sketchup", "revit", "autocad", "rhino", "archicad", "blender")
WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit: `rate` requests a minute, and how full it is, in seconds until it is empty."""

    name: str
    rate: int
    full_s: float

    @property
    def remaining(self) -> int:
        """Requests that would be accepted at once."""
        return max(0, math.floor((WINDOW_S - self.full_s) * self.rate / WINDOW_S + 1e-6))

    @property
    def next_s(self) -> int:
        """Whole seconds until one more is accepted than now; 0 when nothing was taken."""
        if self.full_s <= 0:
            return 0
        return max(1, math.ceil(self.full_s - (WINDOW_S - (self.remaining + 1) * WINDOW_S / self.rate)))

    def wait_s(self, cost: int) -> float:
        """Seconds until a request of `cost` is accepted."""
        return self.full_s + cost * WINDOW_S / self.rate - WINDOW_S


def headers(buckets: list[Bucket]) -> dict[str, str]:
    """`RateLimit-Policy`, `RateLimit` and the older `X-RateLimit-*` of the tightest bucket."""
    tightest = min(buckets, key=lambda bucket: bucket.remaining)
    return {
        "RateLimit-Policy": ", ".join(f'"{b.name}";q={b.rate};w={WINDOW_S}' for b in buckets),
        "RateLimit": ", ".join(f'"{b.name}";r={b.remaining};t={b.next_s}' for b in buckets),
        "X-RateLimit-Limit": str(tightest.rate),
        "X-RateLimit-Remaining": str(tightest.remaining),
        "X-RateLimit-Reset": str(math.ceil(max(0.0, tightest.full_s))),
    }


def refusal(buckets: list[Bucket], cost: int) -> RateLimited:
    """Why a request of `cost` was refused and when it would be accepted."""
    violated = [b.name for b in buckets if b.wait_s(cost) > 0] or [buckets[0].name]
    wait = max(1, math.ceil(max(b.wait_s(cost) for b in buckets)))
    return RateLimited(
        f"Over the limit of {', '.join(violated)}; try again in {wait} s.",
        headers={"Retry-After": str(wait)},
        retry_after=wait,
        violated_policies=violated,
    )
