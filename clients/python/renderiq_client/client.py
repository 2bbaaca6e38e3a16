"""The client: one method an endpoint, and the few that do a plugin's whole jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional, Union

from renderiq_client.api import Api, content
from renderiq_client.downloads import Download
from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.resumable import Progress
from renderiq_client.transport import RETRIED
from renderiq_client.uploads import Upload

#: How long the service is asked to hold an answer for a render that is not over; with stages shown, less.
WAIT_S, WAIT_WITH_STAGES_S = 20.0, 2.0
#: Between two looks where the service does not say.
POLL_S = 1.0
CHUNK_BYTES = 8 << 20


def _silent(_done: int, _total: int) -> None:
    """No progress is shown."""


class Client(Api):
    """What a plugin does. Answers are the API's JSON.

    RenderiqError when it refuses, NetworkError when it does not answer.
    """

    def me(self) -> Any:
        """Who is calling."""
        return self.call("GET", "/auth/me")

    def credits(self) -> Any:
        """The account's credits."""
        return self.call("GET", "/credits")

    def create_key(self, name: str, scopes: list[str], **options: Any) -> Any:
        """A new API key; `key` in the answer is shown once."""
        return self.call("POST", "/keys", {"name": name, "scopes": scopes, **_camel(options)})

    # Uploads and renders.

    def upload(
        self,
        path: Union[str, Path],
        purpose: str = "snapshot",
        progress: Progress = _silent,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> Any:
        """Upload a picture in constant memory. Called again after a crash it goes on where it was.

        `progress` gets the bytes kept so far and all bytes. `chunk_bytes` is a multiple of 256 KiB.
        """
        return Upload(self, Path(path), purpose, progress, chunk_bytes).run()

    def render(self, upload_id: str, prompt: str, *, idempotency_key: Optional[str] = None, **options: Any) -> Any:
        """Order a render of a ready upload. The same `idempotency_key` again orders nothing again.

        `options` are the API's (`quality`, `style`, `seed`, `project_id`, `depth_upload_id` …).
        """
        body = {"uploadId": upload_id, "prompt": prompt, **_camel(options)}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self.call("POST", "/renders", body, headers)

    def wait(self, render_id: str, timeout_s: float = 300.0, on_stage: Optional[Callable[[Any], None]] = None) -> Any:
        """The render once it is over. TimeoutError when that takes longer; the render goes on then.

        `on_stage` gets the render each time it was looked at.
        """
        end = time.monotonic() + timeout_s
        longest = min(WAIT_WITH_STAGES_S if on_stage else WAIT_S, self.timeout_s / 2)
        while True:
            render, pause_s = self._look(render_id, max(0.0, min(longest, end - time.monotonic())), end)
            if render and on_stage:
                on_stage(render)
            if render and render["terminal"]:
                return render
            if time.monotonic() >= end:
                status = render["status"] if render else "out of sight"
                raise TimeoutError(f"render {render_id} is still {status} after {timeout_s:.0f} s")
            time.sleep(max(0.0, min(pause_s, end - time.monotonic())))

    def _look(self, render_id: str, hold_s: float, end: float) -> tuple[Any, float]:
        """The render, None while the service is away before `end`; and how long to wait before the next look."""
        try:
            answer = self.answer("GET", f"/renders/{render_id}", headers={"Prefer": f"wait={hold_s:.0f}"})
            return content(answer), answer.retry_after() or POLL_S
        except RenderiqError as error:
            # A closed laptop, a changed network, a restarted service: the render goes on meanwhile.
            if not _is_temporary(error) or time.monotonic() >= end:
                raise
            return None, error.retry_after or POLL_S

    def cancel(self, render_id: str) -> Any:
        """Cancel a render that is not over: it costs nothing. The render."""
        return self.call("POST", f"/renders/{render_id}/cancel")

    def download(self, file: dict[str, Any], path: Union[str, Path], progress: Progress = _silent) -> None:
        """One of a render's files, verified by its SHA-256, to `path`: all of it or nothing.

        RenderiqError `url_expired` when the render was asked for too long ago.
        """
        Download(file, Path(path), progress, self.timeout_s, self.tries).run()

    # Webhooks.

    def register_webhook(self, url: str, events: list[str], description: Optional[str] = None) -> Any:
        """A new webhook; `secret` in the answer is shown once."""
        return self.call("POST", "/webhooks/register", {"url": url, "events": events, "description": description})

    def list_webhooks(self) -> Iterator[Any]:
        """All webhooks, newest first."""
        return self._all("/webhooks")

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook."""
        self.call("DELETE", f"/webhooks/{webhook_id}")

    def _all(self, path: str) -> Iterator[Any]:
        """The items of every page of a list."""
        cursor = ""
        while True:
            page = self.call("GET", f"{path}?limit=100{cursor}")
            yield from page["items"]
            if not page["nextCursor"]:
                return
            cursor = f"&cursor={page['nextCursor']}"


def _is_temporary(error: RenderiqError) -> bool:
    return isinstance(error, NetworkError) or error.status in RETRIED


def _camel(options: dict[str, Any]) -> dict[str, Any]:
    """`project_id=` as the API's `projectId`; a name that is in camelCase stays."""
    words = {name: name.split("_") for name in options}
    return {
        first + "".join(word.capitalize() for word in rest): options[name] for name, (first, *rest) in words.items()
    }
