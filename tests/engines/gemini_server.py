"""Vertex AI's `generateContent` as far as an image model answers it, over HTTP. The prompt chooses what happens."""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image, ImageOps


def candidate(reason, *parts):
    found = {"index": 0, "finishReason": reason}
    return {"candidates": [found | ({"content": {"role": "model", "parts": list(parts)}} if parts else {})]}


def drawn(red, **more):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(out, "PNG")
    return {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(out.getvalue()).decode()}} | more


def error(code, status):
    return {"error": {"code": code, "message": "told by the service", "status": status}}


#: Status and body by a word of the prompt, as the service documents them.
ANSWERS = {
    "BLOCKED-PROMPT": (200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
    "NOT-TOLD-WHY": (200, {"promptFeedback": {"blockReason": "OTHER"}}),
    "BLOCKED-IMAGE": (200, candidate("IMAGE_SAFETY")),
    "UNSAFE": (200, candidate("SAFETY")),
    "DRAFTS": (200, candidate("STOP", drawn(10), drawn(20), drawn(30, thought=True))),
    "TEXT-ONLY": (200, candidate("STOP", {"text": "I cannot draw that."})),
    "NO-IMAGE": (200, candidate("NO_IMAGE")),
    "EMPTY": (200, {}),
    "NOT-A-PICTURE": (200, candidate("STOP", {"inlineData": {"mimeType": "image/png", "data": "bm90aGluZw=="}})),
    "BUSY": (429, error(429, "RESOURCE_EXHAUSTED")),
    "REFUSED": (400, error(400, "INVALID_ARGUMENT")),
    "FORBIDDEN": (403, error(403, "PERMISSION_DENIED")),
    "BROKEN": (500, error(500, "INTERNAL")),
    "LATE": (504, error(504, "DEADLINE_EXCEEDED")),
    "SLOW": (408, error(408, "DEADLINE_EXCEEDED")),
    "LARGE": (413, error(413, "INVALID_ARGUMENT")),
}


class GeminiServer:
    """Runs on a free port until `stop`; `seen` has each request's path, headers and body."""

    def __init__(self):
        self.seen = []
        self.overloaded = 0  # answers 503 so often
        self.slow_s = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.seen.append((self.path, dict(self.headers), body))
                status, answer = outer.answer(body)
                data = json.dumps(answer).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True  # the client did not wait

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def answer(self, body):
        text = " ".join(part.get("text", "") for part in body["contents"][0]["parts"])
        for word, told in ANSWERS.items():
            if word in text:
                return told
        if self.overloaded:
            self.overloaded -= 1
            return 503, error(503, "UNAVAILABLE")
        time.sleep(self.slow_s)
        sent = [part["inlineData"]["data"] for part in body["contents"][0]["parts"] if "inlineData" in part]
        picture = Image.open(io.BytesIO(base64.urlsafe_b64decode(sent[0]))).convert("RGB")
        out = io.BytesIO()
        ImageOps.mirror(picture).save(out, "PNG")
        drawn = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(out.getvalue()).decode()}}
        return 200, candidate("STOP", {"text": "Here it is."}, drawn)

    def stop(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
