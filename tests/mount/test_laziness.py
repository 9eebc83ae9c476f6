# SPDX-License-Identifier: Apache-2.0
"""What is fetched, counted where the bytes come from."""
import os
import time

import pytest
from lab import BLOCK, MIB, Together, errno_of, eventually, in_child, make_sparse_safetensors, safetensors_header
from world import fresh_bytes, quiet

TENSORS = {f"layer.{number}.weight": 32 * MIB for number in range(63)} | {"small.bias": 4096}


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A 2 GiB safetensors file that takes almost no disk."""
    path = tmp_path_factory.mktemp("sparse") / "model.safetensors"
    make_sparse_safetensors(path, TENSORS)
    return path


@pytest.fixture
def lazy(make, big):
    world = make.world(nginx=True, cache=big.parent)
    mount = make.mount(world)
    repo = world.add({"model.safetensors": big, "config.json": b"{}"})
    path = mount.file(repo, "model.safetensors")
    os.stat(path)
    return world, mount, repo, path


def read_header(path):
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length))


def map_header(path):
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            length = int.from_bytes(memory[:8], "little")
            return json.loads(memory[8:8 + length])


@pytest.mark.parametrize("way", [read_header, map_header])
def test_B2_header_of_a_2_gib_file_costs_at_most_two_blocks(lazy, way):
    world, _, repo, path = lazy
    table = in_child(way, str(path))
    assert len(table) == len(TENSORS) and os.stat(path).st_size > 2 * 1000 * MIB
    time.sleep(0.5)  # nothing may follow by itself either
    assert 0 < world.content_bytes(repo.etags["model.safetensors"]) <= 2 * BLOCK


def read_tensor(path, offset, size):
    fd = os.open(path, os.O_RDONLY)
    got = 0
    head = os.pread(fd, 32, offset)
    while got < size:
        got += len(os.pread(fd, min(1 << 20, size - got), offset + got))
    return head.rstrip(b"\0").decode()


def map_tensor(path, offset, size):
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as memory:
            head = memory[offset:offset + 32]
            for at in range(offset, offset + size, mmap.PAGESIZE):
                memory[at]
    return head.rstrip(b"\0").decode()


@pytest.mark.parametrize("way", [read_tensor, map_tensor])
def test_B2_one_tensor_costs_its_size(lazy, way):
    world, mount, repo, path = lazy
    number = 40
    offset = len(safetensors_header(TENSORS)) + number * 32 * MIB
    assert in_child(way, str(path), offset, 32 * MIB) == f"layer.{number}.weight"
    time.sleep(0.3)
    first = world.content_bytes(repo.etags["model.safetensors"])
    assert 32 * MIB <= first <= 1.1 * 32 * MIB + 2 * BLOCK, first / MIB
    assert in_child(way, str(path), offset, 32 * MIB) == f"layer.{number}.weight"
    assert world.content_bytes(repo.etags["model.safetensors"]) == first, "reading it again cost bytes"
    mount.umount()
    mount.remount()
    assert in_child(way, str(path), offset, 32 * MIB) == f"layer.{number}.weight"
    assert world.content_bytes(repo.etags["model.safetensors"]) == first, "a restart forgot bytes"


def read_all(path):
    digest = hashlib.sha256()
    say("ready")
    hear()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def test_B3_64_processes_cost_the_bytes_once(make, quick):
    world = make.world(nginx=True)
    mount = make.mount(world)
    data = fresh_bytes(16 * MIB)
    repo = world.add({"model.bin": data})
    path = str(mount.file(repo, "model.bin"))
    children = [make.child(read_all, path) for _ in range(16 if quick else 64)]
    for child in children:
        assert child.heard() == "ready"
    for child in children:
        child.tell()
    assert {child.result() for child in children} == {repo.etags["model.bin"]}
    assert world.content_bytes(repo.etags["model.bin"]) == len(data)


def test_B3_reading_again_sends_nothing(make):
    world = make.world(nginx=True)
    mount = make.mount(world)
    data = fresh_bytes(5 * MIB)
    repo = world.add({"model.bin": data, "config.json": b"{}"})
    top = mount.repo(repo.id)
    commit = (top / "refs/main").read_text()
    names = os.listdir(top / "snapshots" / commit)
    assert {name: (top / "snapshots" / commit / name).read_bytes() for name in names} == \
        {"model.bin": data, "config.json": b"{}"}
    with quiet(world):
        for _ in range(3):
            assert (top / "refs/main").read_text() == commit
            assert sorted(os.listdir(top / "snapshots" / commit)) == sorted(names)
            assert (top / "snapshots" / commit / "model.bin").read_bytes() == data
            assert errno_of(os.stat, top / "snapshots" / commit / "nope.json") != 0
            assert os.listdir(top / "blobs") and os.listdir(mount.point)


def test_S3_a_client_s_whole_first_use(make):
    """ref, probes of optional files, listing, every file: two metadata calls, each byte once."""
    world = make.world(nginx=True)
    mount = make.mount(world)
    files = {"config.json": fresh_bytes(700), "model.safetensors": fresh_bytes(3 * MIB), "vae/config.json": b"{}",
             "tokenizer.json": fresh_bytes(30_000)}
    repo = world.add(files)
    top = mount.repo(repo.id)
    os.path.isdir(top)
    commit = (top / "refs/main").read_text()
    for name in ("model.safetensors.index.json", "pytorch_model.bin", "added_tokens.json", "chat_template.jinja"):
        assert not os.path.isfile(top / "snapshots" / commit / name)
        assert os.path.isfile(top / ".no_exist" / commit / name)
    for name, data in files.items():
        assert (top / "snapshots" / commit / name).read_bytes() == data
    assert len(world.api()) <= 2, world.api()
    assert sum(each.bytes for each in world.content()) == sum(len(data) for data in files.values())


@pytest.mark.limit(180)
def test_S4_200000_files_with_100_calls_a_window(make, quick):
    """A path at once, whatever the budget; the listing goes on when the Hub lets it."""
    count = 60_000 if quick else 200_000
    world = make.world()
    mount = make.mount(world)
    repo = world.add({f"d{number % 100:02}/f{number:06}.txt": b"same" for number in range(count)})
    # The short window stands for the Hub's five minutes. 20 calls of a budget the loader leaves to single paths.
    budget = 50 if quick else 100
    world.hub.limits.set(api=budget, window=10)
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    began = time.monotonic()
    assert (top / f"d{(count - 1) % 100:02}/f{count - 1:06}.txt").read_bytes() == b"same"
    assert time.monotonic() - began < 2, f"one path of {count} took {time.monotonic() - began:.1f} s"
    listing = Together(2, lambda _: sum(len(os.listdir(top / f"d{number:02}")) for number in range(100)))
    took = []
    while listing.results == [None, None] and time.monotonic() - began < 150:
        began_path = time.monotonic()
        number = int(began_path * 1000) % count
        found = errno_of(os.stat, top / f"d{number % 100:02}/f{number:06}.txt")
        assert found == 0, f"a path is not found while the listing is under way: {found}"
        took.append(time.monotonic() - began_path)
        time.sleep(0.5)
    # Most of them: the hub of this process has one lock, and a page of the listing to write under it.
    assert sorted(took)[len(took) // 2] < 2, took
    assert listing.join(120) == [count, count]
    # The loader leaves a reserve to single paths, so that its own pages are not refused; without one they would be.
    assert count // 1000 > budget, "no limit was near: the test shows nothing"
    assert not world.asked(kind="tree", status=429)
    assert len(world.asked(kind="tree", status=200)) <= count // 1000 + 5, "pages were fetched twice"


@pytest.mark.limit(120)
def test_S4_a_listing_resumes_after_a_429(make):
    """A Hub that does not say what is left of the budget: the listing runs into the limit, and goes on behind it."""
    count = 30_000
    world = make.world()
    mount = make.mount(world)
    repo = world.add({f"d{number % 10}/f{number:06}.txt": b"same" for number in range(count)})
    world.hub.faults.add("headers", on="tree", drop=["RateLimit", "RateLimit-Policy"])
    world.hub.limits.set(api=12, window=5)
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    assert sum(len(os.listdir(top / f"d{number}")) for number in range(10)) == count
    assert world.asked(kind="tree", status=429), "no limit was met: the test shows nothing"
    assert len(world.asked(kind="tree", status=200)) <= count // 1000 + 1, "pages were fetched twice"
