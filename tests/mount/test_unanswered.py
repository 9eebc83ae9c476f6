# SPDX-License-Identifier: Apache-2.0
"""K9: workers are killed within changes that users make, at each step (unanswered.c): before and behind what is done, and between
that and its answer. Who asked hears what he would have heard, and it is done once."""
import errno
import os
import shutil
import signal
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from lab import errno_of
from test_takeover import kernel  # noqa: F401

HERE = Path(__file__).resolve().parent
# linux/fuse.h
SYMLINK, SETATTR, MKDIR, UNLINK, RMDIR, RENAME, WRITE, FSYNC, CREATE = 6, 4, 9, 10, 11, 12, 16, 20, 35
MOST_STEPS = 100


class Killer:
    def __init__(self, make):
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("needs a C compiler")
        folder = make.folder()
        library, self.path = folder / "unanswered.so", folder / "control"
        subprocess.run([compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", library, HERE / "unanswered.c", "-ldl"], check=True)
        self._put(0, 0, 0, 0)
        self.path.chmod(0o666)
        self.env = {"LD_PRELOAD": str(library), "HFFS_UNANSWERED": str(self.path)}

    def begin(self, worker, opcode, nth):
        self._put(opcode, nth, 0, 0)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._kill, args=(worker,), daemon=True)
        self.thread.start()

    def _kill(self, worker):
        over = False
        while not over:
            over = self.ended.wait(0.002)
            if self._get()[3]:
                # It may have answered and stopped behind that, in another thread.
                os.kill(worker, signal.SIGKILL)
                return

    def end(self):
        """(steps that were seen, whether a worker was killed), and nobody is killed any more."""
        self.ended.set()
        self.thread.join()
        _, _, seen, killed = self._get()
        self._put(0, 0, 0, 0)
        return seen, bool(killed)

    def _get(self):
        return struct.unpack("4I", self.path.read_bytes())

    def _put(self, *numbers):
        # In place: it is mapped.
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        os.pwrite(fd, struct.pack("4I", *numbers), 0)
        os.close(fd)


class Change:
    """One of a kind: `there` is made before it, `act` does it, and `check` looks at what came of it."""
    opcode = 0

    def __init__(self, mount, number):
        self.place = mount.point / ".locks" / f"{type(self).__name__}-{number}"
        os.mkdir(self.place)
        self.old, self.new, self.fd = str(self.place / "old"), str(self.place / "new"), -1
        self.there()

    def there(self):
        pass

    def put(self, path, data):
        with open(path, "xb") as file:
            file.write(data)

    def is_only(self, *names):
        assert sorted(os.listdir(self.place)) == sorted(names)

    def end(self):
        if self.fd >= 0:
            os.close(self.fd)
        shutil.rmtree(self.place)


class MakesADirectory(Change):
    opcode = MKDIR

    def act(self):
        os.mkdir(self.new)

    def check(self):
        self.is_only("new")
        assert errno_of(os.mkdir, self.new) == errno.EEXIST


class RemovesADirectory(Change):
    opcode = RMDIR

    def there(self):
        os.mkdir(self.old)

    def act(self):
        os.rmdir(self.old)

    def check(self):
        self.is_only()


class MakesALink(Change):
    opcode = SYMLINK

    def act(self):
        os.symlink("to/it", self.new)

    def check(self):
        assert os.readlink(self.new) == "to/it"


class MakesAFile(Change):
    opcode = CREATE

    def act(self):
        self.fd = os.open(self.new, os.O_CREAT | os.O_EXCL | os.O_RDWR)

    def check(self):
        self.is_only("new")
        assert os.pwrite(self.fd, b"text", 0) == 4 and Path(self.new).read_bytes() == b"text"


class RemovesAFile(Change):
    opcode = UNLINK

    def there(self):
        self.put(self.old, b"old")
        self.fd = os.open(self.old, os.O_RDONLY)

    def act(self):
        os.unlink(self.old)

    def check(self):
        self.is_only()
        assert os.pread(self.fd, 10, 0) == b"old", "a removed file lives while it is open"


class Replaces(Change):
    opcode = RENAME

    def there(self):
        self.put(self.old, b"old")
        self.put(self.new, b"replaced")
        self.fd = os.open(self.new, os.O_RDONLY)

    def act(self):
        os.rename(self.old, self.new)

    def check(self):
        self.is_only("new")
        assert Path(self.new).read_bytes() == b"old" and os.pread(self.fd, 10, 0) == b"replaced"


class Appends(Change):
    opcode = WRITE

    def there(self):
        self.put(self.old, b"begin ")
        self.fd = os.open(self.old, os.O_WRONLY | os.O_APPEND)

    def act(self):
        assert os.write(self.fd, b"once") == 4

    def check(self):
        assert Path(self.old).read_bytes() == b"begin once"


class Truncates(Change):
    opcode = SETATTR

    def there(self):
        self.put(self.old, b"0123456789")

    def act(self):
        os.truncate(self.old, 4)

    def check(self):
        assert Path(self.old).read_bytes() == b"0123"


class SetsTimes(Truncates):
    def act(self):
        os.utime(self.old, (1_000_000_000, 1_000_000_000))

    def check(self):
        assert os.stat(self.old).st_mtime == 1_000_000_000


class Syncs(Appends):
    opcode = FSYNC

    def act(self):
        super().act()
        os.fsync(self.fd)


@pytest.mark.limit(120)
@pytest.mark.parametrize("kind", [MakesADirectory, RemovesADirectory, MakesALink, MakesAFile, RemovesAFile, Replaces, Appends, Truncates,
                                  SetsTimes, Syncs], ids=lambda kind: kind.__name__)
def test_K9_killed_at_each_step_of(make, kernel, kind):
    killer = Killer(make)
    mount = make.mount(make.world(), env=killer.env, config=kernel)
    kills, first = 0, mount.worker
    for nth in range(1, MOST_STEPS):
        change = kind(mount, nth)
        killer.begin(mount.worker, kind.opcode, nth)
        try:
            change.act()
        finally:
            seen, killed = killer.end()
        change.check()
        change.end()
        kills += killed
        if not killed:
            assert seen < nth
            break
    # Before its answer at least, and each step has been one of them.
    assert kills == nth - 1 >= 1 and mount.worker != first
