"""The client: one method an endpoint, and the few that do a plugin's whole jobs."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import time
import uuid
from pathlib import Path
from typing import Any

from renderiq_client import resumable
from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.resumable import Progress, State
from renderiq_client.transport import READ_BYTES, connect, retry_after, send_retrying, target

BASE_PATH = "/api/plugins"


def _silent(_done: int, _total: int) -> None:
    """No progress is shown."""


class Client:
    """Calls the API at `base_url` with an API key, or with a session after `sign_in`.

    Answers are the API's JSON. RenderiqError when it refuses, NetworkError when it does not answer.
    """

    def __init__(
        self, base_url: str, key: str | None = None, *, platform: str = "unknown", version: str = "1.0.0"
    ) -> None:
        """`platform` and `version` are the plugin's."""
        self._base = base_url.rstrip("/")
        self._token = key
        self._agent = f"Renderiq-Plugin/{platform}/{version}"

    def call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """One API call; repeated where that is safe, with one Idempotency-Key for all its tries."""
        sent = {"User-Agent": self._agent, "Accept": "application/json", **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        if method == "POST":
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        answer = send_retrying(method, self._base + BASE_PATH + path, sent, data)
        content = json.loads(answer.body) if answer.body else None
        if answer.status >= 300 and answer.status != 304:
            raise RenderiqError(answer.status, content if isinstance(content, dict) else {})
        if isinstance(content, dict) and (pause := retry_after(answer)):
            content["_retryAfter"] = pause
        return content

    def sign_in(self, email: str, password: str, device: str | None = None) -> dict[str, Any]:
        """Sign in; later calls are the session's."""
        session: dict[str, Any] = self.call(
            "POST", "/auth/signin", {"email": email, "password": password, "device": device}
        )
        self._token = session["accessToken"]
        return session

    def use_key(self, key: str) -> None:
        """Call with an API key from now on."""
        self._token = key

    def create_key(self, name: str, scopes: list[str], **options: Any) -> Any:
        """A new API key; `key` in the answer is shown once."""
        return self.call("POST", "/keys", {"name": name, "scopes": scopes, **options})

    def register_webhook(self, url: str, events: list[str]) -> Any:
        """A new webhook; `secret` in the answer is shown once."""
        return self.call("POST", "/webhooks/register", {"url": url, "events": events})

    def credits(self) -> Any:
        """The account's credits."""
        return self.call("GET", "/credits")

    def me(self) -> Any:
        """Who is calling."""
        return self.call("GET", "/auth/me")

    def upload(
        self, path: Path, purpose: str = "snapshot", progress: Progress = _silent, chunk_bytes: int = 8 << 20
    ) -> Any:
        """Upload a picture in constant memory. Called again after a crash it goes on where it was.

        `progress` gets the bytes kept so far and all bytes. `chunk_bytes` is a multiple of 256 KiB.
        """
        state = State(path)
        known = state.load(purpose)
        for _ in range(3):
            if known is None:
                known = self._begin(path, purpose, state)
            try:
                resumable.run(known["uri"], path, chunk_bytes, progress)
            except resumable.SessionLost:
                known = None
                continue
            done = self.call("POST", f"/uploads/{known['uploadId']}/complete")
            state.clear()
            return done
        raise NetworkError("the upload's session ended again and again")

    def _begin(self, path: Path, purpose: str, state: State) -> dict[str, str]:
        made = self.call(
            "POST",
            "/uploads",
            {
                "fileName": path.name,
                "contentType": mimetypes.guess_type(path.name)[0] or "image/png",
                "sizeBytes": path.stat().st_size,
                "purpose": purpose,
            },
        )
        uri = resumable.begin(made["transfer"])
        state.save(made["id"], uri, purpose)
        return {"uploadId": made["id"], "uri": uri}

    def render(self, upload_id: str, prompt: str, **options: Any) -> Any:
        """Order a render of a ready upload."""
        return self.call("POST", "/renders", {"uploadId": upload_id, "prompt": prompt, **options})

    def wait(self, render_id: str, timeout_s: float = 300.0, on_stage: Any = None) -> Any:
        """The render once it is over. TimeoutError when that takes longer."""
        end = time.monotonic() + timeout_s
        while True:
            render = self.call("GET", f"/renders/{render_id}")
            if on_stage:
                on_stage(render)
            if render["terminal"]:
                return render
            if time.monotonic() > end:
                raise TimeoutError(f"render {render_id} is still {render['status']}")
            time.sleep(min(render.get("_retryAfter", 1.0), max(0.0, end - time.monotonic())))

    def download(self, file: dict[str, Any], path: Path) -> None:
        """One of a render's files, verified by its SHA-256, to `path`. The key is not sent to the storage host."""
        conn = connect(file["url"], 60.0)
        digest, draft = hashlib.sha256(), path.with_name(path.name + ".part")
        try:
            conn.request("GET", target(file["url"]))
            response = conn.getresponse()
            if response.status != 200:
                raise RenderiqError(response.status, {"code": "download_failed"})
            with draft.open("wb") as out:
                while data := response.read(READ_BYTES):
                    digest.update(data)
                    out.write(data)
        finally:
            conn.close()
        if digest.hexdigest() != file["sha256"]:
            raise NetworkError("the downloaded file is not the one that was rendered")
        draft.replace(path)
