"""A signed-in person's session: its tokens, refreshed in time and by one thread at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: An access token is exchanged this long before it ends: a request under way must not outlive it.
MARGIN_S = 60.0


@dataclass(frozen=True)
class Tokens:
    """What a plugin keeps of a session, as safely as a password. `expires_at` is the access token's, Unix seconds."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at: float

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Tokens:
        """The tokens in an answer of sign-in or refresh."""
        return cls(answer["accessToken"], answer["refreshToken"], time.time() + answer["expiresIn"])


class Session:
    """Tokens that stay good. A refresh token is good once: whoever keeps it must keep its successor."""

    def __init__(
        self, tokens: Tokens, exchange: Callable[[str], Tokens], on_tokens: Callable[[Tokens], None] | None
    ) -> None:
        """`exchange` turns a refresh token into new tokens; `on_tokens` keeps them, before they are used."""
        self._tokens = tokens
        self._exchange = exchange
        self._on_tokens = on_tokens
        self._lock = threading.Lock()

    def access_token(self) -> str:
        """An access token that is good for a while."""
        with self._lock:
            if time.time() > self._tokens.expires_at - MARGIN_S:
                self._renew()
            return self._tokens.access

    def renew(self, refused: str) -> None:
        """Exchange the tokens because `refused` was; nothing when another thread has done so already."""
        with self._lock:
            if self._tokens.access == refused:
                self._renew()

    def _renew(self) -> None:
        self._tokens = self._exchange(self._tokens.refresh)
        if self._on_tokens:
            self._on_tokens(self._tokens)
