# SPDX-License-Identifier: Apache-2.0
"""Large verified blobs are read by the kernel itself, on one that can; else through the page cache."""
import mmap
import os
import subprocess

import pytest
from lab import MIB, drop_caches, eventually
from world import fresh_bytes, quiet

OLD = 'fuse_features = "5.15"\n'
SIZE = 5 * MIB + 321


def verified(world, mount, files=None):
    repo = world.add(files or {"model.safetensors": fresh_bytes(SIZE)})
    before = mount.metric("blobs_verified")
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data
    eventually(lambda: mount.metric("blobs_verified") == before + len(repo.content), 10, "verification")
    return repo


@pytest.fixture
def kernel_reads(root, common):
    mode = common.mount.status()["mode"]
    release = tuple(int(word) for word in os.uname().release.split(".")[:2])
    if release < (6, 9):
        pytest.skip(f"Linux {os.uname().release} has no FUSE passthrough")
    assert mode == "passthrough", common.mount.status()["mode_reason"]


def read_at(path, how):
    """Every way of reading, by a program of its own: page faults must not hold the hub's threads up."""
    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if how == "direct" else 0))
    try:
        size = os.fstat(fd).st_size
        if how == "mmap":
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as memory:
                return bytes(memory).hex()
        if how == "private":
            with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as memory:
                memory[0] = memory[0]
                return bytes(memory).hex()
        if how == "direct":
            room = mmap.mmap(-1, (size + 4095) // 4096 * 4096)
            count = os.preadv(fd, [room], 0)
            return bytes(room[:count]).hex()
        return b"".join(os.pread(fd, 100_003, at) for at in range(0, size, 100_003)).hex()
    finally:
        os.close(fd)


@pytest.mark.parametrize("how", ["pread", "mmap", "private", "direct"])
def test_B2_B9_the_kernel_reads_verified_blobs_itself(common, make, kernel_reads, how):
    repo = verified(common.world, common.mount)
    path = common.mount.file(repo, "model.safetensors")
    assert drop_caches()
    reads, opens = common.mount.metric("fuse_reads"), common.mount.metric("passthrough_opens")
    with quiet(common.world):
        child = make.child(read_at, str(path), how)
        assert bytes.fromhex(child.result()) == repo.content["model.safetensors"]
    assert common.mount.metric("fuse_reads") == reads, "READs reached the daemon"
    assert common.mount.metric("passthrough_opens") == opens + 1


def test_B2_a_filling_blob_stays_open_while_it_becomes_whole(common, kernel_reads):
    """Two nodes: the old descriptor goes on through the daemon, a new one gets the kernel's way."""
    repo = common.world.add({"model.safetensors": fresh_bytes(SIZE)})
    data = repo.content["model.safetensors"]
    path = common.mount.file(repo, "model.safetensors")
    before = common.mount.metric("blobs_verified")
    with open(path, "rb") as old:
        assert old.read() == data
        eventually(lambda: common.mount.metric("blobs_verified") == before + 1, 10)
        opens = common.mount.metric("passthrough_opens")
        with open(path, "rb") as new:
            assert common.mount.metric("passthrough_opens") == opens + 1
            for file in (old, new, old, new):
                file.seek(0)
                assert file.read() == data
            assert os.fstat(old.fileno()).st_ino == os.fstat(new.fileno()).st_ino
        os.posix_fadvise(old.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        old.seek(0)
        assert old.read() == data


def test_B2_small_files_keep_the_page_cache(common, kernel_reads, pages_kept):
    repo = verified(common.world, common.mount, {"config.json": fresh_bytes(900), "edge.bin": fresh_bytes(MIB - 1)})
    path = common.mount.file(repo, "config.json")
    opens = common.mount.metric("passthrough_opens")
    path.read_bytes()
    reads = common.mount.metric("fuse_reads")
    for _ in range(5):
        assert path.read_bytes() == repo.content["config.json"]
    assert common.mount.metric("fuse_reads") == reads
    assert common.mount.metric("passthrough_opens") == opens


def test_B6_a_blob_that_the_kernel_reads_cannot_be_written(common, kernel_reads):
    repo = verified(common.world, common.mount)
    path = common.mount.file(repo, "model.safetensors")
    with open(path, "rb") as held:
        for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_TRUNC):
            with pytest.raises(PermissionError):
                os.close(os.open(path, flags))
        with pytest.raises((PermissionError, OSError)):
            os.write(held.fileno(), b"x")
    assert path.read_bytes() == repo.content["model.safetensors"]


def test_B8_nothing_stays_registered(common, kernel_reads):
    """Thousands of opens cost no descriptor: what the kernel holds goes with the last close."""
    repo = verified(common.world, common.mount)
    path = common.mount.file(repo, "model.safetensors")
    count = lambda: len(os.listdir(f"/proc/{common.mount.worker}/fd"))
    before = count()
    for _ in range(300):
        with open(path, "rb") as one, open(path, "rb") as two:
            assert one.read(10) == two.read(10)
    eventually(lambda: count() <= before, 5)


def refused(mount, repo, reason):
    status = mount.status()
    assert status["mode"] == "page cache" and reason in status["mode_reason"], status["mode_reason"]
    assert mount.metric("passthrough_opens") == 0
    for path, data in repo.content.items():
        for _ in range(2):
            assert mount.file(repo, path).read_bytes() == data
    assert reason in mount.hffs("status", mount.point).out


def test_B2_features_of_newer_kernels_can_be_masked(make, root, pages_kept):
    world = make.world()
    mount = make.mount(world, config=OLD)
    repo = verified(world, mount)
    refused(mount, repo, "fuse_features")
    # Pages stay across opens: a second reader costs no READ.
    reads = mount.metric("fuse_reads")
    assert mount.file(repo, "model.safetensors").read_bytes() == repo.content["model.safetensors"]
    assert mount.metric("fuse_reads") == reads


def test_B2_a_stacked_file_system_below_the_state_directory(make, root):
    """overlayfs cannot be handed through: the page cache serves, and status says why."""
    world = make.world()
    mount = make.mount(world, start=False)
    box = make.folder()
    for folder in (box / "lower", box / "upper", box / "work", mount.state):
        folder.mkdir()
    made = subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                           f"lowerdir={box}/lower,upperdir={box}/upper,workdir={box}/work", mount.state])
    if made.returncode:
        pytest.skip("no overlayfs here")
    try:
        mount.start()
        repo = verified(world, mount)
        assert mount.file(repo, "model.safetensors").read_bytes() == repo.content["model.safetensors"]
        if not mount.status()["mode_reason"].startswith("the kernel has no"):
            refused(mount, repo, "overlayfs")
        mount.umount()
    finally:
        mount.abandon()
        subprocess.run(["umount", mount.state], check=True)
