# SPDX-License-Identifier: Apache-2.0
"""Networks of a test's own, names in them, and servers that keep what they hear and say what a test wants."""
import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *args):
    if function(*args) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Network:
    """with network: … – sockets that this thread makes, and programs that it starts, are in there and reach nothing
    else. 203.0.113.0/24 is nobody's (RFC 5737), and so as good as any public address."""

    def __init__(self, *addresses):
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("needs root and the command ip for a network of its own")
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call(_libc.unshare, CLONE_NEWNET)
        except OSError as error:
            os.close(self._home)
            pytest.skip(f"no network of its own can be made here: {error}")
        self._inside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for address in addresses:
                family = ["-6"] if ":" in address else []
                subprocess.run(["ip", *family, "addr", "add", address, "dev", "lo", *(["nodad"] if family else [])],
                               check=True)
        finally:
            self.__exit__()

    def __enter__(self):
        _call(_libc.setns, self._inside, CLONE_NEWNET)
        return self

    def __exit__(self, *_):
        _call(_libc.setns, self._home, CLONE_NEWNET)

    def close(self):
        os.close(self._home)
        os.close(self._inside)


def name_server():
    """The address that this machine asks for names."""
    with contextlib.suppress(OSError):
        for line in Path("/etc/resolv.conf").read_text().splitlines():
            if line.startswith("nameserver") and ":" not in line:
                return line.split()[1]
    return "127.0.0.1"


class Names:
    """A name server. `table`: name → addresses."""

    def __init__(self, table):
        self._table = table
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((name_server(), 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError, ValueError):
            while True:
                question, sender = self._socket.recvfrom(1500)
                if not question:
                    return
                at, labels = 12, []
                while question[at]:
                    labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
                    at += 1 + question[at]
                name, kind = ".".join(labels), struct.unpack(">H", question[at + 1:at + 3])[0]
                family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
                known = name in self._table
                found = [each for each in self._table.get(name, ())
                         if family == (socket.AF_INET6 if ":" in each else socket.AF_INET)]
                answer = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(packed)) + packed
                                  for packed in (socket.inet_pton(family, each) for each in found))
                self._socket.sendto(question[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(found), 0, 0)
                                    + question[12:at + 5] + answer, sender)

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@dataclass(frozen=True)
class Heard:
    method: str
    target: str
    headers: dict = field(repr=False)  # names in lower case

    @property
    def token(self):
        return self.headers.get("authorization")


def reply(status=200, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} Status", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


class Server:
    """Hears requests on `host` and answers what `answer(heard)` gives: bytes, or many pieces of them until the client
    goes. Keeps all that it heard, and counts connections: what was never sent here was not sent."""

    def __init__(self, answer=lambda heard: reply(404), host="127.0.0.1", port=0):
        self.answer, self.heard, self.connections = answer, [], 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
        self.host, self.port = host, self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def origin(self):
        return f"http://{self.host}:{self.port}"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                method, target, _ = line.decode("latin-1").split(" ", 2)
                headers = {}
                while (line := reader.readline().decode("latin-1").strip()):
                    name, value = line.split(":", 1)
                    headers[name.lower()] = value.strip()
                reader.read(int(headers.get("content-length", 0)))
                heard = Heard(method, target, headers)
                self.heard.append(heard)
                answer = self.answer(heard)
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    connection.sendall(piece)
                if not isinstance(answer, bytes):
                    return
                self.after(heard, connection)

    def after(self, heard, connection):
        """For what goes on over the same connection."""

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Proxy(Server):
    """Answers CONNECT, and joins both sides."""

    def __init__(self):
        super().__init__(lambda heard: reply(200) if heard.method == "CONNECT" else reply(502))

    def after(self, heard, connection):
        if heard.method != "CONNECT":
            return
        host, port = heard.target.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as other:
            other.settimeout(None)
            back = threading.Thread(target=self._pump, args=(other, connection), daemon=True)
            back.start()
            self._pump(connection, other)
            back.join(10)

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
