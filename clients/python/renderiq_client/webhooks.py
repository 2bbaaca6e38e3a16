"""Verifying a webhook as Standard Webhooks has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from renderiq_client.errors import WebhookInvalid


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes, tolerance_s: int = 300) -> dict[str, Any]:
    """The event in `body`, the raw bytes. WebhookInvalid unless `secret` signed it within `tolerance_s` seconds.

    https://www.standardwebhooks.com: HMAC-SHA256 of `id.timestamp.body`; one signature of several must fit.
    """
    key = _key(secret)
    sent = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp = sent["webhook-id"], sent["webhook-timestamp"]
        signatures = sent["webhook-signature"].split()
        age_s = abs(time.time() - int(timestamp))
    except (KeyError, ValueError, OverflowError):
        raise WebhookInvalid("a header is missing or malformed") from None
    if age_s > tolerance_s:
        raise WebhookInvalid("the timestamp is too far from now; is the clock right?")
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    if not any(hmac.compare_digest(expected, signature.encode()) for signature in signatures):
        raise WebhookInvalid("no signature fits; is it this webhook's secret, and are these the raw bytes?")
    event: dict[str, Any] = json.loads(body)
    return event


def _key(secret: str) -> bytes:
    """The bytes of a `whsec_…`. An empty key would let anybody sign, so it is refused."""
    try:
        key = base64.b64decode(secret.strip()[len("whsec_") :], validate=True)
    except ValueError:  # binascii.Error is one; text beyond ASCII is another
        key = b""
    if not secret.strip().startswith("whsec_") or not key:
        raise WebhookInvalid("the secret is not one: it reads whsec_…")
    return key
