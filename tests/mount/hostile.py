# SPDX-License-Identifier: Apache-2.0
"""Workers that are somebody else's: one that serves, and was taken over; and one that never was the daemon's program."""
import array
import os
import shutil
import signal
import socket
import struct
import subprocess
from pathlib import Path

import lab
import pytest
from lab import PYTHON, eventually, is_gone

HERE = Path(__file__).resolve().parent


class TakenOver:
    """The mount's real worker, in its sandbox, which does what is put down for it (taken_over.c)."""

    def __init__(self, make, **options):
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("needs a C compiler")
        library = make.folder() / "taken_over.so"
        subprocess.run([compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", library, HERE / "taken_over.c"], check=True)
        self.world = make.world()
        self.mount = make.mount(self.world, "--allow-other", start=False, **options)
        self.orders = self.mount.state / "hffs-v1/orders"
        self.mount.env |= {"LD_PRELOAD": str(library), "HFFS_TAKEN_OVER": str(self.orders)}
        self.mount.start()

    def does(self, *orders):
        """The errno of each."""
        self.orders.write_text("".join(f"{each}\n" for each in orders))
        os.kill(self.mount.worker, signal.SIGUSR2)
        found = {}

        def heard():
            for line in self.mount.log().splitlines():
                if line.startswith("taken over: "):
                    order, _, code = line.removeprefix("taken over: ").rpartition(": ")
                    found[order] = int(code)
            return found.keys() >= set(orders)
        eventually(heard, 10, "its doing what it was told")
        return [found[each] for each in orders]


# src/keeper/channel.h
SAYS = ("handover take_turn mount may_back open_backing close_backing read_token unmount abort replace ready failed alive "
        "answer").split()
HEAD = struct.Struct("=Iii")
FINE = -1


class Impostor:
    """Stands in the place of the program, so that the keeper starts it as its next worker, which hands its end of the channel
    to the test. Use one by with: what comes behind is the daemon's own program."""

    SCRIPT = """#!{python} -IS
import socket, time
with socket.socket(socket.AF_UNIX) as to:
    to.connect({path!r})
    socket.send_fds(to, [b"."], [3])
time.sleep(600)
"""

    def __init__(self, make, monkeypatch):
        """Before the mount is made."""
        self.folder = make.folder()
        self.program, self.real = self.folder / "hffs", self.folder / "real"
        for each in (self.program, self.real):
            shutil.copy(lab.HFFS, each)
        monkeypatch.setattr(lab, "HFFS", str(self.program))

    def _put(self, text=None):
        new = self.folder / "new"
        shutil.copy(self.real, new)
        if text:
            new.write_text(text)
        os.replace(new, self.program)

    def follow(self, mount):
        """The worker is killed, and this one comes. Before that nobody listens."""
        before = mount.worker
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.folder / "socket"))
            listening.listen()
            listening.settimeout(20)
            self._put(self.SCRIPT.format(python=PYTHON, path=str(self.folder / "socket")))
            os.kill(before, signal.SIGKILL)
            connection, _ = listening.accept()
            with connection:
                self.pid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                _, [fd], _, _ = socket.recv_fds(connection, 1, 1)
        assert is_gone(before)
        self._put()
        self.channel = socket.socket(fileno=fd)
        self.channel.settimeout(5)
        return self

    def say(self, what, number=0, text=b"", fds=()):
        kind = SAYS.index(what) if isinstance(what, str) else what
        self.channel.sendmsg([HEAD.pack(kind, FINE, number), text],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])

    def ask(self, what, number=0, text=b"", fds=()):
        """(code, number or words, descriptors)"""
        self.say(what, number, text, fds)
        data, got, _, _ = socket.recv_fds(self.channel, 8192, 4)
        said, code, number = HEAD.unpack(data[:HEAD.size])
        assert said == SAYS.index("answer")
        return code, (number if code == FINE else data[HEAD.size:].decode()), got

    def kill(self):
        """And the real one goes on."""
        self.channel.close()
        os.kill(self.pid, signal.SIGKILL)
