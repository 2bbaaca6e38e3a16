"""What Terraform gives the functions in the cloud: their environment and the queues, for this machine."""

import json
import os
from pathlib import Path
from typing import Any

PROJECT = "renderiq-local"
LOCATION = f"projects/{PROJECT}/locations/local"
BUCKET = "renderiq-local"
ACCOUNT_DOMAIN = f"{PROJECT}.iam.gserviceaccount.com"
SIGNER, TASKS_ACCOUNT = f"storage@{ACCOUNT_DOMAIN}", f"tasks@{ACCOUNT_DOMAIN}"
DELIVERY_SHARDS = 4
#: What may be set from outside for an experiment: something in front of the storage, an engine of one's own, limits,
#: an issuer to trust.
OVERRIDES = (
    "STORAGE_ENDPOINT",
    "GCS_CDN_DOMAIN",
    "GEMINI_MODEL",
    "GEMINI_ENDPOINT",
    "USER_RATE_PER_MINUTE",
    "PLATFORM_RATE_PER_MINUTE",
    "FAILURES_PER_MINUTE",
    "SIGNINS_PER_MINUTE_OF_ADDRESS",
    "SIGNINS_PER_MINUTE_OF_ACCOUNT",
    "SIGNINS_PER_MINUTE_OF_ACCOUNT_AND_ADDRESS",
    "OIDC_ISSUER",
    "OIDC_AUDIENCE",
    "MINIMUM_PLUGIN_VERSIONS",
    "WEBHOOK_RETRY_DELAYS_S",
)


def environment(config: dict[str, Any], data: Path, database_url: str) -> dict[str, str]:
    """What `common.config` reads, by the ports and keys of the data folder's `config`."""
    ports = config["ports"]
    return {
        "DATABASE_URL": database_url,
        "THREADS": "32",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "GCS_BUCKET": BUCKET,
        "STORAGE_ENDPOINT": f"http://127.0.0.1:{ports['storage']}",
        "STORAGE_SIGNING_ACCOUNT": SIGNER,
        "STORAGE_SIGNING_KEY_FILE": str(data / "storage-key.pem"),
        "TASKS_ENDPOINT": f"127.0.0.1:{ports['tasks']}",
        "RENDER_QUEUE": f"{LOCATION}/queues/renders",
        "DELIVERY_QUEUES": ",".join(f"{LOCATION}/queues/deliveries-{n}" for n in range(DELIVERY_SHARDS)),
        "TASK_ACCOUNT": TASKS_ACCOUNT,
        "TASK_IAM": "1",
        "TOKEN_PRIVATE_KEY": config["token_key"],
        "TOKEN_JWKS": json.dumps(config["jwks"]),
        "API_KEY_PREFIX": "rq_sk_test_",
        "WEBHOOK_SECRET_KEYS": config["webhook_secret_key"],
        "WEBHOOKS_ALLOW_LOCAL": "1",
    } | {name: os.environ[name] for name in OVERRIDES if name in os.environ}


def queues(gateway_port: int) -> list[dict[str, Any]]:
    """The queues as Terraform makes them in the cloud: where their tasks go is theirs to say."""
    deliveries = [
        _queue(f"deliveries-{n}", "deliver-webhook", gateway_port, rate=500, concurrent=16)
        for n in range(DELIVERY_SHARDS)
    ]
    return [_queue("renders", "run-render", gateway_port, rate=50, concurrent=2), *deliveries]


def _queue(name: str, task: str, gateway_port: int, *, rate: int, concurrent: int) -> dict[str, Any]:
    return {
        "name": f"{LOCATION}/queues/{name}",
        "rateLimits": {"maxDispatchesPerSecond": rate, "maxConcurrentDispatches": concurrent},
        "retryConfig": {"maxAttempts": 20, "minBackoff": "1s", "maxBackoff": "30s", "maxDoublings": 5},
        "httpTarget": {
            "uriOverride": {
                "scheme": "HTTP",
                "host": "127.0.0.1",
                "port": str(gateway_port),
                "pathOverride": {"path": f"/internal/tasks/{task}"},
                "uriOverrideEnforceMode": "ALWAYS",
            },
            "httpMethod": "POST",
            "oidcToken": {"serviceAccountEmail": TASKS_ACCOUNT, "audience": f"renderiq-tasks-{task}"},
        },
    }
