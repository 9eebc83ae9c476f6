# SPDX-License-Identifier: Apache-2.0
"""V: what is here is still what it was; and reads that wait until it is known to be."""
import ctypes
import errno
import hashlib
import json
import mmap
import os
import random
import time

import pytest
from lab import MIB, Together, drop_caches, errno_of, eventually, refuses
from world import fresh_bytes, quiet


def stored(mount, repo, path):
    """The file of a verified blob in the store."""
    etag = repo.etags[path]
    return mount.state / "hffs-v1/blobs" / etag[:2] / etag


def flip(file, at):
    """One bit of it."""
    with open(file, "r+b") as out:
        out.seek(at)
        byte = out.read(1)[0]
        out.seek(at)
        out.write(bytes([byte ^ (1 << at % 8)]))


def name_of(data, etag):
    if len(etag) == 64:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def verify(mount, *words, code=0):
    done = mount.hffs("verify", *words, "--json", "--state-dir", mount.state)
    assert done.code == code, f"{done}\n{mount.log()}"
    return json.loads(done.out)


def read_whole(world, mount, files):
    repo = world.add(files)
    before = mount.metric("blobs_verified")
    for path, data in files.items():
        assert mount.file(repo, path).read_bytes() == data
    eventually(lambda: mount.metric("blobs_verified") == before + len(files), 10, "verification")
    return repo


def some_files():
    return {f"dir-{i % 3}/file-{i}.bin": fresh_bytes((0, MIB, 3 * MIB)[i % 3] + 100 + i) for i in range(12)}


def damage_all(mount, repo):
    """A bit of each file. Path → the hash that it has now."""
    now = {}
    for i, (path, data) in enumerate(repo.content.items()):
        at = random.Random(i).randrange(len(data))
        wrong = bytearray(data)
        wrong[at] ^= 1 << at % 8
        now[path] = name_of(wrong, repo.etags[path])
        flip(stored(mount, repo, path), at)
    return now


def check_findings(report, repo, found):
    assert {each["path"]: each["found"] for each in report["findings"]} == found
    for each in report["findings"]:
        assert (each["repo"], each["commit"], each["what"]) == (repo.id, repo.commit, "wrong_bytes")
        assert each["blob"] == repo.etags[each["path"]]


def test_V1_every_flipped_bit_is_found_and_named(make):
    world = make.world()
    mount = make.mount(world)
    repo = read_whole(world, mount, some_files())
    other = read_whole(world, mount, {"other.bin": fresh_bytes(2 * MIB)})
    assert verify(mount) == {"files": 13, "bytes": sum(map(len, repo.content.values())) + 2 * MIB, "findings": []}
    found = damage_all(mount, repo)
    flip(stored(mount, other, "other.bin"), 5)
    check_findings(verify(mount, repo.id, code=10), repo, found)
    assert verify(mount, repo.id) == {"files": 0, "bytes": 0, "findings": []}
    done = mount.hffs("verify", f"{other.id}@main", "--state-dir", mount.state)
    assert done.code == 10 and "put aside" in done.err, done
    for word in (other.id, other.commit[:12], "other.bin", other.etags["other.bin"]):
        assert word in done.out, done
    assert mount.hffs("verify", "acme/never-read", "--state-dir", mount.state).code == 3
    assert mount.hffs("verify", "no such name", "--state-dir", mount.state).code == 2
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data
        assert world.content_bytes(repo.etags[path]) == 2 * len(data), "it was not fetched again, once"


def test_V1_where_no_daemon_runs_the_command_does_it_itself(make):
    world = make.world()
    mount = make.mount(world)
    repo = read_whole(world, mount, some_files())
    mount.umount()
    found = damage_all(mount, repo)
    with quiet(world):
        check_findings(verify(mount, code=10), repo, found)
    mount.remount()
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data


def hold(path):
    fd = os.open(path, os.O_RDONLY)
    say("open")
    hear()
    data = b"".join(os.pread(fd, 65_537, at) for at in range(0, os.fstat(fd).st_size, 65_537))
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("features", ["all", "5.15"])
def test_V2_no_open_after_that_gets_them(make, features):
    """Also while it is open, with passthrough and without, and for many that open it at once."""
    world = make.world()
    mount = make.mount(world, config=f'fuse_features = "{features}"\n')
    repo = read_whole(world, mount, {"model.bin": fresh_bytes(4 * MIB + 3), "config.json": fresh_bytes(400)})
    held = make.child(hold, str(mount.file(repo, "model.bin")))
    assert held.heard() == "open"
    for path in repo.content:
        flip(stored(mount, repo, path), 77)
    drop_caches()
    assert len(verify(mount, code=10)["findings"]) == 2

    def read(index):
        for path, data in repo.content.items():
            assert mount.file(repo, path).read_bytes() == data
    Together(8, read).join()
    assert not stored(mount, repo, "model.bin").exists() or \
        stored(mount, repo, "model.bin").read_bytes() == repo.content["model.bin"]
    held.tell()
    wrong = bytearray(repo.content["model.bin"])
    wrong[77] ^= 1 << 77 % 8
    allowed = [hashlib.sha256(wrong).hexdigest()] if mount.status()["mode"] == "passthrough" else []
    assert held.result() in allowed + [repo.etags["model.bin"]]
    eventually(lambda: mount.metric("blobs_verified") == 4, 10, "verification")
    assert verify(mount)["findings"] == []


def test_V3_the_daemon_finds_it_by_itself(make):
    world = make.world()
    mount = make.mount(world, config="scrub = 0.00003\n")  # 3 s
    repo = read_whole(world, mount, some_files())
    found = damage_all(mount, repo)
    eventually(lambda: mount.metric("blobs_quarantined") == len(found), 20, "a pass")
    scrub = eventually(lambda: (lambda now: now["found"] == len(found) and now)(mount.status()["scrub"]), 10, "its end")
    check_findings({"findings": scrub["recent_findings"]}, repo, found)
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data
        assert f"verified blob {repo.etags[path]} is damaged" in mount.log()
        assert path in mount.hffs("status", "--state-dir", mount.state).out
    mount.umount()
    mount.remount()
    assert mount.status()["scrub"]["found"] == len(found)


def test_V3_the_setting(make):
    mount = make.mount(None, "--offline", config='scrub = "off"\n')
    assert mount.status()["scrub"]["period_seconds"] == 0
    assert "scrub        off" in mount.hffs("status", "--state-dir", mount.state).out
    usual = make.mount(None, "--offline")
    assert usual.status()["scrub"]["period_seconds"] == 30 * 24 * 3600
    for bad in ("0", '"fast"', "-3"):
        mount.config.write_text(f"scrub = {bad}\n")
        done = mount.hffs("mount", mount.box, "--config", mount.config)
        assert done.code == 2 and "days" in done.err, done


@pytest.fixture
def strict(make):
    world = make.world(git_files="direct")
    return world, make.mount(world, "--verify", "strict", "--prefetch", "off", "--read-deadline", "3")


def test_V4_strict_reads_get_nothing_but_verified_bytes(strict):
    world, mount = strict
    data = fresh_bytes(6 * MIB + 11)
    repo = world.add({"model.bin": data, "config.json": fresh_bytes(300)})
    with world.hub.faults.add("corrupt", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*", count=1, at=5):
        with open(mount.file(repo, "model.bin"), "rb", buffering=0) as file:
            for at in (0, 3 * MIB, 6 * MIB):
                assert os.pread(file.fileno(), 11, at) == data[at:at + 11]
    assert mount.metric("blobs_quarantined") == 1
    assert mount.file(repo, "config.json").read_bytes() == repo.content["config.json"]
    # One byte is the whole file.
    more = world.add({"more.bin": fresh_bytes(5 * MIB)})
    with open(mount.file(more, "more.bin"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 1, 4 * MIB) == more.content["more.bin"][4 * MIB:4 * MIB + 1]
    assert world.content_bytes(more.etags["more.bin"]) == 5 * MIB
    mount.umount()
    mount.remount()
    assert mount.file(repo, "model.bin").read_bytes() == data


def test_V4_wrong_bytes_that_stay_wrong_are_an_error(strict):
    world, mount = strict
    repo = world.add({"model.bin": fresh_bytes(2 * MIB)})
    world.hub.faults.add("corrupt", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*", at=5)
    with refuses(errno.EIO):
        mount.file(repo, "model.bin").read_bytes()


def test_V4_a_slow_file_is_waited_for_and_a_silent_one_is_not(strict):
    world, mount = strict
    repo = world.add({"slow.bin": fresh_bytes(9 * MIB), "silent.bin": fresh_bytes(2 * MIB)})
    with world.hub.faults.add("drip", on=("content", "bytes"), path=f"*{repo.etags['slow.bin']}*", rate=700_000):
        began = time.monotonic()
        with open(mount.file(repo, "slow.bin"), "rb", buffering=0) as file:
            assert os.pread(file.fileno(), 100, 0) == repo.content["slow.bin"][:100]
        assert time.monotonic() - began > 4, "it was not slow: the test shows nothing"
    with world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['silent.bin']}*", at=100):
        began = time.monotonic()
        assert errno_of(mount.file(repo, "silent.bin").read_bytes) == errno.EIO
        assert time.monotonic() - began < 12
    time.sleep(0.1)  # F2: at once it would be the kernel, asking for a page of what has failed
    assert mount.file(repo, "silent.bin").read_bytes() == repo.content["silent.bin"]


def test_V4_what_cannot_be_kept_cannot_be_verified(make):
    world = make.world()
    mount = make.mount(world, "--verify", "strict", "--max-size", str(2 * MIB))
    repo = world.add({"large.bin": fresh_bytes(5 * MIB), "small.bin": fresh_bytes(MIB)})
    with refuses(errno.EIO):
        mount.file(repo, "large.bin").read_bytes()
    assert "kept" in mount.log()
    eventually(lambda: errno_of(mount.file(repo, "small.bin").read_bytes) == 0, 10, "the end of the other's open")
    assert mount.file(repo, "small.bin").read_bytes() == repo.content["small.bin"]
    assert mount.hffs("mount", mount.box, "--verify", "often").code == 2


def pages_in_memory(path):
    libc = ctypes.CDLL(None, use_errno=True)
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        libc.mmap.restype = ctypes.c_void_p
        memory = libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
        pages = (ctypes.c_ubyte * (-(-size // mmap.PAGESIZE)))()
        assert libc.mincore(ctypes.c_void_p(memory), ctypes.c_size_t(size), pages) == 0
        libc.munmap(ctypes.c_void_p(memory), ctypes.c_size_t(size))
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


def test_V5_the_page_cache_stays_as_it_was(make, root, pages_kept):
    world = make.world()
    mount = make.mount(world)
    repo = read_whole(world, mount, {"cold.bin": fresh_bytes(24 * MIB), "warm.bin": fresh_bytes(8 * MIB)})
    cold, warm = stored(mount, repo, "cold.bin"), stored(mount, repo, "warm.bin")
    drop_caches()
    assert warm.read_bytes() == repo.content["warm.bin"]
    assert pages_in_memory(cold) <= MIB, "the caches cannot be dropped here"
    assert verify(mount)["findings"] == []
    assert pages_in_memory(warm) == 8 * MIB
    assert pages_in_memory(cold) <= MIB
