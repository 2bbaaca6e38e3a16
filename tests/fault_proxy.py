"""An HTTP proxy that does to requests and answers what networks do to them."""

import http.client
import re
import select
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

QUANTUM = 256 << 10


class FaultProxy(ThreadingHTTPServer):
    """Passes requests on to `upstream`, but for those that a fault waits for. `seen` are methods and paths."""

    daemon_threads = True

    def __init__(self, upstream="", tls=None):
        super().__init__(("127.0.0.1", 0), Exchange)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.upstream = upstream
        #: The Host that upstream sees, where that is signed and names upstream itself.
        self.host = None
        self.seen = []
        self._faults = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def inject(self, *faults, into):
        """Each of `faults` happens once, to a request whose `METHOD path` the pattern `into` finds."""
        with self._lock:
            self._faults += [(into, fault) for fault in faults]

    def left(self):
        """Faults that have not happened."""
        with self._lock:
            return [fault.__name__ for _, fault in self._faults]

    def clear(self):
        with self._lock:
            self._faults.clear()
            self.seen.clear()

    def take(self, request):
        with self._lock:
            self.seen.append(request)
            for waiting in self._faults:
                if re.search(waiting[0], request):
                    self._faults.remove(waiting)
                    return waiting[1]
        return whole

    def handle_error(self, request, client_address):
        """A client that went away is what is tested here."""

    def close(self):
        self.shutdown()
        self.server_close()


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer, as the faults below treat them."""

    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def handle_request(self):
        self.length = int(self.headers.get("Content-Length") or 0)
        self.server.take(f"{self.command} {self.path}")(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_request

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(self.length)

    def forward(self, body, **changed):
        """What upstream answers: status, headers and body."""
        conn = http.client.HTTPConnection(urlsplit(self.server.upstream).netloc, timeout=60)
        try:
            host = {"Host": self.server.host} if self.server.host else {}
            conn.request(self.command, self.path, body, dict(self.headers) | host | changed)
            answer = conn.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            conn.close()

    def reply(self, status, headers=None, body=b""):
        self.send_response_only(status)
        kept = {n: v for n, v in (headers or {}).items() if n.lower() not in ("content-length", "transfer-encoding")}
        for name, value in kept.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reset(self):
        """Close with a RST: what was not yet sent is lost."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        self.close_connection = True


def whole(exchange):
    """No fault."""
    exchange.reply(*exchange.forward(exchange.body()))


def unavailable(exchange):
    exchange.body()
    exchange.reply(503)


def unavailable_for_a_second(exchange):
    exchange.body()
    exchange.reply(503, {"Retry-After": "1"})


def refused_before_it_was_read(exchange):
    exchange.reply(503)
    exchange.reset()


def reset_in_the_middle(exchange):
    """Upstream gets half of the body, and nobody an answer."""
    upstream = urlsplit(exchange.server.upstream)
    with socket.create_connection((upstream.hostname, upstream.port)) as conn:
        head = "".join(f"{name}: {value}\r\n" for name, value in exchange.headers.items())
        conn.sendall(f"{exchange.command} {exchange.path} HTTP/1.1\r\n{head}\r\n".encode())
        conn.sendall(exchange.rfile.read(exchange.length // 2))
    exchange.reset()


def lost_answer(exchange):
    """It arrived and was done, and nobody was told."""
    exchange.forward(exchange.body())
    exchange.reset()


def truncated_head(exchange):
    status, _, _ = exchange.forward(exchange.body())
    exchange.wfile.write(f"HTTP/1.1 {status} Resu".encode())
    exchange.close_connection = True


def truncated_body(exchange):
    status, headers, body = exchange.forward(exchange.body())
    exchange.send_response_only(status)
    for name, value in headers.items():
        if name.lower() not in ("content-length", "transfer-encoding"):
            exchange.send_header(name, value)
    exchange.send_header("Content-Length", str(len(body) + 1))
    exchange.end_headers()
    exchange.wfile.write(body)
    exchange.close_connection = True


def answer_without_range(exchange):
    status, headers, body = exchange.forward(exchange.body())
    exchange.reply(status, {name: value for name, value in headers.items() if name != "Range"}, body)


def less_kept_than_sent(exchange):
    """Only the first quantum of the chunk gets through."""
    body = exchange.body()
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", exchange.headers["Content-Range"])
    if not found or len(body) <= QUANTUM:
        exchange.reply(*exchange.forward(body))
        return
    changed = {"Content-Range": f"bytes {found[1]}-{int(found[1]) + QUANTUM - 1}/{found[2]}"}
    exchange.reply(*exchange.forward(body[:QUANTUM], **changed, **{"Content-Length": str(QUANTUM)}))


def answer_that_comes_too_late(exchange):
    """It comes when the client has gone."""
    answer = exchange.forward(exchange.body())
    select.select([exchange.connection], [], [], 60)
    exchange.reply(*answer)


def session_gone(exchange):
    exchange.body()
    exchange.reply(410)


def session_not_found(exchange):
    exchange.body()
    exchange.reply(404)


def swallowed(exchange):
    """Told to be whole, and nothing has arrived."""
    exchange.body()
    exchange.reply(200)


def corrupted(exchange):
    """One bit is another, and TCP did not notice."""
    body = bytearray(exchange.body())
    if body:
        body[len(body) // 2] ^= 1
    exchange.reply(*exchange.forward(bytes(body)))


def expired_url(exchange):
    exchange.body()
    told = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>ExpiredToken</Code><Message>Expired.</Message></Error>"
    exchange.reply(400, {"Content-Type": "application/xml"}, told)


def sign_in_page(exchange):
    """What a hotel's network answers."""
    exchange.body()
    exchange.reply(200, {"Content-Type": "text/html"}, b"<html>Welcome</html>")
