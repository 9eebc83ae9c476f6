# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 over threads: requests in, planned answers out, and listeners that can go away and return."""
import os
import select
import socket
import struct
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .messages import PIECE, Headers, Plan, Request, Slice


class Counted:
    """Counts bytes before they go out, so that whoever has received them finds them counted; what then
    does not go out is taken back."""

    def __init__(self, entry, count):
        self._entry, self.left = entry, count
        entry.sent(count)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entry.sent(-self.left)


class Gone(Exception):
    """The client left, or the answer's plan ends the connection here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 0
    timeout = 300

    def setup(self):
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def _serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(self.command, self.path, Headers(self.headers.items()),
                          self.rfile.read(length) if length else b"", self.server.origin, self.server.name)
        entry = None
        try:
            response, entry = self.server.answer(request)
            self._send(response, entry)
        except (Gone, OSError):
            self.close_connection = True
        finally:
            if entry:
                entry.finish()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve

    def _send(self, response, entry):
        plan, headers = response.plan, response.headers
        self._event(-1, plan)
        bodyless = self.command == "HEAD" or response.status in (204, 304)
        if response.status != 204 and "Content-Length" not in headers and not plan.no_length:
            headers.add("Content-Length", response.length)
        if plan.no_length or plan.cut_at is not None:
            self.close_connection = True
        if self.close_connection:
            headers.set("Connection", "close")
        head = [f"HTTP/1.1 {response.status} {reason(response.status)}", f"Date: {self.date_time_string()}",
                "Server: test-hub"]
        head += [f"{name}: {value}" for name, value in headers.pairs]
        data = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1", "replace")
        if bodyless or not response.length:
            self.connection.sendall(data)
            return
        if isinstance(response.body, bytes) and plan == Plan():
            with Counted(entry, len(response.body)) as counted:
                self.connection.sendall(data + response.body)
                counted.left = 0
            return
        self.connection.sendall(data)
        self._send_body(response, entry)

    def _send_body(self, response, entry):
        plan = response.plan
        if plan == Plan() and not self.server.tls:
            self._send_file(response.body, entry)
            return
        size = max(1, min(PIECE, plan.rate // 10)) if plan.rate else PIECE
        pieces = response.body.pieces(size) if isinstance(response.body, Slice) else \
            (response.body[i:i + size] for i in range(0, len(response.body), size))
        at = 0
        for piece in pieces:
            if plan.rate:
                time.sleep(len(piece) / plan.rate)
            at = self._send_piece(piece, at, plan, entry)
        self._event(at, plan)

    def _send_file(self, body, entry):
        with open(body.path, "rb") as file:
            at, end = body.start, body.start + body.length
            while at < end:
                with Counted(entry, min(end - at, 4 << 20)) as counted:
                    count = self._send_some(file, at, counted.left)
                    counted.left -= count
                    at += count

    def _send_some(self, file, at, most):
        # The socket has a timeout, so it does not block by itself.
        if not waits_until(self.connection, select.POLLOUT, self.timeout):
            raise Gone
        try:
            count = os.sendfile(self.connection.fileno(), file.fileno(), at, most)
        except BlockingIOError:
            return 0
        if count == 0:
            raise Gone
        return count

    def _send_piece(self, piece, at, plan, entry):
        if plan.corrupt_at is not None and at <= plan.corrupt_at < at + len(piece):
            piece = bytearray(piece)
            piece[plan.corrupt_at - at] ^= 0xFF
        while piece:
            stops = [s for s in (plan.stall_at, plan.reset_at, plan.cut_at) if s is not None and s >= at]
            self._event(at, plan)
            part = piece[:min([s - at for s in stops if s > at], default=len(piece))]
            with Counted(entry, len(part)) as counted:
                self.connection.sendall(part)
                counted.left = 0
            at, piece = at + len(part), piece[len(part):]
        return at

    def _event(self, at, plan):
        if plan.reset_at == at:
            self.reset()
        if plan.cut_at == at:
            raise Gone
        if plan.stall_at == at:
            plan.stall_at = None
            self.server.wait_released(plan.stalled, self.connection)

    def reset(self):
        """RST instead of FIN. Nothing may be left to flush, so whatever was sent stays sent."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.hard_closed.add(self.connection)
        raise Gone

    def log_message(self, *_):
        pass


def waits_until(connection, event, seconds):
    """poll, as select knows no descriptor above 1023."""
    poll = select.poll()
    poll.register(connection, event)
    return poll.poll(seconds * 1000)


def reason(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, listener, address):
        self.name, self.tls, self.answer = listener.name, listener.tls, listener.answer
        self.origin = ""
        self.open, self.hard_closed = set(), set()
        self.stopping = threading.Event()
        super().__init__(address, Handler)

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        if request in self.hard_closed:
            self.hard_closed.discard(request)
            request.close()
            return
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass

    def wait_released(self, event, connection):
        """Waits for `event`; gives up when the client leaves or the listener closes."""
        while not event.wait(0.05):
            if self.stopping.is_set():
                raise Gone
            if waits_until(connection, select.POLLIN, 0) and not self._peek(connection):
                raise Gone

    @staticmethod
    def _peek(connection):
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except (OSError, ValueError):  # ValueError: TLS sockets cannot peek
            return b""


class Listener:
    """One address. close() refuses and drops connections; open() hears again on the same port."""

    def __init__(self, name, answer, port=0, host="127.0.0.1", tls=None):
        self.name, self.answer, self.tls = name, answer, tls
        self._address = (host, port)
        self._server = None
        self._held = None  # keeps the port ours while nobody listens
        self._lock = threading.Lock()

    @property
    def port(self):
        return self._address[1]

    @property
    def origin(self):
        return f"{'https' if self.tls else 'http'}://{self._address[0]}:{self.port}"

    @property
    def is_open(self):
        return self._server is not None

    def open(self):
        with self._lock:
            if self._server:
                return
            server = _Server(self, self._address)
            self._address = server.server_address[:2]
            server.origin = self.origin
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05},
                             name=f"hub-{self.name}", daemon=True).start()
            self._server = server
            self._release()

    def close(self, hold=True):
        with self._lock:
            server, self._server = self._server, None
            if not server:
                self._release()
                return
            server.stopping.set()
            server.shutdown()
            server.server_close()
            if hold:
                self._hold()
            for connection in list(server.open):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _hold(self):
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(self._address)

    def _release(self):
        if self._held:
            self._held.close()
            self._held = None
