# SPDX-License-Identifier: Apache-2.0
"""A store of bytes that answers rightly, but for what it is told to spoil: by file and by place in it."""
import contextlib
import re
import select
import socket
import struct
import threading


class Turn:
    """One answer to be spoiled. `first` and `last` as asked for; `data`: the bytes that would be right."""

    def __init__(self, connection, made, first, last, healed, target):
        self.connection, self.made, self.healed, self.target = connection, made, healed, target
        self.first, self.last, self.size = first, last, made.size
        with open(made.source, "rb") as file:
            file.seek(first)
            self.data = file.read(last - first + 1)

    def head(self, status=206, drop=(), **headers):
        """The right head, changed: names as Python may write them, None leaves one out."""
        right = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes",
                 "Content-Length": str(len(self.data)), "Content-Range": f"bytes {self.first}-{self.last}/{self.size}"}
        right.update({name.replace("_", "-"): value for name, value in headers.items()})
        lines = [f"{name}: {value}" for name, value in right.items() if value is not None and name not in drop]
        return "\r\n".join([f"HTTP/1.1 {status} Status", *lines, "", ""]).encode("latin-1")

    def say(self, *pieces):
        self.connection.sendall(b"".join(pieces))

    def wait(self, seconds=None):
        """Until the fault is taken back, or the client is gone, or so long; True: go on."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP | select.POLLHUP)
        left = seconds
        while not self.healed.wait(0.02) and (left is None or left > 0):
            left = None if left is None else left - 0.02
            if poll.poll(0):
                raise OSError("the client is gone")
        return not self.healed.is_set()

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise OSError("reset")

    def half_close(self):
        self.connection.shutdown(socket.SHUT_WR)
        self.wait()


class Spoilt:
    def __init__(self, fault, covers):
        self.fault, self.covers, self.healed, self.hits = fault, covers, threading.Event(), 0


class Store:
    """Answers GETs of `/lfs/…/SHA256` as the hub's own byte port does. `context`: speaks TLS."""

    def __init__(self, files, context=None, faults=None):
        self._files = files  # sha256 → Made
        self._context = context
        self.faults = {} if faults is None else faults  # sha256 → Spoilt
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def origin(self):
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def spoil(self, sha256, fault, covers):
        self.faults[sha256] = spoilt = Spoilt(fault, covers)
        return spoilt

    def heal(self, sha256):
        spoilt = self.faults.pop(sha256)
        spoilt.healed.set()
        return spoilt.hits

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        self._open.add(connection)
        with contextlib.suppress(OSError, ValueError, IndexError), contextlib.ExitStack() as stack:
            stack.callback(self._open.discard, connection)
            stack.enter_context(connection)
            connection.settimeout(300)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context:
                connection = stack.enter_context(self._context.wrap_socket(connection, server_side=True))
            elif connection.recv(1, socket.MSG_PEEK) == b"\x16":
                connection.sendall(b"HTTP/1.1 400 The plain port was asked in TLS\r\nContent-Length: 0\r\n\r\n")
                return
            reader = stack.enter_context(connection.makefile("rb"))
            while line := reader.readline():
                target = line.decode("latin-1").split(" ")[1]
                asked = None
                while (line := reader.readline().decode("latin-1").strip()):
                    if line.lower().startswith("range:"):
                        asked = re.search(r"bytes=(\d+)-(\d+)", line)
                if not self._answer(connection, target, asked):
                    return

    def _answer(self, connection, target, asked):
        found = re.search(r"([0-9a-f]{64})", target)
        made = self._files.get(found[1]) if found else None
        if made is None:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        first, last = (int(asked[1]), min(int(asked[2]), made.size - 1)) if asked else (0, made.size - 1)
        spoilt = self.faults.get(found[1])
        hit = spoilt and first <= spoilt.covers <= last
        turn = Turn(connection, made, first, last, spoilt.healed if hit else threading.Event(), target)
        if not hit:
            turn.say(turn.head(), turn.data)
            return True
        spoilt.hits += 1
        return spoilt.fault(turn) is True

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
