# SPDX-License-Identifier: Apache-2.0
"""Real mounts of the real binary, and programs that use them from outside this process.

A page fault on the mount holds Python's one lock, and the test hub lives in this process: whatever maps
memory, forks or changes its user runs in a Child."""
import contextlib
import errno
import fcntl
import inspect
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HFFS = os.path.abspath(os.environ.get("HFFS", ROOT / "build/src/cli/hffs"))
PYTHON = os.path.realpath(sys.executable)
MIB = 1 << 20
BLOCK = MIB  # hffs/bytes.h
FS_TYPE = "fuse.hffs"
# Nobody in particular, but real to the kernel.
ALICE, BOB = 12345, 65534


def let_others_run_it():
    """Root's HFFS becomes a copy where others, as whom tests run it too, may not pass on the way to it, as in /root or
    most homes. Returns the copy's folder, to be removed in the end, or None. Call before tests import HFFS."""
    global HFFS
    path = Path(HFFS)
    if os.geteuid() != 0 or not path.exists() or all(each.stat().st_mode & stat.S_IXOTH for each in path.parents):
        return None
    folder = tempfile.mkdtemp(prefix="hffs-program-")
    os.chmod(folder, 0o755)
    HFFS = shutil.copy(path, folder)
    return folder


def eventually(check, timeout=10.0, what="it"):
    """The first true answer of `check`; fails loudly when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(0.01)


def mounts():
    """(mount point, file system type) of everything mounted, in order."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        after = fields.index("-")
        point = fields[4].encode().decode("unicode_escape")
        found.append((point, fields[after + 1]))
    return found


def is_mounted(point):
    return any(where == str(point) for where, _ in mounts())


def processes_with(text):
    """Pids whose command line holds `text`, without this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def state_of(pid):
    """R, S, D, Z, …; None: no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def is_gone(pid):
    return state_of(pid) in (None, "Z", "X")


def is_wholly_gone(pid):
    """Its other threads, too, which have its files open."""
    try:
        return is_gone(pid) and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except FileNotFoundError:
        return True


class SystemUser:
    """The user `hffs`, as the package makes it, for what is started here alone: with other files of users in a mount namespace
    of its own, whose mounts below a mount's box everybody sees."""
    UID, GID = 20990, 20991

    def __init__(self, folder):
        self.folder = folder
        for name, line in (("passwd", f"hffs:x:{self.UID}:{self.GID}::/var/lib/hffs:/usr/sbin/nologin"),
                           ("group", f"hffs:x:{self.GID}:")):
            (folder / name).write_text(Path("/etc", name).read_text().rstrip("\n") + f"\n{line}\n")

    def prefix(self, box=None):
        if box:
            subprocess.run(["mount", "--bind", box, box], check=True)
            subprocess.run(["mount", "--make-shared", box], check=True)
        script = ("mount --make-private / && mount --bind $0/passwd /etc/passwd && mount --bind $0/group /etc/group && "
                  "exec \"$@\"")
        return ["unshare", "-m", "--propagation", "unchanged", "sh", "-c", script, str(self.folder)]


class Run:
    """A finished command: exit code and words."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"<exit {self.code}\n{self.out}\n{self.err}>"


class Mount:
    """One state directory, one mount point, and the daemon between them."""

    alive = []  # every mount that has a daemon, for the watchdog

    def __init__(self, endpoints=(), args=(), env=None, user=None, config=None, background=False, system_user=None):
        self.box = Path(tempfile.mkdtemp(prefix="hffs-mount-"))
        self.box.chmod(0o755)
        self.point, self.state, self.home = self.box / "mnt", self.box / "state", self.box / "home"
        for folder in (self.point, self.home):
            folder.mkdir()
        self.log_file = self.box / "log"
        self.endpoints, self.args, self.user = list(endpoints), list(args), user
        self.background = background
        self.env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.home), "LANG": "C.UTF-8"}
        self.env.update(env or {})
        self.env = {name: value for name, value in self.env.items() if value is not None}
        if config:
            self.config = self.box / "config.toml"
            self.config.write_text(config)
            self.args += ["--config", str(self.config)]
        if user is not None:
            for each in (self.box, self.point, self.home):
                os.chown(each, user, user)
        # Where the daemon, and what is asked `as_system`, see a user that the machine does not have.
        self.prefix = system_user.prefix(self.box) if system_user else []
        self._process = None
        self._pid = self._worker = None

    # Its life

    def command(self, *extra):
        words = [HFFS, "mount", str(self.point), "--state-dir", str(self.state)]
        for endpoint in self.endpoints:
            words += ["--endpoint", endpoint]
        return words + [str(word) for word in (*self.args, *extra)]

    def start(self, *extra):
        """Mounts, in the background or as a child of ours, and returns once the mount answers."""
        Mount.alive.append(self)
        if self.background:
            done = self.hffs(*self.command("--log-file", self.log_file, *extra)[1:])
            assert done.code == 0, f"mount failed: {done}"
            self._pid, self._worker = self.status()["pid"], self.worker
            return self
        log = open(self.log_file, "ab")
        with log:
            self._process = subprocess.Popen([*self.prefix, *self.command("--foreground", *extra)], env=self.env, user=self.user,
                                             group=self.user, extra_groups=None if self.user is None else [],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        self._pid = self._process.pid
        self._wait_mounted()
        self._worker = self.worker
        return self

    def _wait_mounted(self):
        deadline = time.monotonic() + 20
        while FS_TYPE not in [kind for where, kind in mounts() if where == str(self.point)] or \
                not self._answers():
            assert self._process.poll() is None, f"hffs ended with {self._process.returncode}:\n{self.log()}"
            assert time.monotonic() < deadline, f"no mount after 20 s:\n{self.log()}"
            time.sleep(0.005)

    def _answers(self):
        """A dead mount may still lie below a new one; and the socket comes after the mount."""
        if self.user is None:
            try:
                os.stat(self.point)
            except OSError:
                return False
        return self.hffs("status", "--state-dir", str(self.state), "--json").code == 0

    @property
    def pid(self):
        """The keeper's, who mounted and who ends last."""
        return self._pid

    @property
    def worker(self):
        """The pid of who serves now."""
        return self.status()["worker"]["pid"]

    def daemon_gone(self):
        if self._process:
            return self._process.poll() is not None
        return self._pid is None or is_gone(self._pid)

    def wait_gone(self, timeout=15):
        eventually(self.daemon_gone, timeout, "the daemon's end")
        if self in Mount.alive:
            Mount.alive.remove(self)
        return self._process.returncode if self._process else None

    def umount(self):
        done = self.hffs("umount", str(self.point))
        assert done.code == 0, f"umount failed: {done}\n{self.log()}"
        assert not is_mounted(self.point), "umount returned, and the mount is still there"
        code = self.wait_gone(5)
        assert code in (0, None), f"the daemon ended with {code}:\n{self.log()}"

    def kill9(self):
        """All of it at once, as a machine that loses its power would."""
        os.kill(self._pid, signal.SIGKILL)
        if self._process:
            self._process.wait(10)
        self.wait_gone()
        eventually(lambda: is_wholly_gone(self._worker), 10, "the worker's end")

    def remount(self, *extra):
        return self.start(*extra)

    def leave(self):
        """The end of every test: nothing of this mount is left on the machine."""
        problems = []
        try:
            if not self.daemon_gone():
                self.umount()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            problems.append(str(error))
        finally:
            self.abandon()
        if self.prefix:
            subprocess.run(["umount", self.box], check=False)
        left = [each for each in mounts() if each[0].startswith(str(self.box))]
        running = processes_with(str(self.box))
        shutil.rmtree(self.box, ignore_errors=True)
        assert not problems, "\n".join(problems)
        assert not left, f"left mounted: {left}"
        assert not running, f"left running: {running}"

    def abandon(self):
        """Whatever it takes, without a word."""
        if not self.daemon_gone():
            try:
                os.kill(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if self._process:
                self._process.wait(10)
        if self in Mount.alive:
            Mount.alive.remove(self)
        while is_mounted(self.point):
            if subprocess.run(["umount", "-l", str(self.point)], capture_output=True).returncode != 0:
                break

    # What it says

    def hffs(self, *words, env=None, timeout=60, user=None):
        return hffs(*words, env=self.env | (env or {}), timeout=timeout,
                    user=self.user if user is None else user)

    def log(self):
        for file in (self.log_file, self.state / "hffs-v1/hffs.log"):
            if file.exists() and file.stat().st_size:
                return file.read_text(errors="replace")
        return ""

    def status(self):
        done = self.hffs("status", "--state-dir", str(self.state), "--json")
        assert done.code == 0, f"status failed: {done}"
        return json.loads(done.out)

    def metric(self, name):
        return self.status()["metrics"][name]

    # Paths in it

    def repo(self, id, type="model"):
        return self.point / f"{type}s--{id.replace('/', '--')}"

    def file(self, repo, path):
        """The path of a file of an `Added` repository, by commit."""
        return self.repo(repo.id, repo.type) / "snapshots" / repo.commit / path

    def blob(self, repo, path):
        return self.repo(repo.id, repo.type) / "blobs" / repo.etags[path]


def hffs(*words, env=None, timeout=60, user=None, cwd="/"):
    if env is None:
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    return Run(subprocess.run([HFFS, *map(str, words)], env=env, capture_output=True, text=True, timeout=timeout,
                              user=user, group=user, extra_groups=None if user is None else [], cwd=cwd,
                              stdin=subprocess.DEVNULL))


def other_build(source, target, version):
    """The program with another version's name: another file, and another image."""
    old = b"0.1.0"
    assert len(version) == len(old)
    target.write_bytes(Path(source).read_bytes().replace(old, version.encode()))
    target.chmod(0o755)
    return target


# Programs that are not this one

PRELUDE = """\
import ctypes, errno, fcntl, hashlib, json, mmap, os, random, shutil, signal, stat, subprocess, sys, threading, time
def say(value):
    print(json.dumps(value), flush=True)
def hear():
    return sys.stdin.readline().strip()
"""
POSTLUDE = """
try:
    say({{"value": {name}(*json.loads(sys.argv[1]))}})
except OSError as error:
    say({{"errno": error.errno, "text": str(error)}})
"""


class Child:
    """A Python function of a test, run by itself in a process of its own, as a user of its own.

    Arguments and results are JSON. The function may use PRELUDE's modules, say() and hear()."""

    def __init__(self, function, *args, user=None, group=None, prefix=()):
        source = textwrap.dedent(inspect.getsource(function))
        program = PRELUDE + source + POSTLUDE.format(name=function.__name__)
        self.process = subprocess.Popen(
            [*prefix, PYTHON, "-I", "-S", "-c", program, json.dumps(args, default=str)], user=user,
            group=user if group is None else group, extra_groups=None if user is None else [],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")

    @property
    def pid(self):
        return self.process.pid

    def tell(self, text="go"):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def heard(self):
        """The next thing that it says."""
        line = self.process.stdout.readline()
        assert line, f"the child said nothing more: {self.process.stderr.read()}"
        return json.loads(line)

    def result(self, timeout=60):
        """What the function returned; its OSError is raised here."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"a child is still busy after {timeout} s") from None
        assert self.process.returncode == 0, f"the child ended with {self.process.returncode}:\n{out}{err}"
        answer = json.loads(out.strip().splitlines()[-1])
        if "errno" in answer:
            raise OSError(answer["errno"], answer["text"])
        return answer["value"]

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            pass


def in_child(function, *args, timeout=60, **options):
    return Child(function, *args, **options).result(timeout)


def errno_of(action, *args, **named):
    """The errno with which `action` fails, 0 if it does not."""
    try:
        action(*args, **named)
    except OSError as error:
        return error.errno
    return 0


class refuses:
    """with refuses(errno.EPERM): … – and by its name when it does something else."""

    def __init__(self, *wanted):
        self.wanted = wanted

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        names = "/".join(errno.errorcode[each] for each in self.wanted)
        if error is None:
            raise AssertionError(f"no error, but {names} is promised")
        if not isinstance(error, OSError):
            return False
        got = errno.errorcode.get(error.errno, error.errno)
        assert error.errno in self.wanted, f"{got}, but {names} is promised: {error}"
        return True


def exists(path):
    return errno_of(os.lstat, path) == 0


class Together:
    """Threads that run `work` at the same moment; results in order, the first exception raised."""

    def __init__(self, count, work):
        self.results, self._errors = [None] * count, []
        gate = threading.Barrier(count)

        def run(index):
            try:
                gate.wait()
                self.results[index] = work(index)
            except BaseException as error:
                self._errors.append(error)
        self._threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
        for each in self._threads:
            each.start()

    def join(self, timeout=60):
        deadline = time.monotonic() + timeout
        for each in self._threads:
            each.join(max(0, deadline - time.monotonic()))
            assert not each.is_alive(), f"a reader is still waiting after {timeout} s"
        if self._errors:
            raise self._errors[0]
        return self.results


def later(work, *args):
    """One thread behind us."""
    return Together(1, lambda _: work(*args))


# Files worth loading

def safetensors_header(tensors):
    """8 bytes of length and JSON, for {name: bytes of it}; the data of each follows in order."""
    at, table = 0, {}
    for name, size in tensors.items():
        table[name] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def make_sparse_safetensors(path, tensors):
    """A file of the whole size that takes almost no disk: each tensor begins with its own name."""
    header = safetensors_header(tensors)
    with open(path, "wb") as out:
        out.write(header)
        at = len(header)
        for name, size in tensors.items():
            out.seek(at)
            out.write(name.encode()[:size])
            at += size
        out.truncate(at)
    return len(header)


@contextlib.contextmanager
def pages_kept(held=[]):
    """The machine has one page cache: no test beside this one drops it."""
    if held:
        yield
        return
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held.append(lock)
        try:
            yield
        finally:
            held.clear()


def drop_caches():
    """False where only another can (no such right)."""
    try:
        os.sync()
        with pages_kept():
            Path("/proc/sys/vm/drop_caches").write_text("1")
        return True
    except OSError:
        return False


def entry_modes(path):
    status = os.lstat(path)
    return stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)
