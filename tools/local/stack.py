"""The whole local stack: PostgreSQL, storage, tasks, the gateway with all functions, the scheduler.

Ports, keys and the demo account are chosen once a data folder and kept, so that task URLs, session URIs and signed
hosts survive a restart.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.local import identity
from tools.local.postgres import Postgres
from tools.local.processes import Child, StartError

ROOT = Path(__file__).parents[2]
PROJECT = "renderiq-local"
LOCATION = f"projects/{PROJECT}/locations/local"
BUCKET = "renderiq-local"
ACCOUNT_DOMAIN = f"{PROJECT}.iam.gserviceaccount.com"
SIGNER, TASKS_ACCOUNT = f"storage@{ACCOUNT_DOMAIN}", f"tasks@{ACCOUNT_DOMAIN}"
DELIVERY_SHARDS = 4
PARTS = ("gateway", "postgres", "storage", "tasks")


@dataclass(frozen=True)
class Running:
    """What a running stack offers; `DATA/stack.json` holds the same in camelCase."""

    base_url: str
    email: str
    password: str
    api_key: str
    docs_url: str | None
    dashboard_url: str | None
    data_dir: str


class Stack:
    """A stack whose data lies in `data`; `port` is the gateway's, 0 or None for any free one (kept)."""

    def __init__(self, data: Path, port: int | None = None, *, durable: bool = True) -> None:
        """Nothing is started yet."""
        self._data = data
        self._port = port
        self._durable = durable
        self._stop = ExitStack()

    def __enter__(self) -> Self:
        """Nothing is started yet; `start` does."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, the last started first."""
        self._stop.close()

    def start(self) -> Running:
        """Start every part and wait until all of them answer. StartError when one does not."""
        for folder in (self._data, self._data / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        config = self._configured()
        ports = config["ports"]
        for name in PARTS:
            _require_free(name, ports[name])
        storage, tasks = self._storage(ports), self._tasks(ports)
        postgres = Postgres(self._data / "postgres", ports["postgres"], durable=self._durable)
        self._stop.callback(postgres.stop)
        postgres.start()
        self._migrate(postgres)
        from tools.demo_account import ensure

        account = ensure(postgres.owner_url, self._data)
        gateway = self._gateway(config, postgres)
        for child, name in ((storage, "storage"), (tasks, "tasks"), (gateway, "gateway")):
            child.wait_until(_listening(ports[name]))
        self._child("scheduler", "tools.local.scheduler", ["--port", str(ports["gateway"]), *self._issuer_flags()])
        running = Running(
            base_url=f"http://127.0.0.1:{ports['gateway']}",
            **account,
            docs_url=None,
            dashboard_url=None,
            data_dir=str(self._data),
        )
        self._announce(running)
        return running

    def _take_lock(self) -> None:
        lock = self._stop.enter_context((self._data / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another stack runs on {self._data}") from None

    def _configured(self) -> dict[str, Any]:
        """The ports and keys of this data folder, made with its first start."""
        path = self._data / "config.json"
        config = json.loads(path.read_text()) if path.exists() else self._new_config()
        if self._port:
            config["ports"]["gateway"] = self._port
        _write_private(path, json.dumps(config, indent=2))
        return dict(config)

    def _new_config(self) -> dict[str, Any]:
        from cryptography.fernet import Fernet

        from common.auth import tokens

        token_key, jwk = tokens.generate_key()
        storage_key = identity.generate_key_pem()
        _write_private(self._data / "storage-key.pem", storage_key)
        _write_private(self._data / "storage-key.pub", identity.public_pem(storage_key))
        _write_private(self._data / "issuer-key.pem", identity.generate_key_pem())
        return {
            "ports": dict(zip(PARTS, _free_ports(len(PARTS)), strict=True)),
            "token_key": token_key,
            "jwks": {"keys": [jwk]},
            "webhook_secret_key": Fernet.generate_key().decode(),
        }

    def _storage(self, ports: dict[str, int]) -> Child:
        flags = [
            "--host",
            "127.0.0.1",
            "--port",
            str(ports["storage"]),
            "--data",
            str(self._data / "storage"),
        ]
        signer = f"{SIGNER}={self._data / 'storage-key.pub'}"
        return self._child("storage", "tools.local.storage", [*flags, "--bucket", BUCKET, "--signer", signer])

    def _tasks(self, ports: dict[str, int]) -> Child:
        queues = self._data / "queues.json"
        queues.write_text(json.dumps(_queues(ports["gateway"]), indent=2))
        flags = ["--host", "127.0.0.1", "--port", str(ports["tasks"]), "--queues", str(queues)]
        flags += ["--data", str(self._data / "tasks.sqlite"), *self._issuer_flags()]
        return self._child("tasks", "tools.local.tasks", flags)

    def _gateway(self, config: dict[str, Any], postgres: Postgres) -> Child:
        ports = config["ports"]
        flags = ["--port", str(ports["gateway"]), "--table", str(ROOT / "terraform" / "functions.json")]
        flags += ["--functions", str(ROOT / "functions"), *self._issuer_flags()]
        return self._child("gateway", "tools.local.gateway", flags, self._environment(config, postgres))

    def _issuer_flags(self) -> list[str]:
        return ["--issuer-key", str(self._data / "issuer-key.pem"), "--issuer-email", TASKS_ACCOUNT]

    def _environment(self, config: dict[str, Any], postgres: Postgres) -> dict[str, str]:
        """What `common.config` reads."""
        ports = config["ports"]
        return {
            "DATABASE_URL": postgres.app_url,
            "THREADS": "32",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GCS_BUCKET": BUCKET,
            "STORAGE_ENDPOINT": f"http://127.0.0.1:{ports['storage']}",
            "STORAGE_SIGNING_ACCOUNT": SIGNER,
            "STORAGE_SIGNING_KEY_FILE": str(self._data / "storage-key.pem"),
            "TASKS_ENDPOINT": f"127.0.0.1:{ports['tasks']}",
            "RENDER_QUEUE": f"{LOCATION}/queues/renders",
            "DELIVERY_QUEUES": ",".join(f"{LOCATION}/queues/deliveries-{n}" for n in range(DELIVERY_SHARDS)),
            "TASK_ACCOUNT": TASKS_ACCOUNT,
            "TASK_IAM": "1",
            "PUBLIC_URL": f"http://127.0.0.1:{ports['gateway']}",
            "TOKEN_PRIVATE_KEY": config["token_key"],
            "TOKEN_JWKS": json.dumps(config["jwks"]),
            "API_KEY_PREFIX": "rq_sk_test_",
            "WEBHOOK_SECRET_KEYS": config["webhook_secret_key"],
            "WEBHOOKS_ALLOW_LOCAL": "1",
        } | {name: os.environ[name] for name in LIMITS if name in os.environ}

    def _child(self, name: str, module: str, flags: list[str], env: dict[str, str] | None = None) -> Child:
        child = Child(name, module, flags, self._data / "logs" / f"{name}.log", env)
        self._stop.callback(child.stop)
        return child

    def _migrate(self, postgres: Postgres) -> None:
        log = self._data / "logs" / "migrate.log"
        with log.open("ab") as output:
            done = subprocess.run(
                [sys.executable, "-m", "alembic", "upgrade", "head"],
                cwd=ROOT,
                env=dict(os.environ) | {"MIGRATIONS_DATABASE_URL": postgres.owner_url},
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            raise StartError(f"the migrations failed; see {log}")

    def _announce(self, running: Running) -> None:
        path = self._data / "stack.json"
        told = {_camel(name): value for name, value in asdict(running).items()}
        _write_private(path, json.dumps(told, indent=2))
        self._stop.callback(path.unlink, missing_ok=True)


#: What may be set from outside for an experiment: limits, and how soon a failed delivery is tried again.
LIMITS = (
    "USER_RATE_PER_MINUTE",
    "PLATFORM_RATE_PER_MINUTE",
    "FAILURES_PER_MINUTE",
    "SIGNINS_PER_MINUTE_OF_ADDRESS",
    "SIGNINS_PER_MINUTE_OF_ACCOUNT",
    "MINIMUM_PLUGIN_VERSIONS",
    "WEBHOOK_RETRY_DELAYS_S",
)


def _queues(gateway_port: int) -> list[dict[str, Any]]:
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


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, held open together so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]


def _require_free(name: str, port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            raise StartError(f"port {port}, the {name}'s, is taken; choose another with PORT= or DATA=") from None


def _listening(port: int) -> Callable[[], bool]:
    def answers() -> bool:
        with socket.socket() as trial:
            trial.settimeout(1)
            return trial.connect_ex(("127.0.0.1", port)) == 0

    return answers


def _write_private(path: Path, text: str) -> None:
    """Replace a file at once; only its owner may read it."""
    draft = path.with_name(path.name + ".tmp")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
