"""Ports of this machine: which are free, and who answers on them."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from tools.local.processes import StartError

HOST = "127.0.0.1"
#: How long a port may still be held by what was just killed; seconds.
PATIENCE_S = 3.0


def free_ports(count: int) -> list[int]:
    """Ports that are free now, held open together so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind((HOST, 0))
        return [found.getsockname()[1] for found in sockets]


def require_free(name: str, port: int) -> None:
    """StartError when somebody holds the port of the part `name`, and goes on holding it."""
    end = time.monotonic() + PATIENCE_S
    while not _is_free(port):
        if time.monotonic() > end:
            raise StartError(f"port {port}, the {name}'s, is taken; choose another with PORT= or DATA=")
        time.sleep(0.05)


def listening(port: int) -> Callable[[], bool]:
    """Asks whether somebody answers on `port`."""

    def answers() -> bool:
        with socket.socket() as trial:
            trial.settimeout(1)
            return trial.connect_ex((HOST, port)) == 0

    return answers


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError:
            return False
    return True
