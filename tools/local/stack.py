"""The whole local stack: PostgreSQL, storage, tasks, the gateway with all functions, the scheduler.

Ports, keys and the demo account are chosen once a data folder and kept, so that task URLs, session URIs and signed
hosts survive a restart.
"""

import fcntl
import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from tools.local import identity
from tools.local.environment import BUCKET, SIGNER, TASKS_ACCOUNT, environment, queues
from tools.local.files import read_json, write_private
from tools.local.ports import free_ports, listening, require_free
from tools.local.postgres import Postgres
from tools.local.processes import Child, StartError
from tools.local.watch import Part, Watch

ROOT = Path(__file__).parents[2]
PARTS = ("gateway", "postgres", "storage", "tasks")
CONFIG = {"ports", "token_key", "jwks", "webhook_secret_key"}
POLL_S = 0.1


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
        self._lock = data / "lock"
        self._port = port
        self._durable = durable
        self._stop = ExitStack()
        self._parts: list[Part] = []

    def __enter__(self) -> Self:
        """Nothing is started yet; `start` does."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything: all are told at once, then each is waited for."""
        for part in self._parts:
            part.leave()
        self._stop.close()

    def start(self) -> Running:
        """Start every part and wait until all of them answer. StartError when one does not."""
        self._take_lock()
        config = self._configured()
        ports = config["ports"]
        storage, tasks = self._storage(ports), self._tasks(ports)
        postgres = Postgres(self._data / "postgres", ports["postgres"], durable=self._durable)
        self._parts.append(postgres)
        self._stop.callback(postgres.stop)
        postgres.start()
        self._migrate(postgres)
        from tools.demo_account import ensure

        account = ensure(postgres.owner_url, self._data)
        gateway = self._gateway(config, postgres)
        for child, name in ((storage, "storage"), (tasks, "tasks"), (gateway, "gateway")):
            child.wait_until(listening(ports[name]))
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

    def keep_alive(self) -> NoReturn:
        """Start again what dies, for ever. StartError when a part cannot be kept alive, or when the data is gone."""
        watch = Watch(self._parts)
        while self._lock.exists():
            watch.look()
            time.sleep(POLL_S)
        raise StartError(f"{self._data} was removed, so the stack that ran on it ends")

    def _take_lock(self) -> None:
        """Make the folder, and be the only stack on it; what a killed one announced is no longer true."""
        try:
            (self._data / "logs").mkdir(parents=True, exist_ok=True)
            lock = self._stop.enter_context(self._lock.open("w"))
        except OSError as error:
            raise StartError(f"{self._data} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another stack runs on {self._data}; choose another folder with DATA=") from None
        (self._data / "stack.json").unlink(missing_ok=True)

    def _configured(self) -> dict[str, Any]:
        """The ports and keys of this data folder, made with its first start. StartError when a port is taken."""
        path = self._data / "config.json"
        config = read_config(self._data) if path.exists() else self._new_config()
        if self._port:
            config["ports"]["gateway"] = self._port
        for name in PARTS:
            require_free(name, config["ports"][name])
        write_private(path, json.dumps(config, indent=2))
        return config

    def _new_config(self) -> dict[str, Any]:
        from cryptography.fernet import Fernet

        from common.auth import tokens

        token_key, jwk = tokens.generate_key()
        storage_key = identity.generate_key_pem()
        write_private(self._data / "storage-key.pem", storage_key)
        write_private(self._data / "storage-key.pub", identity.public_pem(storage_key))
        write_private(self._data / "issuer-key.pem", identity.generate_key_pem())
        return {
            "ports": dict(zip(PARTS, free_ports(len(PARTS)), strict=True)),
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
        declared = self._data / "queues.json"
        declared.write_text(json.dumps(queues(ports["gateway"]), indent=2))
        flags = ["--host", "127.0.0.1", "--port", str(ports["tasks"]), "--queues", str(declared)]
        flags += ["--data", str(self._data / "tasks.sqlite"), *self._issuer_flags()]
        return self._child("tasks", "tools.local.tasks", flags)

    def _gateway(self, config: dict[str, Any], postgres: Postgres) -> Child:
        ports = config["ports"]
        flags = ["--port", str(ports["gateway"]), "--table", str(ROOT / "terraform" / "functions.json")]
        flags += ["--functions", str(ROOT / "functions"), *self._issuer_flags()]
        env = environment(config, self._data, postgres.app_url)
        # Whoever wants one more process of the functions beside the gateway finds here what it needs.
        write_private(self._data / "environment.json", json.dumps(env, indent=2))
        return self._child("gateway", "tools.local.gateway", flags, env)

    def _issuer_flags(self) -> list[str]:
        return ["--issuer-key", str(self._data / "issuer-key.pem"), "--issuer-email", TASKS_ACCOUNT]

    def _child(self, name: str, module: str, flags: list[str], env: dict[str, str] | None = None) -> Child:
        child = Child(name, module, flags, self._log(name), env)
        self._stop.callback(child.stop)
        self._parts.append(child)
        return child

    def _log(self, name: str) -> Path:
        return self._data / "logs" / f"{name}.log"

    def _migrate(self, postgres: Postgres) -> None:
        url = {"MIGRATIONS_DATABASE_URL": postgres.owner_url}
        child = Child("migrate", "tools.local.migrate", [], self._log("migrate"), url)
        self._stop.callback(child.stop)
        if child.wait():
            raise StartError(child.failure("the migrations failed"))

    def _announce(self, running: Running) -> None:
        path = self._data / "stack.json"
        told = {_camel(name): value for name, value in asdict(running).items()}
        write_private(path, json.dumps(told, indent=2))
        self._stop.callback(path.unlink, missing_ok=True)


def read_config(data: Path) -> dict[str, Any]:
    """The ports and keys of a data folder. StartError when they are damaged or of another version."""
    return read_json(data / "config.json", lambda found: found.keys() == CONFIG and {*PARTS} == found["ports"].keys())


def announced(data: Path) -> Running:
    """What the stack that runs on `data` offers."""
    told = json.loads((data / "stack.json").read_text())
    return Running(**{field.name: told[_camel(field.name)] for field in fields(Running)})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
