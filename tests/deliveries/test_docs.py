"""What `docs/webhooks.md` tells receivers to do works."""

import re
import time
from pathlib import Path

import pytest
from standardwebhooks import WebhookVerificationError

from common.config import read
from common.schemas.deliveries import ErrorClass, Status
from common.schemas.events import EVENTS

TEXT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=["library", "standard library"])
def test_the_examples_verify_what_is_sent_and_refuse_what_is_not(api, receiver, webhook, code):
    scope = {}
    exec(code, scope)
    api.send(webhook)
    _, headers, body = receiver.got.get(timeout=60)
    receive, secret = scope["receive"], webhook["secret"]
    assert receive(secret, headers, body)["type"] == "webhook.test"
    old = {name: value for name, value in headers.items() if name != "webhook-timestamp"}
    old["webhook-timestamp"] = str(int(time.time()) - 3600)
    for wrong in ((secret, headers, body + b" "), (secret, old, body), ("whsec_" + "A" * 44, headers, body)):
        with pytest.raises((ValueError, WebhookVerificationError)):
            receive(*wrong)


def test_the_page_names_every_event_status_and_error_class():
    for name in (*EVENTS, *ErrorClass.__args__, *Status.__args__):
        assert name in TEXT


def test_the_schedule_is_the_default_one():
    (row,) = re.findall(r"\| after the one before \| at once \|(.*)\|", TEXT)
    units = {"s": 1, "min": 60, "h": 3600}
    told = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (\w+)", row)]
    assert tuple(told) == read({}).webhook_retry_delays
