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
    """The event in `body`. WebhookInvalid unless `secret` signed it within `tolerance_s` seconds."""
    sent = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, timestamp = sent["webhook-id"], int(sent["webhook-timestamp"])
        signatures = sent["webhook-signature"].split()
        key = base64.b64decode(secret.partition("_")[2])
    except (KeyError, ValueError):
        raise WebhookInvalid("a header is missing or malformed") from None
    if abs(time.time() - timestamp) > tolerance_s:
        raise WebhookInvalid("the timestamp is too far from now")
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if not any(hmac.compare_digest(expected.encode(), signature.encode()) for signature in signatures):
        raise WebhookInvalid("no signature fits")
    event: dict[str, Any] = json.loads(body)
    return event
