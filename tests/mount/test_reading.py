# SPDX-License-Identifier: Apache-2.0
"""B2: the Hub's bytes for every way of reading, cold and warm."""
import hashlib
import os
import subprocess

import pytest
from lab import BLOCK, MIB, drop_caches, errno_of, in_child
from world import fresh_bytes

SIZE = 6 * MIB + 4321


def sequential(path, piece):
    with open(path, "rb", buffering=0) as file:
        return hashlib.sha256(b"".join(iter(lambda: file.read(piece), b""))).hexdigest()


def backwards(path, piece):
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    pieces = [os.pread(fd, piece, at) for at in reversed(range(0, size, piece))]
    return hashlib.sha256(b"".join(reversed(pieces))).hexdigest()


def shuffled(path, piece):
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    offsets = list(range(0, size, piece))
    random.Random(7).shuffle(offsets)
    pieces = {at: os.pread(fd, piece, at) for at in offsets}
    return hashlib.sha256(b"".join(pieces[at] for at in sorted(pieces))).hexdigest()


def mapped(path, flags):
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as memory:
            pages = list(range(0, len(memory), mmap.PAGESIZE))
            random.Random(8).shuffle(pages)
            found = {at: memory[at:at + mmap.PAGESIZE] for at in pages}
    return hashlib.sha256(b"".join(found[at] for at in sorted(found))).hexdigest()


def writable_map(path, _):
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as memory:
            found = hashlib.sha256(memory).hexdigest()
            memory[0] ^= 255
            return found


def populated(path, _):
    """llama.cpp: MAP_SHARED | MAP_POPULATE."""
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED | 0x8000, prot=mmap.PROT_READ) as memory:
            return hashlib.sha256(memory).hexdigest()


def direct(path, piece):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    memory = mmap.mmap(-1, piece)
    digest, at = hashlib.sha256(), 0
    while got := os.preadv(fd, [memory], at):
        digest.update(memory[:got])
        at += got
    return digest.hexdigest()


def forgotten(path, piece):
    """Each piece twice, with the pages thrown away in between."""
    fd = os.open(path, os.O_RDONLY)
    size, digest = os.fstat(fd).st_size, hashlib.sha256()
    for at in range(0, size, piece):
        first = os.pread(fd, piece, at)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.pread(fd, piece, at) != first:
            return f"other bytes at {at}"
        digest.update(first)
    return digest.hexdigest()


def sent(path, _):
    """local_dir= copies through sendfile."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    out = os.memfd_create("copy")
    at = 0
    while at < size:
        at += os.sendfile(out, fd, at, size - at)
    return hashlib.sha256(os.pread(out, size, 0)).hexdigest()


def torch_zip(path, _):
    """4 KiB at 0, the end, the tail, then records: what torch does with a .bin."""
    with open(path, "rb") as file:
        file.read(4096)
        size = file.seek(0, 2)
        file.seek(size - 65_000)
        tail = file.read()
        file.seek(0)
        head = file.read(size - 65_000)
    return hashlib.sha256(head + tail).hexdigest()


def threads(path, count):
    """`count` threads that share one descriptor, each with reads of its own."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    piece, found = 70_001, {}

    def read(number):
        offsets = list(range(number * piece, size, piece * count))
        random.Random(number).shuffle(offsets)
        for at in offsets:
            found[at] = os.pread(fd, piece, at)
    workers = [threading.Thread(target=read, args=(number,)) for number in range(count)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return hashlib.sha256(b"".join(found[at] for at in sorted(found))).hexdigest()


MAP_SHARED, MAP_PRIVATE = 1, 2
WAYS = [(sequential, 1 << 20), (sequential, 100_003), (backwards, 131_072), (shuffled, 65_536), (shuffled, 9_973),
        (mapped, MAP_PRIVATE), (mapped, MAP_SHARED), (writable_map, 0), (populated, 0), (direct, 1 << 20),
        (direct, 4096 * 3), (forgotten, 300_000), (sent, 0), (torch_zip, 0), (threads, 8)]


@pytest.mark.parametrize("way, how", WAYS, ids=[f"{way.__name__}-{how}" for way, how in WAYS])
def test_B2_bytes_are_the_hub_s(common, way, how):
    """Client contract, section 4: the read patterns of real loaders."""
    data = fresh_bytes(SIZE)
    repo = common.world.add({"model.bin": data})
    path = str(common.mount.file(repo, "model.bin"))
    wanted = hashlib.sha256(data).hexdigest()
    assert in_child(way, path, how) == wanted, "cold"
    assert in_child(way, path, how) == wanted, "warm"
    assert common.world.content_bytes(repo.etags["model.bin"]) == len(data)


def test_B2_eight_processes_at_once_each_in_its_own_way(common, make):
    data = fresh_bytes(SIZE)
    repo = common.world.add({"model.bin": data})
    path = str(common.mount.file(repo, "model.bin"))
    children = [make.child(way, path, how) for way, how in WAYS[::2][:8]]
    assert {child.result() for child in children} == {hashlib.sha256(data).hexdigest()}
    assert common.world.content_bytes(repo.etags["model.bin"]) == len(data)


def test_B2_pages_thrown_away_come_back_right(root, common):
    """Filling, while it is checked, and verified: the kernel asks again."""
    data = fresh_bytes(SIZE)
    repo = common.world.add({"model.bin": data})
    path = common.mount.file(repo, "model.bin")
    fd = os.open(path, os.O_RDONLY)
    assert os.pread(fd, BLOCK, 2 * MIB) == data[2 * MIB:3 * MIB]
    drop_caches()
    assert os.pread(fd, BLOCK, 2 * MIB) == data[2 * MIB:3 * MIB]
    assert path.read_bytes() == data
    drop_caches()
    assert os.pread(fd, SIZE, 0) == data, "the descriptor from before it was whole"
    assert path.read_bytes() == data
    os.close(fd)


def test_B2_an_old_descriptor_and_a_new_one(common):
    """A filling blob becomes a verified one while somebody holds it open."""
    data = fresh_bytes(SIZE)
    repo = common.world.add({"model.bin": data})
    path = common.mount.file(repo, "model.bin")
    with open(path, "rb", buffering=0) as old:
        assert old.read(100) == data[:100]
        inode = os.fstat(old.fileno()).st_ino
        assert path.read_bytes() == data
        with open(path, "rb", buffering=0) as new:
            assert os.fstat(new.fileno()).st_ino == inode
            for file in (old, new):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                assert os.pread(file.fileno(), SIZE, 0) == data
                assert os.fstat(file.fileno()).st_size == SIZE


def test_B2_reads_at_and_behind_the_end(common):
    data = fresh_bytes(BLOCK + 10)
    repo = common.world.add({"model.bin": data})
    with open(common.mount.file(repo, "model.bin"), "rb", buffering=0) as file:
        fd = file.fileno()
        assert os.pread(fd, 100, BLOCK + 5) == data[BLOCK + 5:]
        for at in (BLOCK + 10, BLOCK + 11, 100 * MIB, 1 << 60):
            assert os.pread(fd, 100, at) == b""
        assert file.seek(0, 2) == len(data) and file.read() == b""
        assert errno_of(file.seek, -1) != 0


def test_B2_ordinary_tools(common, make):
    data = fresh_bytes(SIZE)
    repo = common.world.add({"sub/model.bin": data, "config.json": b"{}"})
    source, target = common.mount.repo(repo.id) / "snapshots" / repo.commit, make.folder()
    subprocess.run(["cp", "-rL", source, target / "copy"], check=True)
    assert (target / "copy/sub/model.bin").read_bytes() == data
    subprocess.run(["cp", "-a", common.mount.repo(repo.id), target / "whole"], check=True)
    assert (target / "whole/snapshots" / repo.commit / "sub/model.bin").read_bytes() == data
    done = subprocess.run(["sha256sum", source / "sub/model.bin"], check=True, capture_output=True, text=True)
    assert done.stdout.split()[0] == hashlib.sha256(data).hexdigest()
    subprocess.run(["diff", "-r", source, target / "copy"], check=True)
    size = subprocess.run(["du", "-sLb", source / "sub/model.bin"], check=True, capture_output=True, text=True).stdout
    assert int(size.split()[0]) == SIZE
