"""No secret reaches a log, wherever a caller or an exception puts it."""

import logging
import sys
import time
from uuid import uuid4

import pytest

from common.auth import api_keys, refresh_tokens
from common.log import JsonFormatter, TextFormatter
from common.webhooks import signing
from tests.auth.token_forge import forge
from tests.support import request

KEY = api_keys.generate("rq_sk_live_")
SECRETS = {
    "key": KEY,
    "refresh token": refresh_tokens.generate(),
    "webhook secret": signing.new_secret(),
    "access token": forge(),
    "signature": "0123456789abcdef" * 32,
}


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()], ids=["json", "text"])
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_redacted_in_messages_fields_and_exceptions(formatter, secret):
    url = f"https://storage.example/a?X-Goog-Signature={secret}&x=1"
    try:
        raise ValueError(f"cannot read {url}")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "a.py", 1, "at %s", (url,), sys.exc_info())
    record.fields = {"path": url}
    line = formatter.format(record)
    assert secret not in line
    assert line.count("[redacted]") == 3


def test_a_keys_hint_is_none():
    record = logging.LogRecord("a", logging.INFO, "a.py", 1, api_keys.hint(KEY), (), None)
    assert api_keys.hint(KEY) in TextFormatter().format(record)


def test_a_key_in_a_path_or_for_a_request_id_is_not_logged(stack):
    last = uuid4().hex
    request(stack.base_url, "DELETE", f"/keys/{KEY}", X_API_Key=stack.api_key)
    request(stack.base_url, "GET", f"/nowhere/{KEY}")
    told = request(stack.base_url, "GET", "/projects", X_API_Key=stack.api_key, X_Request_Id=KEY)
    assert KEY not in str(told.headers)
    request(stack.base_url, "GET", "/health", X_Request_Id=last)
    log, end = stack.data / "logs" / "gateway.log", time.monotonic() + 60
    while last not in log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert last in log.read_text()
    assert KEY not in log.read_text()
