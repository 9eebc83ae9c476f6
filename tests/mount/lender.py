# SPDX-License-Identifier: Apache-2.0
"""A lender of a folder that is not ours (include/hffs/lending.h): what a daemon is told, right or wrong, is the test's."""
import array
import json
import os
import socket
import struct
import threading

BEGIN, LIST, OPEN_FILE, READ_LINK, IDENTITY = range(5)
VERSION, FINE, NOT_FOUND = 1, 0xff, 0


def text(value):
    return struct.pack("<I", len(value)) + value


def fine(rest=b""):
    return bytes([VERSION, FINE]) + text(b"") + rest


class Lender:
    """Imports `path` as `hffs import` does. `answer`(what, place) → bytes, and perhaps a descriptor; None: it goes away."""

    def __init__(self, mount, path, answer, **request):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours, self.answer, self.asked = ours, answer, []
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(str(mount.state / "hffs-v1/control.sock"))
        line = json.dumps({"command": "import", "path": str(path), **request}) + "\n"
        self.control.sendmsg([line.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
        theirs.close()
        self.lines = self.control.makefile("rw")
        threading.Thread(target=self._serve, daemon=True).start()
        self.started = json.loads(self.lines.readline())

    def _serve(self):
        while question := self.ours.recv(1 << 16):
            what, place = question[1], question[6:]
            self.asked.append((what, place))
            said = self.answer(what, place)
            if said is None:
                break
            message, *descriptors = said if isinstance(said, tuple) else (said,)
            self.ours.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])
        self.ours.close()

    def look(self):
        self.lines.write(json.dumps({"command": "import-progress", "job": self.started["job"]}) + "\n")
        self.lines.flush()
        return json.loads(self.lines.readline())

    def close(self):
        self.lines.close()
        self.control.close()


def honest(path):
    """Answers as hffs would, of a plain file system."""
    def answer(what, place):
        where = os.path.join(os.fsencode(path), place)
        if not os.path.lexists(where):
            return bytes([VERSION, NOT_FOUND]) + text(b"it is not there")
        if what == BEGIN:
            return fine(text(os.fsencode(path)))
        if what == LIST:
            names = b"".join(struct.pack("<I", os.lstat(os.path.join(where, name)).st_mode) + text(name)
                             for name in sorted(os.listdir(where)))
            return fine(b"\0" + text(names))
        if what == OPEN_FILE:
            return fine(), os.open(where, os.O_RDONLY)
        if what == READ_LINK:
            return fine(text(os.readlink(where)))
        status = os.lstat(where)
        return fine(struct.pack("<QQ", status.st_dev, status.st_ino))
    return answer
