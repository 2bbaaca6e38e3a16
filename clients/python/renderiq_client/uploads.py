"""A whole upload: announced, sent, completed, and begun again where something was lost on the way."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from renderiq_client import resumable
from renderiq_client.api import Api
from renderiq_client.errors import NetworkError, RenderiqError
from renderiq_client.resumable import Progress, SessionLost
from renderiq_client.source import Source, SourceChanged
from renderiq_client.state import State

#: How often an upload is begun again before something must be wrong that beginning again does not mend.
ATTEMPTS = 4
CHUNK_MULTIPLE = 256 << 10
#: Up to here the MD5 is declared beforehand, for 50 ms, and the service refuses what is corrupted. Of a larger file it
#: is compared at the end.
DECLARED_BYTES = 32 << 20


class Again(Exception):
    """What was sent is of no use; the message says why."""


class Upload:
    """One picture's upload by `api`."""

    def __init__(self, api: Api, path: Path, purpose: str, progress: Progress, chunk_bytes: int) -> None:
        """`chunk_bytes` is a multiple of 256 KiB, else ValueError."""
        if chunk_bytes <= 0 or chunk_bytes % CHUNK_MULTIPLE:
            raise ValueError(f"chunk_bytes is a multiple of {CHUNK_MULTIPLE}, not {chunk_bytes}")
        self._api, self._path, self._purpose = api, path, purpose
        self._progress, self._chunk_bytes = progress, chunk_bytes

    def run(self) -> Any:
        """The completed upload."""
        why = ""
        with State(self._path) as state:
            for _ in range(ATTEMPTS):
                try:
                    return self._attempt(state)
                except Again as again:
                    why = str(again)
                except SourceChanged:
                    why = f"{self._path.name} changes while it is sent"
        raise NetworkError(f"the upload was begun {ATTEMPTS} times in vain: {why}")

    def _attempt(self, state: State) -> Any:
        source = Source(self._path)
        # Beside the sending, for which hashing 200 MB first would be a wait.
        with ThreadPoolExecutor(1) as thread:
            md5 = thread.submit(source.md5)
            upload = self._resumed(state, source) or self._announced(state, source, md5)
            if upload["status"] == "pending":
                self._send(upload, state, source)
                upload = self._completed(upload["id"], state)
            state.forget()
            if upload["md5"] != md5.result():
                raise Again("it arrived corrupted")
        return upload

    def _resumed(self, state: State, source: Source) -> Any:
        """The upload that was begun earlier, as the service has it now; None when there is none to go on with."""
        if {**state.known, **self._facts(source)} != state.known:
            return None
        try:
            upload = self._api.call("GET", f"/uploads/{state.known['uploadId']}")
        except RenderiqError as error:
            if error.status != 404:
                raise
            return None
        return upload if upload["status"] in ("pending", "ready") else None

    def _announced(self, state: State, source: Source, md5: Future[str]) -> Any:
        declared = {"md5": md5.result()} if source.size <= DECLARED_BYTES else {}
        body = {
            "fileName": self._path.name,
            "contentType": source.content_type(),
            "sizeBytes": source.size,
            "purpose": self._purpose,
            **declared,
        }
        upload = self._api.call("POST", "/uploads", body)
        state.save(uploadId=upload["id"], uri=None, **self._facts(source))
        return upload

    def _send(self, upload: Any, state: State, source: Source) -> None:
        """Make the bytes arrive; Again when the session that took them is lost."""
        uri, kept, patience = state.known["uri"], None, (self._api.timeout_s, self._api.tries)
        try:
            if uri is None:
                uri, kept = resumable.begin(upload["transfer"], *patience), 0
                state.save(**{**state.known, "uri": uri})
            if uri is not None:
                resumable.run(uri, source, kept, self._chunk_bytes, self._progress, *patience)
        except SessionLost:
            state.save(**{**state.known, "uri": None})
            raise Again("its session or its signed URL ended") from None

    def _completed(self, upload_id: str, state: State) -> Any:
        try:
            return self._api.call("POST", f"/uploads/{upload_id}/complete")
        except RenderiqError as error:
            if error.status in (404, 422) or error.code == "upload_incomplete":
                state.forget()
            # What was lost or corrupted on its way may arrive next time.
            if error.code in ("upload_incomplete", "upload_mismatch"):
                raise Again(error.detail) from error
            raise

    def _facts(self, source: Source) -> dict[str, Any]:
        return {"api": self._api.base_url, "purpose": self._purpose, **source.facts}
