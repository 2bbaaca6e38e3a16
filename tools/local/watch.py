"""Starts the parts of a stack again when they die."""

import sys
import time
from collections import defaultdict
from typing import Protocol

from tools.local.processes import StartError

#: More deaths of a part within so many seconds are no accident.
MOST_DEATHS, WITHIN_S = 5, 60.0


class Part(Protocol):
    """What can be watched."""

    name: str

    @property
    def alive(self) -> bool:
        """Whether it runs."""

    def start(self) -> None:
        """Start it, again too."""

    def leave(self) -> None:
        """Tell it to end."""

    def failure(self, what: str) -> str:
        """`what` happened, with how it ended and the end of its log."""


class Watch:
    """Looks after `parts`, in the order in which they were started."""

    def __init__(self, parts: list[Part]) -> None:
        """Nothing has died yet."""
        self._parts = parts
        self._deaths: dict[str, list[float]] = defaultdict(list)

    def look(self) -> None:
        """Start again what has died. StartError for a part that does so again and again."""
        for part in self._parts:
            if not part.alive:
                self._start_again(part)

    def _start_again(self, part: Part) -> None:
        now = time.monotonic()
        recent = [then for then in self._deaths[part.name] if now - then < WITHIN_S]
        self._deaths[part.name] = [*recent, now]
        if len(recent) >= MOST_DEATHS:
            raise StartError(part.failure(f"{part.name} ends again and again"))
        sys.stderr.write(f"{part.failure(f'{part.name} ended by itself and is started again')}\n")
        part.start()
