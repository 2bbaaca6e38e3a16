"""Cross-origin requests, as a bucket's CORS configuration allows them.

https://cloud.google.com/storage/docs/cross-origin: a request that no rule fits is answered without any of the headers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

#: Any page may upload to and read by a signed URL: the signature is what is secret.
DEFAULT: tuple[Mapping[str, Any], ...] = (
    {
        "origin": ["*"],
        "method": ["GET", "HEAD", "POST", "PUT", "DELETE"],
        "responseHeader": [
            "Content-Type",
            "Content-Range",
            "Range",
            "Location",
            "ETag",
            "x-goog-resumable",
            "x-goog-if-generation-match",
            "x-goog-content-length-range",
            "x-goog-generation",
            "x-goog-hash",
        ],
        "maxAgeSeconds": 3600,
    },
)


def headers(rules: Sequence[Mapping[str, Any]], method: str, sent: Mapping[str, str]) -> dict[str, str]:
    """The headers for a request's answer; none when it comes from no page, or when no rule fits."""
    origin = sent.get("origin")
    if not origin:
        return {}
    wanted = sent.get("access-control-request-method", "") if method == "OPTIONS" else method
    rule = next((rule for rule in rules if _fits(rule["origin"], origin) and _fits(rule["method"], wanted)), None)
    if rule is None:
        return {}
    allowed = {"Access-Control-Allow-Origin": "*" if "*" in rule["origin"] else origin, "Vary": "Origin"}
    named = ", ".join(rule.get("responseHeader", ()))
    if method != "OPTIONS":
        return allowed | {"Access-Control-Expose-Headers": named}
    return allowed | {
        "Access-Control-Allow-Methods": ", ".join(rule["method"]),
        "Access-Control-Allow-Headers": named,
        "Access-Control-Max-Age": str(rule.get("maxAgeSeconds", 3600)),
    }


def _fits(allowed: Sequence[str], found: str) -> bool:
    return "*" in allowed or found in allowed
