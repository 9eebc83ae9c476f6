# SPDX-License-Identifier: Apache-2.0
"""K12, K15, K16: what somebody has of a worker that he runs code in, and what its keeper does for him: nothing that was not asked
for by the mount. The keeper and the mount are the real ones."""
import contextlib
import ctypes
import errno
import hashlib
import os
import signal
import socket
import stat
import threading

import pytest
from hostile import FINE, Impostor, TakenOver
from lab import ALICE, MIB, eventually, is_gone, is_mounted, mounts, processes_with, state_of
from test_passthrough import verified
from test_takeover import kill, serving
from test_users import as_user, look
from world import fresh_bytes


def children_of(pid):
    """Also those that have ended, and that nobody has reaped."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return {int(word) for word in file.read().split()}


# What it leaves behind


@pytest.mark.parametrize("end", ["killed", "replaced", "hangs", "unmounted"])
def test_K15_nothing_that_a_worker_has_started_is_left(make, end):
    there = TakenOver(make)
    mount, before = there.mount, there.mount.worker
    assert there.does("s", "g") == [errno.EPERM] * 2, "it may leave its group"
    ours = {mount.pid, before}
    assert set(processes_with(str(mount.box))) == ours
    there.does("f")
    left = eventually(lambda: set(processes_with(str(mount.box))) - ours, 5, "what it leaves behind")
    # Each has its parent's descriptors, and is another process a moment later.
    eventually(lambda: not left & set(processes_with(str(mount.box))), 5, "their going on forking")
    if end == "unmounted":
        mount.umount()
        assert processes_with(str(mount.box)) == []
        return
    if end == "replaced":
        os.kill(mount.pid, signal.SIGUSR1)
    else:
        os.kill(before, signal.SIGKILL if end == "killed" else signal.SIGSTOP)
    eventually(lambda: serving(mount) not in (None, before), 30, "another worker")
    now = mount.worker
    assert set(processes_with(str(mount.box))) == {mount.pid, now}
    eventually(lambda: children_of(mount.pid) == {now}, 5, "the end of what has lost its parent")
    assert sorted(os.listdir(mount.point)) == []


@pytest.mark.waits
@pytest.mark.limit(200)
def test_K15_one_that_waits_for_its_own_mount_ends_with_it(make, root):
    """A request that a worker has taken, and that another of its threads waits for: Linux does not end that thread before there
    is an answer, and there will be none."""
    there = TakenOver(make)
    mount, before = there.mount, there.mount.worker
    repo = there.world.add()
    there.world.hub.faults.add("stall", on="api")
    there.orders.write_text(f"m {mount.repo(repo.id)}\n")
    os.kill(before, signal.SIGUSR2)
    eventually(lambda: there.world.api(repo), 10, "its question to the Hub")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: is_gone(mount.pid), 100, "the end of the daemon")
    assert is_gone(before) and not is_mounted(mount.point)
    assert f"the worker {before} does not end: the mount is ended" in mount.log()


def test_K15_who_looks_for_a_token_is_reaped(make, root):
    world = make.world()
    mount = make.mount(world, "--allow-other")
    token = world.hub.add_user("alice")
    repo = world.add(private=True, allowed=["alice"])
    assert isinstance(as_user(look, mount.repo(repo.id), user=ALICE, token=token), list)
    eventually(lambda: children_of(mount.pid) == {mount.worker}, 5, "its end")
    assert state_of(mount.worker) not in (None, "Z")


# What it reaches


@pytest.mark.parametrize("own", [False, True], ids=["root", "hffs"])
def test_K12_what_a_worker_that_was_taken_over_reaches(make, request, root, own):
    """By the rules of a mount, not of a test."""
    there = TakenOver(make, **({"system_user": request.getfixturevalue("system_user")} if own else {}))
    mount, home = there.mount, make.folder()
    notes = home / "notes"
    notes.write_text("for everybody to read")
    store = mount.state / "hffs-v1"
    reads = [notes, home, "/", "/root", "/home", "/tmp", "/var", mount.box, "/proc/1/environ", "/proc/1/mem", "/dev/fuse",
             f"/proc/{mount.pid}/environ", f"/proc/{mount.pid}/mem", *(["/etc/shadow"] if own else [])]
    writes = [notes, home / "new", "/tmp/hffs-test-new", "/etc/hffs-test-new", "/var/tmp/hffs-test-new", "/dev/shm/hffs-test-new",
              mount.box / "new", mount.state / "new", "/etc/passwd"]
    refused = [*(f"r {path}" for path in reads), *(f"w {path}" for path in writes), f"d {home}/folder", f"u {notes}"]
    assert dict(zip(refused, there.does(*refused))) == dict.fromkeys(refused, errno.EACCES)
    others = [f"k {mount.pid}", "k 1", "s", "g"]
    assert dict(zip(others, there.does(*others))) == dict.fromkeys(others, errno.EPERM)
    # And this it needs.
    needed = ["r /etc/passwd", "r /proc/self/status", f"r {store}/FORMAT", f"w {store}/new"]
    assert there.does(*needed) == [0] * len(needed)
    assert notes.read_text() == "for everybody to read" and sorted(os.listdir(home)) == ["notes"]


# What its keeper does for it


class Opened:
    """inotify(7): whether anybody opens one of these."""

    def __init__(self, *paths):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in paths:
            assert self.libc.inotify_add_watch(self.fd, os.fsencode(path), 0x20) >= 0, path  # IN_OPEN

    def any(self):
        with contextlib.suppress(BlockingIOError):
            return bool(os.read(self.fd, 4096))
        return False

    def close(self):
        os.close(self.fd)


@pytest.fixture
def until_the_end(make):
    """Closed before the mount is left."""
    with contextlib.ExitStack() as stack:
        yield stack


LINK, ODD = "a link stands in the place", "is not a regular file of user"
SIZE = 5 * MIB + 321


def make_socket(path):
    """By a descriptor: an address holds 107 letters."""
    folder = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def test_K16_a_keeper_registers_blobs_and_nothing_else(make, monkeypatch, system_user, until_the_end):
    """Whatever stands in the store, and whatever a worker says."""
    impostor = Impostor(make, monkeypatch)
    world = make.world()
    mount = make.mount(world, "--allow-other", system_user=system_user)
    if mount.status()["mode"] != "passthrough":
        pytest.skip("no passthrough here")
    repo = verified(world, mount, {"model.safetensors": fresh_bytes(SIZE)})
    data, good = repo.content["model.safetensors"], repo.etags["model.safetensors"]
    outside, store = mount.box / "outside", mount.state / "hffs-v1"
    outside.mkdir()
    blobs, secret = store / "blobs", outside / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    reader = until_the_end.enter_context(open(mount.file(repo, "model.safetensors"), "rb", buffering=0))
    assert reader.read(10) == data[:10]
    impostor.follow(mount)

    def place(prefix=None):
        hex = (prefix or "") + os.urandom(32 - len(prefix or "") // 2).hex()
        path = blobs / hex[:2] / hex
        path.parent.mkdir(exist_ok=True)
        return path

    theirs = [system_user.UID, system_user.GID]
    planted, watched = {}, [secret, store / "FORMAT"]
    for what, words, put in (
            ("a link out", LINK, lambda path: path.symlink_to(secret)),
            ("a link within", LINK, lambda path: path.symlink_to("../../FORMAT")),
            ("a link to a blob", LINK, lambda path: path.symlink_to(blobs / good[:2] / good)),
            ("a link by /proc", LINK, lambda path: path.symlink_to("/proc/self/fd/0")),
            ("another name of its own file", ODD, lambda path: path.hardlink_to(store / "FORMAT")),
            ("another name of root's file", ODD, lambda path: path.hardlink_to(secret)),
            ("root's file", ODD, lambda path: path.write_bytes(b"root's")),
            ("a user's file", ODD, lambda path: (path.write_bytes(b"hers"), os.chown(path, ALICE, ALICE))),
            ("a pipe", ODD, lambda path: (os.mkfifo(path), os.chown(path, *theirs))),
            ("a device", ODD, lambda path: (os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3)), os.chown(path, *theirs))),
            ("a socket", ODD, lambda path: (make_socket(path), os.chown(path, *theirs))),
            ("a directory", ODD, lambda path: (path.mkdir(), os.chown(path, *theirs)))):
        path = place()
        put(path)
        planted[what] = (path.name, words)
        if words == ODD:
            watched.append(path)
    # One in the place of a directory of theirs.
    prefix = next(f"{number:02x}" for number in range(256) if not (blobs / f"{number:02x}").exists())
    (outside / (prefix + "0" * 62)).write_bytes(b"root's")
    (blobs / prefix).symlink_to(outside)
    planted["a link on the way"] = (prefix + "0" * 62, LINK)
    watched.append(outside / (prefix + "0" * 62))
    names = ["", ".", "..", "FORMAT", "../FORMAT", "../../FORMAT", "/etc/shadow", str(secret), f"../../../{secret.name}",
             "index/data.mdb", "tokens/0", "hffs.log", good[:2], f"{good[:2]}/{good}", good + "/", good[:63], good + "0", good + "\0",
             "../" * 20 + "etc/shadow" + "0" * 23, good[:62] + "..", good[:32] + "/" + good[:31], "x" * 4000]

    opened = until_the_end.enter_context(contextlib.closing(Opened(*watched)))
    held = len(os.listdir(f"/proc/{mount.pid}/fd"))
    ask = impostor.ask
    for what, (name, words) in planted.items():
        code, said, fds = ask("open_backing", text=name.encode())
        assert code != FINE and words in said and not fds, (what, said)
    for name in names:
        code, said, fds = ask("open_backing", text=name.encode())
        assert code != FINE and not fds and "hash" in said, (name, said)
    # Descriptors are taken from nobody.
    with open(secret, "rb") as file:
        opened.any()  # that was here
        for name in ("", os.urandom(32).hex()):
            assert ask("open_backing", text=name.encode(), fds=[file.fileno()] * 3)[0] != FINE, name
        # What is registered is the blob of that name.
        code, id, _ = ask("open_backing", text=good.encode(), fds=[file.fileno()])
        assert code == FINE and id > 0
    # What is exchanged meanwhile.
    path, pieces, over = place(), [outside / "link", outside / "file"], threading.Event()

    def exchange():
        pieces[0].symlink_to(secret)
        os.replace(pieces[0], path)
        pieces[1].write_bytes(b"a blob")
        os.chown(pieces[1], *theirs)
        os.replace(pieces[1], path)

    def go_on():
        while not over.is_set():
            exchange()
    exchange()
    exchanger = threading.Thread(target=go_on)
    exchanger.start()
    found = [ask("open_backing", text=path.name.encode()) for _ in range(500)]
    over.set()
    exchanger.join()
    assert all(code == FINE or LINK in said or ODD in said for code, said, _ in found), found
    # Nor for what it says besides.
    for number in (0, -1, 2**31 - 1, -2**31, *range(1, 600)):
        impostor.say("close_backing", number)
    for user in (0, -1):
        assert ask("read_token", user, b"1")[0] != FINE
    for _ in range(3):
        code, _, fds = ask("mount")
        assert code == FINE and len(fds) == 1
        os.close(fds[0])
    assert [where for where, _ in mounts()].count(str(mount.point)) == 1
    assert len(os.listdir(f"/proc/{mount.pid}/fd")) == held, "the keeper has kept a descriptor"
    assert not opened.any(), "the keeper has opened what is no blob"
    assert os.pread(reader.fileno(), SIZE, 0) == data, "what is open is no business of another"
    # What makes no sense ends its being heard, and then it is nobody.
    impostor.say(99)
    eventually(lambda: serving(mount), 20, "another worker")
    assert is_gone(impostor.pid)
    reader.close()
    assert hashlib.sha256(mount.file(repo, "model.safetensors").read_bytes()).digest() == hashlib.sha256(data).digest()
    kill(mount)
    assert mount.file(repo, "model.safetensors").read_bytes() == data
    assert is_mounted(mount.point) and secret.read_text() == "root's"
