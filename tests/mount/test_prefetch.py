# SPDX-License-Identifier: Apache-2.0
"""What is fetched before it is read: never for headers and random reads, all of it for who loads a model."""
import errno
import os
import random
import time

import pytest
from lab import BLOCK, MIB, errno_of, eventually, in_child, make_sparse_safetensors, safetensors_header
from world import fresh_bytes

TENSORS = {f"layer.{number}.weight": 8 * MIB for number in range(6)}


def here(mount, repo, path):
    """Bytes of the file that are on the local disk."""
    return os.stat(mount.file(repo, path)).st_blocks * 512


def whole(mount, repo, *paths):
    return all(here(mount, repo, path) >= repo.sizes[path] for path in paths)


def settled(world, mount):
    """Nothing is under way any more."""
    def still():
        before = len(world.content())
        time.sleep(0.3)
        return len(world.content()) == before and mount.status()["transfer"]["requests"] == 0
    eventually(still, 20, "the end of what is under way")


def model(world, shards=1, more=None):
    """A model of shards of 48 MiB."""
    files = {}
    for number in range(1, shards + 1):
        body = bytearray(safetensors_header(TENSORS))
        for name in TENSORS:
            body += (name.encode() + bytes([number])).ljust(64, b"\0") + fresh_bytes(MIB) * 8
            del body[-64:]
        files[f"model-{number:05}-of-{shards:05}.safetensors"] = bytes(body)
    return world.add({**files, **(more or {})})


def read_tensors(path, first, count, head):
    """As a loader does: the header, then tensors in order."""
    with open(path, "rb", buffering=0) as file:
        length = int.from_bytes(file.read(8), "little")
        file.read(length)
        for number in range(first, first + count):
            at = head + number * (8 << 20)
            for offset in range(at, at + (8 << 20), 1 << 20):
                os.pread(file.fileno(), 1 << 20, offset)
    return True


HEAD = len(safetensors_header(TENSORS))


@pytest.fixture
def lazy(make):
    world = make.world()
    return world, make.mount(world)


def test_B2_one_tensor_pulls_no_other(lazy):
    world, mount = lazy
    repo = model(world)
    name, = repo.sizes
    assert in_child(read_tensors, str(mount.file(repo, name)), 2, 1, HEAD)
    settled(world, mount)
    assert here(mount, repo, name) <= 8 * MIB * 1.1 + 2 * BLOCK + BLOCK


def test_B2_the_second_tensor_pulls_the_file_and_the_next_shard(lazy):
    world, mount = lazy
    repo = model(world, shards=3)
    names = sorted(repo.sizes)
    assert in_child(read_tensors, str(mount.file(repo, names[0])), 0, 2, HEAD)
    eventually(lambda: whole(mount, repo, *names), 30, "all shards")
    for name in names:
        assert world.content_bytes(repo.etags[name]) == repo.sizes[name], "bytes came twice"
        assert mount.file(repo, name).read_bytes() == repo.content[name]


def test_B2_random_reads_pull_nothing_more(lazy):
    world, mount = lazy
    data = fresh_bytes(MIB) * 128
    repo = world.add({"data.bin": data})
    rng = random.Random(1)
    touched = set()
    with open(mount.file(repo, "data.bin"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for _ in range(12):
            at = rng.randrange(len(data) - MIB)
            assert os.pread(file.fileno(), MIB, at) == data[at:at + MIB]
            touched.update((at // BLOCK, (at + MIB - 1) // BLOCK))
    settled(world, mount)
    assert world.content_bytes() <= len(touched) * BLOCK


def test_B2_a_stream_is_read_ahead_of(lazy):
    """The reader is far behind what is here when it stops."""
    world, mount = lazy
    repo = world.add({"data.bin": fresh_bytes(MIB) * 128})
    with open(mount.file(repo, "data.bin"), "rb", buffering=0) as file:
        for _ in range(6):
            file.read(MIB)
        settled(world, mount)
        assert 16 * MIB <= here(mount, repo, "data.bin") <= 21 * MIB


def small(count, size=700):
    return {f"part/{number:03}.json": fresh_bytes(size) for number in range(count)}


def test_B2_the_small_files_of_a_snapshot_come_together(lazy):
    world, mount = lazy
    repo = world.add({**small(20), "model.bin": fresh_bytes(2 * MIB)})
    first = sorted(small(20))[0]
    assert mount.file(repo, first).read_bytes() == repo.content[first]
    eventually(lambda: whole(mount, repo, *small(20)), 10, "the small files")
    settled(world, mount)
    assert not world.content(repo.etags["model.bin"])
    before = len(world.content())
    for path in small(20):
        assert mount.file(repo, path).read_bytes() == repo.content[path]
    assert len(world.content()) == before


def test_B4_a_burst_fetches_a_content_once_though_it_has_many_names(lazy):
    world, mount = lazy
    same = fresh_bytes(800)
    repo = world.add({**{f"same/{number}.json": same for number in range(30)}, **small(5)})
    assert mount.file(repo, "same/0.json").read_bytes() == same
    eventually(lambda: whole(mount, repo, *repo.sizes), 10, "the small files")
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data
    assert len(world.content()) == 6


def test_B2_a_burst_is_bounded_and_goes_on_only_for_who_does(lazy):
    world, mount = lazy
    files = small(150)
    repo = world.add(files)
    names = sorted(files)
    count = lambda: len({each.blob for each in world.content()})
    mount.file(repo, names[0]).read_bytes()
    settled(world, mount)
    assert count() == 65
    mount.file(repo, names[120]).read_bytes()  # somewhere else: no second burst
    settled(world, mount)
    assert count() == 66
    for name in names:
        assert mount.file(repo, name).read_bytes() == repo.content[name]
    assert count() == 150
    assert len(world.content()) == 150


def test_B2_a_burst_takes_no_more_than_half_of_what_the_hub_allows(make):
    world = make.world()
    mount = make.mount(world)
    files = small(60)
    repo = world.add(files)
    world.hub.limits.set(resolve=20)
    mount.file(repo, sorted(files)[0]).read_bytes()
    settled(world, mount)
    assert 2 <= len(world.content()) <= 1 + 10


@pytest.mark.parametrize("policy", ["off", "adaptive", "file", "snapshot"])
def test_B2_policies(make, policy):
    world = make.world()
    mount = make.mount(world, "--prefetch", policy)
    repo = model(world, shards=2, more=small(5))
    names = sorted(repo.sizes)
    weights = [name for name in names if name.startswith("model")]
    with open(mount.file(repo, weights[0]), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), 100, 20 * MIB)
    if policy == "file":
        eventually(lambda: whole(mount, repo, weights[0]), 20)
    if policy == "snapshot":
        eventually(lambda: whole(mount, repo, *names), 20)
    settled(world, mount)
    expected = {"off": set(), "adaptive": set(), "file": {weights[0], weights[1]}, "snapshot": set(names)}[policy]
    assert {name for name in names if whole(mount, repo, name)} == expected
    if policy in ("off", "adaptive"):
        assert world.content_bytes() <= 2 * BLOCK


def test_F2_a_hub_that_is_down_is_not_pestered(make):
    """What nobody waits for is given up at the first failure."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"data.bin": fresh_bytes(MIB) * 64})
    with open(mount.file(repo, "data.bin"), "rb", buffering=0) as file:
        file.read(4 * MIB)
        settled(world, mount)
        got = here(mount, repo, "data.bin")
        world.hub.faults.add("status", on=("content", "bytes"), code=500)
        file.seek(0)
        before = len(world.asked())
        file.read(4 * MIB)  # all of it is here
        time.sleep(1.5)
        assert len(world.asked()) - before <= 16
        assert here(mount, repo, "data.bin") == got


def test_wrong_policy_is_named(make):
    mount = make.mount(start=False)
    done = mount.hffs(*mount.command("--prefetch", "everything")[1:])
    assert done.code == 2 and "everything" in done.err and "snapshot" in done.err
    assert errno_of(os.stat, mount.state) == errno.ENOENT
