"""A receiver of webhooks: a real HTTP server that answers what it is told to, and keeps what it got."""

import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Answers come from `answers` in order, then `usual`: a status and headers, and a body if there is one.

    What came is in `got`: when, headers, body. While `gate` is not set every answer is held.
    """

    def __init__(self, port=0):
        self.got = queue.Queue()
        self.answers = queue.Queue()
        self.usual = (204, {})
        self.gate = threading.Event()
        self.gate.set()
        self.lock = threading.Lock()
        self.now = self.most_at_once = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.now += 1
                    outer.most_at_once = max(outer.most_at_once, outer.now)
                outer.got.put((time.time(), dict(self.headers), body))
                outer.gate.wait(60)
                with outer.lock:
                    outer.now -= 1
                self.answer(*outer.next_answer())

            def answer(self, status, headers, content=b""):
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)
                except (BrokenPipeError, ConnectionResetError):
                    return  # the sender was killed

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def next_answer(self):
        try:
            return self.answers.get_nowait()
        except queue.Empty:
            return self.usual

    def taken(self):
        """All that came since it was last asked."""
        found = []
        while not self.got.empty():
            found.append(self.got.get())
        return found

    def stop(self):
        self.gate.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
