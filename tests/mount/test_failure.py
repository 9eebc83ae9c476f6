# SPDX-License-Identifier: Apache-2.0
"""F: the Hub away, readers that wait, offline, dead mounts."""
import errno
import os
import shutil
import signal
import socket
import statistics
import time

import pytest
from lab import BLOCK, MIB, Together, errno_of, eventually, exists, is_gone, later, mounts, refuses, state_of
from world import fresh_bytes, quiet


def timed(action, *args):
    began = time.monotonic()
    return errno_of(action, *args), time.monotonic() - began


def logged(mount, *words):
    """Whether one line of the log has them all."""
    return any(all(word in line for word in words) for line in mount.log().splitlines())


def away(world, how):
    """Makes the Hub unreachable; returns what brings it back."""
    if how == "refused":
        world.hub.down()
        return world.hub.up
    if how == "silent":
        return world.hub.faults.add("stall").remove
    if how == "page":
        return world.hub.faults.add("html").remove
    return world.hub.faults.add("status", code=503).remove


@pytest.mark.parametrize("how", ["refused", "silent", "page", "503"])
def test_F1_unknown_names_while_the_hub_is_away(make, how):
    """Client contract, rule 5: bounded, and never remembered."""
    world = make.world()
    mount = make.mount(world)
    known = world.add({"a.txt": b"a"})
    assert mount.file(known, "a.txt").read_bytes() == b"a"
    late = world.add({"b.txt": b"b"})
    back = away(world, how)
    code, seconds = timed(os.stat, mount.repo(late.id))
    assert code == errno.ENOENT
    assert seconds < 10
    if how in ("refused", "silent"):
        times = []
        for number in range(20):
            code, seconds = timed(os.stat, mount.repo(f"acme/unknown-{number}"))
            assert code == errno.ENOENT
            times.append(seconds)
        assert statistics.median(times) < 0.05, times
    assert mount.file(known, "a.txt").read_bytes() == b"a"
    back()
    began = time.monotonic()
    eventually(lambda: exists(mount.repo(late.id)), 5, "the repository after the Hub is back")
    assert (mount.file(late, "b.txt")).read_bytes() == b"b"
    assert time.monotonic() - began < 5


def test_F1_names_inside_a_known_repository(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a.txt": b"a"})
    path = mount.repo(repo.id)
    assert (path / "refs/main").read_text() == repo.commit
    newer = world.push(repo, {"b.txt": b"b"})
    world.hub.push(repo.name, {}, branch="dev")
    world.hub.down()
    for name in ("refs/dev", f"snapshots/{newer.commit}", f"snapshots/{repo.commit}/a.txt", "snapshots/dev",
                 f".no_exist/{newer.commit}/x.json"):
        code, seconds = timed(os.stat, path / name)
        assert code == errno.ENOENT and seconds < 10, name
    world.hub.up()
    for name in ("refs/dev", f"snapshots/{newer.commit}", f"snapshots/{repo.commit}/a.txt", "snapshots/dev",
                 f".no_exist/{newer.commit}/x.json"):
        eventually(lambda: exists(path / name), 5, name)


def test_F1_endpoint_that_cannot_be_reached_at_all(make):
    """The mount succeeds; names are ENOENT."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        mount = make.mount(endpoints=[f"http://127.0.0.1:{listener.getsockname()[1]}"])
        assert timed(os.stat, mount.repo("acme/tiny"))[0] == errno.ENOENT
        assert os.listdir(mount.point) == []
        assert [each["up"] for each in mount.status()["endpoints"]] == [False]


def test_F1_second_endpoint_serves_while_the_first_is_away(make):
    world = make.world()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        mount = make.mount(world, endpoints=[f"http://127.0.0.1:{listener.getsockname()[1]}", world.endpoint])
        repo = world.add({"a.txt": b"a", "m.bin": fresh_bytes(MIB)})
        assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
        assert mount.file(repo, "m.bin").read_bytes() == repo.content["m.bin"]


def test_F2_a_reader_gets_its_bytes_when_the_hub_is_back(make):
    world = make.world()
    mount = make.mount(world)
    data = fresh_bytes(3 * MIB)
    repo = world.add({"model.bin": data})
    path = mount.file(repo, "model.bin")
    assert os.stat(path).st_size == len(data)
    world.hub.down(origin=True)
    reading = later(path.read_bytes)
    time.sleep(1.5)
    assert reading.results == [None], "a reader did not wait"
    began = time.monotonic()
    world.hub.up()
    assert reading.join(20)[0] == data
    assert time.monotonic() - began < 6


def test_F2_a_reader_gets_its_bytes_when_only_the_byte_origin_fails(make):
    world = make.world(nginx=True)
    mount = make.mount(world)
    data = fresh_bytes(3 * MIB)
    repo = world.add({"model.bin": data, "a.txt": b"a"})
    world.hub.origin_down()
    reading = later(mount.file(repo, "model.bin").read_bytes)
    assert mount.file(repo, "a.txt").read_bytes() == b"a"
    time.sleep(1)
    assert reading.results == [None]
    world.hub.origin_up()
    assert reading.join(20)[0] == data


def test_F2_eio_after_the_deadline(make):
    """Client contract, rule 17."""
    world = make.world()
    mount = make.mount(world, "--read-deadline", "2")
    data = fresh_bytes(2 * MIB)
    repo = world.add({"model.bin": data})
    path = mount.file(repo, "model.bin")
    os.stat(path)
    world.hub.down(origin=True)
    code, seconds = timed(lambda: path.read_bytes())
    assert code == errno.EIO
    assert 1.8 < seconds < 3.5, seconds
    assert logged(mount, "read failed", f"{repo.id}@{repo.commit[:12]}: model.bin"), "the log names the file"
    world.hub.up()
    began = time.monotonic()
    assert eventually(lambda: errno_of(lambda: path.read_bytes()) == 0 and path.read_bytes(), 5) == data
    assert time.monotonic() - began < 5


def fault_in(path, offset):
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        say("mapped")
        return memory[offset]


def test_F2_a_map_that_cannot_be_filled_is_sigbus(make):
    """Never zeros."""
    world = make.world()
    mount = make.mount(world, "--read-deadline", "1")
    repo = world.add({"model.bin": fresh_bytes(2 * MIB)})
    path = mount.file(repo, "model.bin")
    os.stat(path)
    world.hub.down(origin=True)
    child = make.child(fault_in, str(path), MIB)
    assert child.heard() == "mapped"
    eventually(lambda: child.process.poll() is not None, 10, "the end of the child")
    assert child.process.returncode == -signal.SIGBUS


def touch(path, at):
    """Seconds until the page fault at `at` is SIGBUS, as its parent sees it."""
    child = os.fork()
    if child == 0:
        with open(path, "rb") as file:
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[at]
        os._exit(0)
    began = time.monotonic()
    status = os.waitpid(child, 0)[1]
    return [status, time.monotonic() - began]


@pytest.mark.parametrize("at", [0, MIB + 5000, 3 * MIB])
def test_F2_the_deadline_is_waited_for_once(make, at):
    """Where a read failed the kernel asks again for a page of it, a fault up to three times."""
    world = make.world()
    mount = make.mount(world, "--read-deadline", "2")
    repo = world.add({"model.bin": fresh_bytes(3 * MIB + 11)})
    path = mount.file(repo, "model.bin")
    os.stat(path)
    world.hub.down(origin=True)
    with open(path, "rb", buffering=0) as file:
        code, seconds = timed(os.pread, file.fileno(), 5000, at)
        assert code == errno.EIO and 1.8 < seconds < 3.5, seconds
    status, seconds = make.child(touch, str(path), at).result()
    assert status == signal.SIGBUS and 1.8 < seconds < 3.5, seconds


def stuck(world, mount, repo, path):
    """A stall that holds every byte of the file back; the file is known already."""
    os.stat(mount.file(repo, path))
    return world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags[path]}*")


def read_it(path):
    with open(path, "rb") as file:
        say("open")
        return len(file.read())


def read_direct(path, offset):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    memory = mmap.mmap(-1, 1 << 20)
    say("open")
    return os.preadv(fd, [memory], offset)


def stat_it(path):
    say("open")
    os.stat(path)


def list_it(path):
    say("open")
    os.listdir(path)


@pytest.mark.parametrize("way", ["read", "fault", "direct", "stat", "list"])
def test_F3_a_waiting_program_can_be_killed(make, way):
    """SIGKILL leaves no task in D state."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(4 * MIB)})
    path = str(mount.file(repo, "model.bin"))
    if way in ("read", "fault", "direct"):
        stuck(world, mount, repo, "model.bin")
    else:
        os.stat(mount.repo(repo.id))
        world.hub.faults.add("stall", on="api")
    child = {"read": lambda: make.child(read_it, path), "fault": lambda: make.child(fault_in, path, MIB),
             "direct": lambda: make.child(read_direct, path, 0),
             "stat": lambda: make.child(stat_it, str(mount.repo("acme/unknown"))),
             "list": lambda: make.child(list_it, os.path.dirname(path))}[way]()
    assert child.heard() in ("open", "mapped")
    if way in ("read", "fault", "direct"):
        eventually(lambda: mount.metric("reads_waiting") >= 1, 5, "a waiting reader")
    else:
        time.sleep(0.5)
    assert child.process.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: is_gone(child.pid), 2, f"the end of a killed reader (now {state_of(child.pid)})")
    eventually(lambda: mount.metric("reads_waiting") == 0, 2, "the daemon's end of it")


def interrupted(path, direct):
    """The errno of a read that a signal with a handler (no SA_RESTART) disturbs; Python's own would retry."""
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR1, True)
    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    memory = mmap.mmap(-1, 1 << 20)
    buffer = (ctypes.c_char * (1 << 20)).from_buffer(memory)
    say("open")
    got = libc.pread(fd, buffer, ctypes.c_size_t(1 << 20), ctypes.c_long(0))
    return [got, ctypes.get_errno() if got < 0 else 0]


def test_F3_an_interruptible_read_gets_eintr(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(4 * MIB)})
    stall = stuck(world, mount, repo, "model.bin")
    child = make.child(interrupted, str(mount.file(repo, "model.bin")), True)
    assert child.heard() == "open"
    eventually(lambda: mount.metric("reads_waiting") >= 1, 5)
    os.kill(child.pid, signal.SIGUSR1)
    assert child.result(5) == [-1, errno.EINTR]
    eventually(lambda: mount.metric("reads_waiting") == 0, 2)
    stall.remove()
    assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"]


def test_F3_others_that_wait_for_the_same_block_keep_waiting(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(MIB)})
    path = str(mount.file(repo, "model.bin"))
    stall = stuck(world, mount, repo, "model.bin")
    victims = [make.child(read_direct, path, 0) for _ in range(3)]
    for child in victims:
        assert child.heard() == "open"
    reading = later(mount.file(repo, "model.bin").read_bytes)
    eventually(lambda: mount.metric("reads_waiting") >= 4, 5)
    for child in victims:
        os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: all(is_gone(child.pid) for child in victims), 2)
    time.sleep(0.3)
    assert reading.results == [None]
    stall.remove()
    assert reading.join(20)[0] == repo.content["model.bin"]
    assert world.content_bytes(repo.etags["model.bin"]) == MIB


def test_F5_offline_sends_nothing_and_serves_what_is_here(make):
    world = make.world()
    mount = make.mount(world)
    whole, half = fresh_bytes(2 * MIB), fresh_bytes(6 * MIB)
    repo = world.add({"whole.bin": whole, "half.bin": half, "cold.bin": fresh_bytes(MIB + 1), "empty": b"", "a.txt": b"a"})
    unseen = world.add({"b.txt": b"b"})
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    for name in ("whole.bin", "a.txt"):
        mount.file(repo, name).read_bytes()
    with open(mount.file(repo, "half.bin"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), BLOCK, 2 * MIB) == half[2 * MIB:3 * MIB]
    mount.umount()
    with quiet(world):
        mount.remount("--offline")
        assert mount.status()["offline"] is True
        check_offline(mount, repo, unseen, whole)
        assert half and errno_of(os.open, mount.file(repo, "half.bin"), os.O_RDONLY) == errno.EIO
        assert logged(mount, "open failed", f"{repo.id}@{repo.commit[:12]}: half.bin"), "the log names the file"
        mount.umount()
        mount.env["HF_HUB_OFFLINE"] = "1"
        mount.remount()
        check_offline(mount, repo, unseen, whole)
        mount.umount()
        del mount.env["HF_HUB_OFFLINE"]
        mount.remount("--offline", "--offline-partial")
        with open(mount.file(repo, "half.bin"), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            assert os.pread(file.fileno(), BLOCK, 2 * MIB) == half[2 * MIB:3 * MIB]
            code, seconds = timed(os.pread, file.fileno(), 10, 5 * MIB)
            assert code == errno.EIO and seconds < 1
        mount.umount()
    mount.remount()
    assert mount.file(repo, "half.bin").read_bytes() == half
    assert mount.file(unseen, "b.txt").read_bytes() == b"b", "an absence of offline days was remembered"


def check_offline(mount, repo, unseen, whole):
    assert mount.file(repo, "whole.bin").read_bytes() == whole
    assert mount.file(repo, "a.txt").read_bytes() == b"a"
    assert mount.file(repo, "empty").read_bytes() == b""
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    assert sorted(os.listdir(mount.repo(repo.id) / "snapshots" / repo.commit)) == sorted(repo.sizes)
    for path in (mount.repo(unseen.id), mount.repo(repo.id) / "refs/dev", mount.repo(repo.id) / "snapshots" / ("1" * 40)):
        code, seconds = timed(os.stat, path)
        assert code == errno.ENOENT and seconds < 0.5, path
    code, seconds = timed(os.open, mount.file(repo, "cold.bin"), os.O_RDONLY)
    assert code == errno.EIO and seconds < 0.5
    assert os.stat(mount.file(repo, "cold.bin")).st_size == MIB + 1


def test_F6_a_dead_mount_is_replaced(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a.txt": b"a"})
    path = mount.file(repo, "a.txt")
    assert path.read_bytes() == b"a"
    for _ in range(3):
        mount.kill9()
        with refuses(errno.ENOTCONN):
            os.stat(mount.point)
        mount.remount()
        assert path.read_bytes() == b"a"
        assert [where for where, _ in mounts()].count(str(mount.point)) == 1, "the dead mount is still below"


def test_F6_umount_of_a_dead_mount(make):
    mount = make.mount(make.world())
    mount.kill9()
    done = mount.hffs("umount", mount.point)
    assert done.code == 0, done
    assert str(mount.point) not in [where for where, _ in mounts()]


def test_F7_statfs_tells_the_free_space_of_the_store(common):
    """Client contract, rule 26."""
    repo = common.world.add()
    below = os.statvfs(common.mount.state)
    for path in (common.mount.point, common.mount.repo(repo.id), common.mount.repo(repo.id) / "blobs"):
        found = os.statvfs(path)
        free, wanted = found.f_bavail * found.f_frsize, below.f_bavail * below.f_frsize
        assert free > 0 and abs(free - wanted) < 1 << 30, (free, wanted)
        assert found.f_blocks > 0 and found.f_namemax == 255
    assert shutil.disk_usage(common.mount.point).free > 0


def test_F2_many_waiters_each_hear(make):
    world = make.world()
    mount = make.mount(world, "--read-deadline", "1")
    repo = world.add({"model.bin": fresh_bytes(4 * MIB)})
    path = mount.file(repo, "model.bin")
    stall = stuck(world, mount, repo, "model.bin")
    codes = Together(32, lambda i: errno_of(one_block, path, i % 4)).join(15)
    assert set(codes) == {errno.EIO}
    assert mount.metric("reads_waiting") == 0
    stall.remove()
    assert eventually(lambda: errno_of(lambda: path.read_bytes()) == 0 and path.read_bytes(), 5) == \
        repo.content["model.bin"]


def one_block(path, block):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.pread(fd, 100, block * BLOCK)
    finally:
        os.close(fd)
