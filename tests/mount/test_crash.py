# SPDX-License-Identifier: Apache-2.0
"""B8: kill -9 in the middle of a load, again and again: what the index claims is right and is kept."""
import errno
import os
import random
import time

import pytest
from lab import BLOCK, MIB, eventually, later
from world import fresh_bytes

# Commits come quickly, so that kills fall between a write, its sync and its claim.
CONFIG = "sync_interval = 0.02\n"
BLOCKS = 24


def read_some(path, order, data, wrong):
    """Reads blocks until the daemon dies; appends what was wrong."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    count = 0
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for block in order:
            piece = os.pread(fd, BLOCK, block * BLOCK)
            # The kernel ends a read early when the daemon dies in its midst: what it gave must be right.
            if piece != data[block * BLOCK:block * BLOCK + len(piece)]:
                wrong.append(block)
            if len(piece) < BLOCK:
                break
            count += 1
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
            raise
    finally:
        os.close(fd)
    return count


def claimed_blocks(mount, path, data):
    """The blocks that the index claims, found without the Hub: each must be right."""
    mount.remount("--offline", "--offline-partial")
    found = set()
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for block in range(BLOCKS):
            try:
                piece = os.pread(file.fileno(), BLOCK, block * BLOCK)
            except OSError as error:
                assert error.errno == errno.EIO
                continue
            assert piece == data[block * BLOCK:(block + 1) * BLOCK], f"block {block} is claimed and wrong"
            found.add(block)
    mount.kill9()
    return found


def fetched_blocks(entries):
    found = []
    for entry in entries:
        first, last = (int(word) for word in entry.range.removeprefix("bytes=").split("-"))
        found += range(first // BLOCK, last // BLOCK + 1)
    return found


@pytest.mark.limit(400)
def test_B8_killed_again_and_again(make, rounds):
    world = make.world()
    mount = make.mount(world, config=CONFIG, start=False)
    turns = random.Random(20)
    repo = data = path = None
    claimed, kept = set(), 0
    for number in range(rounds):
        if repo is None:
            data = fresh_bytes(BLOCKS * MIB)
            repo = world.add({"model.bin": data})
            path, claimed = mount.file(repo, "model.bin"), set()
        etag = repo.etags["model.bin"]
        before = len(world.content(etag))
        mount.remount()
        order, wrong = list(range(BLOCKS)), []
        turns.shuffle(order)
        reading = later(read_some, path, order, data, wrong)
        time.sleep(turns.uniform(0.0, 0.12))
        mount.kill9()
        reading.join(20)
        assert not wrong, f"round {number}: wrong bytes in blocks {wrong}"
        if before == 0 and not world.content(etag):
            continue  # killed before the name was known
        again = set(fetched_blocks(world.content(etag)[before:])) & claimed
        assert not again, f"round {number}: blocks {sorted(again)} were claimed and are fetched again"
        now = claimed_blocks(mount, path, data)
        assert claimed <= now, f"round {number}: blocks {sorted(claimed - now)} are claimed no more"
        kept += len(now - claimed)
        claimed = now
        if len(claimed) == BLOCKS:
            repo = None
    assert kept > 0, "no round kept a block: the test shows nothing"
    mount.remount()
    if repo:
        with open(path, "rb") as file:
            assert file.read() == data


def test_B8_what_is_reported_as_claimed_survives(make):
    """Through the metrics: blocks_claimed before the kill are here after it."""
    world = make.world()
    mount = make.mount(world, config=CONFIG)
    data = fresh_bytes(BLOCKS * MIB)
    repo = world.add({"model.bin": data})
    path = mount.file(repo, "model.bin")
    for round_ in range(4):
        reading = later(read_some, path, range(BLOCKS) if round_ % 2 else reversed(range(6 * (round_ + 1))), data, [])
        time.sleep(0.05)
        before = mount.metric("blocks_claimed")
        mount.kill9()
        reading.join(20)
        mount.remount()
        here = os.stat(path).st_blocks * 512
        assert here >= before * BLOCK
    assert path.read_bytes() == data
    eventually(lambda: mount.metric("blobs_verified") + (os.stat(path).st_blocks >= BLOCKS * 2048), 10)


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.03, 0.08])
def test_B8_killed_while_a_blob_is_finished(make, moment):
    """Around the check, the move and the new incarnation: never wrong, never gone."""
    world = make.world()
    mount = make.mount(world, config=CONFIG)
    data = fresh_bytes(4 * MIB)
    repo = world.add({"model.bin": data})
    path = mount.file(repo, "model.bin")
    assert path.read_bytes() == data
    time.sleep(moment)
    mount.kill9()
    mount.remount()
    assert path.read_bytes() == data
    eventually(lambda: (mount.state / "hffs-v1/blobs" / repo.etags["model.bin"][:2] / repo.etags["model.bin"]).exists(),
               10, "the verified file")
    assert path.read_bytes() == data
    assert world.content_bytes(repo.etags["model.bin"]) <= 2 * len(data)


def test_B8_umount_keeps_everything(make):
    """No two seconds are lost where there is time to say goodbye."""
    world = make.world()
    mount = make.mount(world, config="sync_interval = 3600\n")
    data = fresh_bytes(8 * MIB)
    repo = world.add({"model.bin": data})
    with open(mount.file(repo, "model.bin"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for block in (1, 3, 6):
            assert os.pread(file.fileno(), BLOCK, block * BLOCK) == data[block * BLOCK:(block + 1) * BLOCK]
    fetched = world.content_bytes(repo.etags["model.bin"])
    mount.umount()
    mount.remount()
    with open(mount.file(repo, "model.bin"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for block in (1, 3, 6):
            assert os.pread(file.fileno(), BLOCK, block * BLOCK) == data[block * BLOCK:(block + 1) * BLOCK]
    assert world.content_bytes(repo.etags["model.bin"]) == fetched
