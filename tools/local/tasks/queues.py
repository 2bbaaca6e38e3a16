"""Queues as the v2 REST API shows them: defaults, limits, patches, and the retry rule they configure."""

import re
from typing import Any

from tools.local.tasks.values import ENFORCE_MODES, METHODS, SCHEMES, check_headers, enum, invalid, seconds

NAME = re.compile(r"projects/[^/]+/locations/[^/]+/queues/[A-Za-z0-9-]{1,100}")
MAX_RATE, MAX_CONCURRENT, DEFAULT_CONCURRENT = 500.0, 5000, 1000
#: The bucket that the service chooses for a rate: its size in dispatches.
MAX_BURST = 100
MAX_PORT = 65535
#: A task older than this is deleted whatever its queue's retry configuration; seconds.
RETENTION_S = 31 * 86400.0
#: What an update may change; everything else is output only.
SETTABLE = ("rateLimits", "retryConfig", "httpTarget", "stackdriverLoggingConfig")


def queue(body: dict[str, Any]) -> dict[str, Any]:
    """A queue's resource with the service's defaults filled in. ApiError for what the service refuses."""
    name = body.get("name", "")
    if not NAME.fullmatch(name):
        raise invalid(f"Queue name {name!r} is malformed")
    made = {key: body[key] for key in SETTABLE if body.get(key)}
    made |= {"name": name, "state": "RUNNING", "rateLimits": _rate_limits(body.get("rateLimits", {}))}
    made["retryConfig"] = retry_config(body.get("retryConfig", {}))
    if "httpTarget" in made:
        made["httpTarget"] = _http_target(made["httpTarget"])
    return made


def patched(known: dict[str, Any], body: dict[str, Any], mask: str) -> dict[str, Any]:
    """`known` with what `mask` names (paths in camelCase, by commas; empty: everything) taken from `body`."""
    paths = [path for path in mask.split(",") if path] or list(SETTABLE)
    draft = {key: dict(known[key]) for key in SETTABLE if key in known} | {"name": known["name"]}
    for path in paths:
        first, _, inner = path.partition(".")
        if first not in SETTABLE:
            raise invalid(f"updateMask: {path!r} cannot be updated")
        # One level deep is as far as the API's own masks are used; deeper ones replace the level they are in.
        field = inner.partition(".")[0]
        given = body.get(first, {})
        if not field:
            draft[first] = given
        elif field in given:
            draft.setdefault(first, {})[field] = given[field]
        else:
            draft.get(first, {}).pop(field, None)
    return queue(draft) | {key: known[key] for key in ("state", "purgeTime") if key in known}


def retry_config(given: dict[str, Any]) -> dict[str, Any]:
    """A retry configuration with the service's defaults filled in. ApiError for what the service refuses."""
    made: dict[str, Any] = {
        "maxAttempts": int(given.get("maxAttempts") or 100),
        "minBackoff": given.get("minBackoff") or "0.100s",
        "maxBackoff": given.get("maxBackoff") or "3600s",
        "maxDoublings": int(given.get("maxDoublings") or 16),
        "maxRetryDuration": given.get("maxRetryDuration") or "0s",
    }
    if made["maxAttempts"] < -1:
        raise invalid("RetryConfig.maxAttempts must be at least -1")
    if made["maxDoublings"] < 0:
        raise invalid("RetryConfig.maxDoublings must not be negative")
    if not 0 <= seconds(made["minBackoff"]) <= seconds(made["maxBackoff"]):
        raise invalid("RetryConfig.minBackoff must not be greater than maxBackoff")
    if seconds(made["maxRetryDuration"]) < 0:
        raise invalid("RetryConfig.maxRetryDuration must not be negative")
    return made


def backoff(retry: dict[str, Any], failed: int) -> float:
    """Seconds to wait after the `failed`-th failure: doubled `maxDoublings` times, then linear, then flat.

    The service cuts `maxBackoff` to whole seconds; here fractions count, so that tests need not wait.
    """
    low, high, doublings = seconds(retry["minBackoff"]), seconds(retry["maxBackoff"]), retry["maxDoublings"]
    # Capped, for 2.0 ** 1024 overflows; the result is `high` long before.
    doubled, step = min(failed - 1, doublings, 64), min(doublings, 64)
    linear = max(0, failed - 1 - doublings) * low * 2.0**step
    return float(min(low * 2.0**doubled + linear, high))


def exhausted(retry: dict[str, Any], attempts: int, first: float, now: float) -> bool:
    """Whether a task that failed is given up: both limits must be reached; -1 attempts or 0 s is no limit."""
    longest, most = seconds(retry["maxRetryDuration"]), retry["maxAttempts"]
    if now - first >= RETENTION_S:
        return True
    if most < 0 and not longest:
        return False
    return attempts >= most and now - first >= longest


def _rate_limits(given: dict[str, Any]) -> dict[str, Any]:
    rate = float(given.get("maxDispatchesPerSecond") or MAX_RATE)
    concurrent = int(given.get("maxConcurrentDispatches") or DEFAULT_CONCURRENT)
    if not 0 < rate <= MAX_RATE:
        raise invalid(f"RateLimits.maxDispatchesPerSecond must be positive and at most {MAX_RATE:g}")
    if not 0 < concurrent <= MAX_CONCURRENT:
        raise invalid(f"RateLimits.maxConcurrentDispatches must be positive and at most {MAX_CONCURRENT}")
    return {
        "maxDispatchesPerSecond": rate,
        "maxBurstSize": max(1, min(MAX_BURST, int(rate))),
        "maxConcurrentDispatches": concurrent,
    }


def _http_target(given: dict[str, Any]) -> dict[str, Any]:
    made = dict(given)
    if "httpMethod" in given:
        made["httpMethod"] = enum(METHODS, given["httpMethod"])
    if "uriOverride" in given:
        made["uriOverride"] = _uri_override(given["uriOverride"])
    overrides = [each["header"] for each in given.get("headerOverrides", ())]
    check_headers("HttpTarget", {header["key"]: header.get("value", "") for header in overrides})
    oidc = given.get("oidcToken")
    if oidc is not None and not (oidc.get("serviceAccountEmail") and oidc.get("audience")):
        raise invalid("HttpTarget.oidcToken needs both serviceAccountEmail and audience")
    if "oauthToken" in given:
        raise invalid("HttpTarget.oauthToken: there are no OAuth tokens locally, only OIDC tokens")
    return made


def _uri_override(given: dict[str, Any]) -> dict[str, Any]:
    made = dict(given)
    if "scheme" in given:
        made["scheme"] = enum(SCHEMES, given["scheme"])
    made["uriOverrideEnforceMode"] = enum(ENFORCE_MODES, given.get("uriOverrideEnforceMode", 0))
    if "host" in given and not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", given["host"]):
        raise invalid(f"UriOverride.host {given['host']!r} is no host name")
    port = str(given.get("port", "0"))
    if not re.fullmatch(r"\d{1,5}", port) or int(port) > MAX_PORT:
        raise invalid(f"UriOverride.port {port!r} is no port")
    return made
