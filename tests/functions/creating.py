"""The POSTs that make something, and what to send them."""

import json
import re

#: `<word>` differs from call to call; a render is made of the upload `<uploadId>`.
BODIES = {
    "keys_create": {"name": "<word>", "scopes": ["keys:read"]},
    "projects_create": {"name": "<word>"},
    "renders_create": {"uploadId": "<uploadId>", "prompt": "<word>", "quality": "draft"},
    "uploads_create": {"fileName": "<word>", "contentType": "image/png", "sizeBytes": 9, "purpose": "snapshot"},
    "webhooks_register": {"url": "http://127.0.0.1:9/<word>", "events": ["webhook.test"]},
}


def filled(body, names):
    """`body` with its `<name>`s replaced."""
    return json.loads(re.sub(r"<(\w+)>", lambda found: names[found[1]], json.dumps(body)))
