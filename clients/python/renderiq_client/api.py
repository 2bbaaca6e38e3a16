"""How a call is made: the address, who is calling, and one Idempotency-Key for all of its tries."""

from __future__ import annotations

import ipaddress
import json
import uuid
from pathlib import Path
from typing import Any, Callable, Optional, Union
from urllib.parse import urlsplit

from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.rotation import AutoRotation, KeyFile
from renderiq_client.session import Session, Tokens
from renderiq_client.transport import TRIES, Answer, send_retrying

BASE_PATH = "/api/plugins"
#: A used refresh token may be exchanged again for 60 s, when its answer was lost: the tries must end before.
REFRESH_WITHIN_S, REFRESH_TIMEOUT_S = 40.0, 10.0


class Api:
    """Calls the API at `base_url` with an API key, or with a session after `sign_in`. Threads may share it."""

    def __init__(
        self,
        base_url: str,
        key: Optional[str] = None,
        *,
        key_file: Optional[Union[str, Path]] = None,
        auto_rotate: bool = False,
        tokens: Optional[Tokens] = None,
        on_tokens: Optional[Callable[[Tokens], None]] = None,
        platform: str = "unknown",
        version: str = "1.0.0",
        timeout_s: float = 60.0,
        tries: int = TRIES,
    ) -> None:
        """`platform` and `version` are the plugin's; `timeout_s` is how long the service may be silent.

        What fails for a while is tried `tries` times in all, with growing pauses.

        `key_file` holds the key instead of `key`; with `auto_rotate` the new key is kept there when the service asks
        for a rotation (the key needs the scope `keys:write`). ValueError without it.

        `tokens` go on with a session that was kept. `on_tokens` is told each new pair, to keep it.
        """
        if auto_rotate and not key_file:
            raise ValueError("auto_rotate needs key_file, a place to keep the new key")
        self.base_url = _checked(base_url)
        self.timeout_s, self.tries = timeout_s, tries
        self._key = KeyFile(key_file).read() if key_file and not auto_rotate else key
        self._rotation = AutoRotation(KeyFile(key_file), self._call_with_key) if key_file and auto_rotate else None
        self._on_tokens = on_tokens
        self._session = self._new_session(tokens) if tokens else None
        self._agent = f"Renderiq-Plugin/{platform}/{version}"

    def __repr__(self) -> str:
        who = "session" if self._session else "key" if self._key or self._rotation else "nobody"
        return f"{type(self).__name__}({self.base_url!r}, {who})"

    def call(
        self,
        method: str,
        path: str,
        body: Optional[dict[str, Any]] = None,
        headers: Optional[dict[str, str]] = None,
    ) -> Any:
        """One API call, repeated where that is safe; the answer's JSON.

        RenderiqError when the API refuses, NetworkError when it does not answer.
        """
        return content(self.answer(method, path, body, headers))

    def answer(
        self,
        method: str,
        path: str,
        body: Optional[dict[str, Any]] = None,
        headers: Optional[dict[str, str]] = None,
    ) -> Answer:
        """The answer to a call as it came, after an access token that was refused has been exchanged, once."""
        again = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        sent = {**again, **(headers or {})}
        credential = self._credential()
        answer = self._send(method, path, body, {**sent, **credential})
        if self._session and answer.status == 401 and answer.problem().get("code") == "invalid_token":
            self._session.renew(_token(credential))
            answer = self._send(method, path, body, {**sent, **self._credential()})
        if self._rotation and not self._session:
            self._rotation.heed(_token(credential), answer)
        return answer

    def sign_in(self, email: str, password: str, device: Optional[str] = None) -> Any:
        """Sign in; later calls are this session's, which is refreshed by itself. The user."""
        body = {"email": email, "password": password, "device": device}
        answer = content(self._send("POST", "/auth/signin", body, {}))
        tokens = Tokens.of(answer)
        self._session = self._new_session(tokens)
        if self._on_tokens:
            self._on_tokens(tokens)
        return answer["user"]

    def sign_out(self, everywhere: bool = False) -> None:
        """End this session, or all of the account's."""
        self.call("POST", "/auth/signout", {"everywhere": everywhere})
        self._session = None

    def use_key(self, key: str) -> None:
        """Call with an API key from now on."""
        self._key, self._rotation, self._session = key, None, None

    def _credential(self) -> dict[str, str]:
        """The header that says who is calling: made here and nowhere else."""
        if self._session:
            return _bearer(self._session.access_token())
        return _bearer(self._rotation.key() if self._rotation else self._key)

    def _call_with_key(self, key: str, method: str, path: str, body: Optional[dict[str, Any]]) -> Any:
        again = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        return content(self._send(method, path, body, {**again, **_bearer(key)}))

    def _send(
        self, method: str, path: str, body: Optional[dict[str, Any]], headers: dict[str, str], **limits: Any
    ) -> Answer:
        sent = {"User-Agent": self._agent, "Accept": "application/json", **headers}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        limits = {"timeout_s": self.timeout_s, "tries": self.tries, **limits}
        return send_retrying(method, self.base_url + BASE_PATH + path, sent, data, **limits)

    def _new_session(self, tokens: Tokens) -> Session:
        return Session(tokens, self._exchange, self._on_tokens)

    def _exchange(self, refresh_token: str) -> Tokens:
        limits = {"timeout_s": REFRESH_TIMEOUT_S, "within_s": REFRESH_WITHIN_S}
        return Tokens.of(content(self._send("POST", "/auth/refresh", {"refreshToken": refresh_token}, {}, **limits)))


def _bearer(token: Optional[str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _token(credential: dict[str, str]) -> str:
    return credential.get("Authorization", "").partition(" ")[2]


def content(answer: Answer) -> Any:
    """An answer's JSON. RenderiqError for a refusal; NetworkError for what the API would not say."""
    if answer.status >= 300:
        place = answer.headers.get("Location")
        told = {"detail": f"The service is at {place}."} if place else {}
        raise RenderiqError(answer.status, {**told, **answer.problem()}, answer.headers.get("X-Request-Id"))
    try:
        return answer.json()
    except ValueError:
        raise NetworkError("what answers is not the API; is there a sign-in page of this network?") from None


def _checked(base_url: str) -> str:
    """The address without its end. ValueError for plain http to another machine, which would show the key to all."""
    parts = urlsplit(base_url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return base_url.rstrip("/")
    raise ValueError(f"base_url must be https:// (or http:// on this machine), not {base_url!r}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
