"""Ports of this machine: which are free, and who answers on them."""

import random
import socket
import time
from collections.abc import Callable
from itertools import islice

from tools.local.processes import StartError

HOST = "127.0.0.1"
#: Above the well-known ports, below Linux's (from 32768) and macOS's (from 49152) own choice for connections.
CHOSEN_FROM = range(20_000, 32_000)
#: How long a port may still be held by what was just killed; seconds.
PATIENCE_S = 3.0


def free_ports(count: int) -> list[int]:
    """Ports that are free now, drawn at random so that stacks that start together differ.

    From where no system takes the ports of outgoing connections: one of those could take a port between its choice and
    its use, and a stack keeps its ports for ever.
    """
    candidates = random.sample(CHOSEN_FROM, len(CHOSEN_FROM))
    found = list(islice(filter(_is_free, candidates), count))
    if len(found) < count:
        raise StartError(f"no {count} free ports from {CHOSEN_FROM.start} to {CHOSEN_FROM.stop - 1}")
    return found


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
