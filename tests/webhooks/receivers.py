"""What the tests of the sender share: receivers over real sockets and TLS, and a name server, all on loopback."""

import contextlib
import re
import socket
import ssl
import threading

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset
import trustme

from common.webhooks.connection import tls_context

HOST = "hooks.example.com"
BODY = b'{"type":"webhook.test"}'
HEADERS = {"webhook-id": "msg_1", "content-type": "application/json"}
#: What a test allows a sender whose deadline is SHORT_S: far below for ever, far above a loaded machine's delays.
SHORT_S, GENEROUS_MS = 0.6, 8_000
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """Reads one request of each connection and hands the socket to `script(conn, receiver)`, or sends it if bytes."""

    def __init__(self, script=NO_CONTENT, tls=None, address="127.0.0.1", *, reads=True):
        self.script, self.tls, self.reads = script, tls, reads
        self.requests, self.names, self.connections, self.taken = [], [], 0, 0
        self.over = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, 0), family=family)
        self.port = self.listener.getsockname()[1]
        if tls:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self):
        while not self.over.is_set():
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            if self.over.is_set():
                conn.close()
                return
            self.connections += 1
            self.threads.append(threading.Thread(target=self._serve, args=(conn,)))
            self.threads[-1].start()

    def _serve(self, conn):
        conn.settimeout(30)
        # A sender that has had enough hangs up: that is an end like another here.
        with contextlib.suppress(OSError), contextlib.closing(conn):
            wrapped = self.tls.wrap_socket(conn, server_side=True) if self.tls else conn
            with contextlib.closing(wrapped):
                if self.reads:
                    self.requests.append(_request(wrapped))
                if isinstance(self.script, bytes):
                    wrapped.sendall(self.script)
                else:
                    self.script(wrapped, self)

    def stop(self):
        self.over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self.listener.getsockname()[:2], 5).close()
        for thread in self.threads:
            thread.join(30)
        self.listener.close()


def _request(conn):
    got = b""
    while b"\r\n\r\n" not in got:
        got += conn.recv(65536) or _hung_up()
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < length:
        body += conn.recv(65536) or _hung_up()
    return head.decode(), body


def _hung_up():
    raise ConnectionError("the sender hung up")


def drip(piece, *, after=b"", every_s=0.02):
    """A script that sends `after`, then `piece` for as long as somebody listens."""

    def script(conn, receiver):
        conn.sendall(after)
        while not receiver.over.wait(every_s):
            conn.sendall(piece)

    return script


def flood(piece, *, after=b""):
    """A script that sends `after`, then 1 GiB of `piece`, as far as it is taken."""

    def script(conn, receiver):
        conn.sendall(after)
        for _ in range((1 << 30) // len(piece)):
            conn.sendall(piece)
            receiver.taken += len(piece)

    return script


def silent(_conn, receiver):
    """A script that answers nothing for as long as the test lasts."""
    receiver.over.wait(60)


def reset(conn, _receiver):
    """A script that resets the connection."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def answer(status, *headers, body=b""):
    """An answer's bytes, with its length."""
    lines = [f"HTTP/1.1 {status} Some Words", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class NameServer:
    """A name server over UDP. `records` maps "A" and "AAAA" to what is told of every name.

    What is told is addresses, a failure's name (NXDOMAIN, SERVFAIL), "silence", or a list of such to tell in turn, of
    which the last stays. Addresses after `via` hang on that alias.
    """

    def __init__(self, via=None, **records):
        self.records, self.via, self.asked = records, via, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def resolver(self):
        """A resolver that asks this server only."""
        made = dns.resolver.Resolver(configure=False)
        made.lifetime = 60
        made.nameservers, made.port = ["127.0.0.1"], self.socket.getsockname()[1]
        return made

    def _serve(self):
        while True:
            wire, sender = self.socket.recvfrom(4096)
            if not wire:
                return
            told = self._answer(dns.message.from_wire(wire))
            if told:
                self.socket.sendto(told.to_wire(want_shuffle=False), sender)

    def _answer(self, query):
        (question,) = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((str(question.name), kind))
        told = self.records.get(kind, [])
        if told and isinstance(told[0], list):
            told = told.pop(0) if len(told) > 1 else told[0]
        if told == "silence":
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if isinstance(told, str):
            response.set_rcode(dns.rcode.from_text(told))
            return response
        name = question.name
        if self.via:
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", self.via))
            name = dns.name.from_text(self.via)
        if told:
            response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *told))
        return response

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as goodbye:
            goodbye.sendto(b"", self.socket.getsockname())
        self.thread.join(30)
        self.socket.close()


class Certificates:
    """A certificate authority of its own, what it issued, and a context that trusts it."""

    def __init__(self, folder):
        self.authority = trustme.CA()
        self.path = str(folder / "authority.pem")
        self.authority.cert_pem.write_to_path(self.path)
        self.trusting = tls_context(self.path)

    def server(self, *names, **options):
        """A server's context whose certificate is for `names`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names or (HOST,), **options).configure_cert(context)
        return context
