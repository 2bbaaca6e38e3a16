"""What people read: progress (a bar on a terminal; elsewhere plain lines without control characters), and answers."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any

WIDTH = 28
REDRAW_S = 0.1


def live() -> bool:
    """Whether standard error is a terminal that can draw over a line."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Bar:
    """One job's progress, on standard error. Called with what is done and with all there is, in bytes."""

    def __init__(self, label: str) -> None:
        """Nothing is shown yet."""
        self._label = label
        self._live = live()
        self._began = time.monotonic()
        self._first = -1
        self._drawn_at, self._tenth, self._length = 0.0, -1, 0

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` is done."""
        if self._first < 0:
            self._first = done
        if self._live:
            self._draw(done, total)
        elif (tenth := done * 10 // max(total, 1)) != self._tenth:
            self._tenth = tenth
            print(f"{self._label} {tenth * 10} %", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line, so that what is printed next has its own."""
        if self._length:
            print(file=sys.stderr, flush=True)
            self._length = 0

    def _draw(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._drawn_at < REDRAW_S:
            return
        line = self._line(done, max(total, 1), now - self._began, shutil.get_terminal_size().columns - 1)
        # Over what stood there, without control sequences, which not every console of Windows knows.
        print(f"\r{line:<{self._length}}", end="", file=sys.stderr, flush=True)
        self._drawn_at, self._length = now, len(line)
        if done >= total:
            self.close()

    def _line(self, done: int, total: int, took_s: float, columns: int) -> str:
        rate = (done - self._first) / took_s if took_s > 0.5 else 0
        left = f"  {_time((total - done) / rate)} left" if rate and done < total else ""
        speed = f"  {_size(rate)}/s" if rate else ""
        told = f" {done * 100 // total:3} %  {_size(done)} of {_size(total)}{speed}{left}"
        width = max(0, min(WIDTH, columns - len(f"  {self._label}  {told}")))
        filled = done * width // total
        bar = "█" * filled + "░" * (width - filled)
        return f"  {self._label}  {bar}{told}"[:columns]


class Stages:
    """Tells a render's stage when it changes."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._last = ""

    def __call__(self, render: Any) -> None:
        """Show what this render is at."""
        now = render["status"] if render["terminal"] else render["stage"] or render["status"]
        if now != self._last:
            self._last = now
            print(f"  render  {now}" if live() else f"render {now}", file=sys.stderr, flush=True)


def readable(result: Any, indent: str = "") -> str:
    """An answer's members, a line each; what they hold in turn is indented."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            inner = readable(value, indent + "  ")
            lines += [f"{indent}{name}", inner] if inner else []
        elif isinstance(value, list):
            lines += [_line(name, ", ".join(value), indent)] if value and _plain(value) else []
        elif value is not None:
            lines.append(_line(name, {True: "yes", False: "no"}[value] if isinstance(value, bool) else value, indent))
    return "\n".join(lines)


def _line(name: str, value: Any, indent: str) -> str:
    return f"{indent}{name:<{16 - len(indent)}} {value}"


def _plain(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _size(count: float) -> str:
    """A number of bytes."""
    if count < 1 << 20:
        return f"{count / 1024:.0f} KiB"
    return f"{count / (1 << 20):.1f} MiB"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
