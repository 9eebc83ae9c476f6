# SPDX-License-Identifier: Apache-2.0
"""B: the bytes, and what is told of them."""
import errno
import hashlib
import os
import stat
import subprocess
import time

from lab import BLOCK, MIB, Together, drop_caches, entry_modes, errno_of, eventually, in_child, refuses
from world import fresh_bytes, quiet


def content_name(data, lfs):
    return hashlib.sha256(data).hexdigest() if lfs else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_B1_blobs_are_named_by_their_content_and_have_their_size(common):
    """Client contract, rules 1, 11, 12, 14 and 15."""
    small, large = fresh_bytes(500), fresh_bytes(3 * MIB + 17)
    repo = common.world.add({"config.json": small, "model.bin": large, "empty": b""})
    folder = common.mount.repo(repo.id) / "blobs"
    for data, lfs in ((large, True), (small, False), (b"", False)):
        path = folder / content_name(data, lfs)
        found = os.stat(path)
        assert entry_modes(path) == (stat.S_IFREG, 0o644)
        assert (found.st_size, found.st_nlink) == (len(data), 1)
    assert not common.world.content(content_name(large, True)), "content was fetched for a stat"
    assert set(os.listdir(folder)) == {content_name(large, True), content_name(small, False), content_name(b"", False)}
    assert all(each.is_file(follow_symlinks=False) for each in os.scandir(folder))


def test_B1_blob_names_of_no_known_commit(common):
    repo = common.world.add()
    folder = common.mount.repo(repo.id) / "blobs"
    os.listdir(folder.parent / "snapshots" / repo.commit)
    with quiet(common.world):
        for name in ("0" * 40, "0" * 64, "abc", "0" * 41, repo.etags["config.json"].upper()):
            assert errno_of(os.stat, folder / name) == errno.ENOENT, name


def test_B1_times_and_numbers_do_not_move(common):
    """Client contract, rule 14."""
    repo = common.world.add({"model.bin": fresh_bytes(2 * MIB)})
    path = common.mount.blob(repo, "model.bin")
    os.listdir(common.mount.repo(repo.id) / "snapshots" / repo.commit)
    before = os.stat(path)
    path.read_bytes()
    eventually(lambda: os.stat(path).st_blocks >= 2 * MIB // 512)
    after = os.stat(path)
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (after.st_ino, after.st_mtime_ns, after.st_size)
    assert before.st_mtime > 0


def test_B2_blocks_come_when_they_are_read(common):
    data = fresh_bytes(12 * MIB + 333)
    repo = common.world.add({"model.bin": data})
    etag = repo.etags["model.bin"]
    with open(common.mount.file(repo, "model.bin"), "rb", buffering=0) as file:
        assert not common.world.content(etag), "opening fetched content"
        assert os.pread(file.fileno(), 10, 5 * MIB + 100) == data[5 * MIB + 100:5 * MIB + 110]
        first = common.world.content(etag)
        assert sum(each.bytes for each in first) <= 2 * BLOCK
        assert first[0].range and first[0].range.startswith(f"bytes={5 * MIB}-"), first
        assert os.pread(file.fileno(), 400, 12 * MIB) == data[12 * MIB:]
        assert common.world.content_bytes(etag) <= 4 * BLOCK
        assert file.read() == data
    assert common.world.content_bytes(etag) == len(data)


def test_B2_small_files_and_empty_ones(common):
    files = {"empty.txt": b"", "one.txt": b"1", "config.json": fresh_bytes(5000), "exact.bin": fresh_bytes(BLOCK),
             "over.bin": fresh_bytes(BLOCK + 1), "under.bin": fresh_bytes(BLOCK - 1)}
    repo = common.world.add(files)
    for name, data in files.items():
        assert common.mount.file(repo, name).read_bytes() == data, name
        assert os.stat(common.mount.file(repo, name)).st_size == len(data)
    assert not common.world.content(repo.etags["empty.txt"]), "an empty file was asked for"


def test_B3_a_block_is_fetched_once_however_many_wait(common):
    data = fresh_bytes(6 * MIB)
    repo = common.world.add({"model.bin": data})
    path = common.mount.file(repo, "model.bin")
    with common.hub.faults.add("delay", on="content", path=f"*{repo.etags['model.bin']}*", seconds=0.3):
        read = Together(24, lambda _: path.read_bytes()).join()
    assert all(each == data for each in read)
    assert common.world.content_bytes(repo.etags["model.bin"]) == len(data)


def test_B4_one_content_is_one_blob(common):
    data, small = fresh_bytes(2 * MIB), fresh_bytes(900)
    one = common.world.add({"model.bin": data, "config.json": small})
    assert common.mount.file(one, "model.bin").read_bytes() == data
    assert common.mount.file(one, "config.json").read_bytes() == small
    two = common.world.add({"other/name.bin": data, "settings.json": small}, type="dataset")
    three = common.world.push(one, {"copy.bin": data})
    before = len(common.world.content())
    assert common.mount.file(two, "other/name.bin").read_bytes() == data
    assert common.mount.file(two, "settings.json").read_bytes() == small
    assert common.mount.file(three, "copy.bin").read_bytes() == data
    assert len(common.world.content()) == before, "the same content was fetched again"
    seen = {os.stat(path).st_ino for path in (common.mount.file(one, "model.bin"), common.mount.file(three, "copy.bin"),
                                              common.mount.file(two, "other/name.bin"))}
    assert len(seen) == 1


def test_B4_half_here_is_half_here_for_both(common):
    data = fresh_bytes(4 * MIB)
    one, two = common.world.add({"a.bin": data}), common.world.add({"b.bin": data})
    with open(common.mount.file(one, "a.bin"), "rb") as file:
        assert file.read(2 * MIB) == data[:2 * MIB]
    assert common.mount.file(two, "b.bin").read_bytes() == data
    assert common.world.content_bytes(one.etags["a.bin"]) == len(data)


def test_B4_st_ino_stays_when_the_blob_is_whole(make):
    """By its name, in a listing, and by a descriptor from before."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(2 * MIB)})
    path = mount.file(repo, "model.bin")
    with open(path, "rb") as held:
        before = os.stat(path).st_ino
        assert held.read() == repo.content["model.bin"]
        eventually(lambda: mount.metric("blobs_verified") == 1, 10)
        assert path.read_bytes() == repo.content["model.bin"]
        drop_caches()
        assert os.stat(path).st_ino == os.fstat(held.fileno()).st_ino == before
        assert [each.inode() for each in os.scandir(mount.repo(repo.id) / "blobs")] == [before]


def test_B5_blocks_tell_what_is_here(common):
    """Client contract, rule 13."""
    data = fresh_bytes(8 * MIB)
    repo = common.world.add({"model.bin": data, "empty": b""})
    path = common.mount.file(repo, "model.bin")
    cold = os.stat(path)
    assert 1 <= cold.st_blocks < MIB // 512, "bytes that are not here are counted"
    assert os.stat(common.mount.file(repo, "empty")).st_blocks == 0
    with open(path, "rb", buffering=0) as file:
        os.pread(file.fileno(), 1, 6 * MIB)
        half = eventually(lambda: os.stat(path).st_blocks >= MIB // 512 and os.stat(path), 5).st_blocks
        assert half <= 3 * MIB // 512
        file.read()
    eventually(lambda: os.stat(path).st_blocks >= 8 * MIB // 512, 5)
    assert os.stat(path).st_blocks <= 8 * MIB // 512 + 16


def test_B5_no_hole_where_bytes_are_missing(common):
    """tar -S archived zeros from a prototype that said 0 blocks."""
    data = fresh_bytes(5 * MIB)
    repo = common.world.add({"model.bin": data})
    path = common.mount.file(repo, "model.bin")
    with open(path, "rb", buffering=0) as file:
        os.pread(file.fileno(), 1, 2 * MIB)
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == len(data)
        assert os.lseek(file.fileno(), 3 * MIB + 5, os.SEEK_DATA) == 3 * MIB + 5
    archive = subprocess.run(["tar", "-S", "-h", "-c", "-f", "-", "-C", path.parent, "model.bin"], check=True,
                             capture_output=True, timeout=60).stdout
    unpacked = subprocess.run(["tar", "-x", "-O", "-f", "-"], input=archive, check=True, capture_output=True).stdout
    assert unpacked == data


def test_B6_blobs_cannot_be_changed(common):
    """Client contract, rules 15, 23 and 24."""
    data = fresh_bytes(70_000)
    repo = common.world.add({"model.bin": data, "other.bin": fresh_bytes(100)})
    path, other = common.mount.blob(repo, "model.bin"), common.mount.blob(repo, "other.bin")
    os.listdir(common.mount.repo(repo.id) / "snapshots" / repo.commit)
    for warm in (False, True):
        if warm:
            assert path.read_bytes() == data
        denied = [(os.open, path, os.O_WRONLY), (os.open, path, os.O_RDWR), (os.open, path, os.O_RDWR | os.O_APPEND),
                  (os.open, path, os.O_WRONLY | os.O_TRUNC), (os.truncate, path, 0), (os.truncate, path, len(data) * 2),
                  (os.rename, path, path.with_name("x.incomplete")), (os.rename, path, other), (os.unlink, path),
                  (os.link, path, path.with_name("tmphard")), (os.rmdir, path.parent), (os.chmod, path, 0o777),
                  (os.open, path, os.O_RDONLY | os.O_TRUNC)]
        for action, *words in denied:
            assert errno_of(action, *words) == errno.EPERM, (warm, action.__name__, words)
        assert errno_of(os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) == errno.EEXIST
    assert path.read_bytes() == data
    assert entry_modes(path) == (stat.S_IFREG, 0o644)


def spoiled(world, repo, path, **options):
    return world.hub.faults.add("corrupt", on=("content", "bytes"), path=f"*{repo.etags[path]}*", **options)


def test_B7_wrong_bytes_are_never_served_after_the_check(make):
    world = make.world(git_files="direct")
    mount = make.mount(world)
    data = fresh_bytes(3 * MIB)
    repo = world.add({"model.bin": data})
    path = mount.file(repo, "model.bin")
    with spoiled(world, repo, "model.bin", count=1, at=700):
        held = os.open(path, os.O_RDONLY)
        os.pread(held, len(data), 0)  # its last block lands: only now anybody can know
    eventually(lambda: mount.metric("blobs_quarantined") == 1, 10, "the check")
    for _ in range(3):
        assert path.read_bytes() == data
    os.close(held)
    eventually(lambda: mount.metric("blobs_verified") == 1, 10)
    assert path.read_bytes() == data
    assert world.content_bytes(repo.etags["model.bin"]) == 2 * len(data)


def test_B7_right_bytes_of_both_kinds_pass(make):
    """sha256 and git's sha1: nothing right is put aside."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(MIB + 1), "config.json": fresh_bytes(600)})
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data
    eventually(lambda: mount.metric("blobs_verified") == 2, 10, "both verdicts")
    assert mount.metric("blobs_quarantined") == 0


def test_B7_small_files_are_checked_too(make):
    world = make.world(git_files="direct")
    mount = make.mount(world)
    data = fresh_bytes(600)
    repo = world.add({"config.json": data})
    with world.hub.faults.add("corrupt", on="content", path="*config.json*", count=1, at=5):
        mount.file(repo, "config.json").read_bytes()
    eventually(lambda: mount.metric("blobs_quarantined") == 1, 10, "the check")
    assert mount.file(repo, "config.json").read_bytes() == data


def test_B7_bytes_that_stay_wrong_are_given_up(make):
    """A hub that has other content than it says: an error, not a loop."""
    world = make.world(git_files="direct")
    mount = make.mount(world, "--read-deadline", "3")
    repo = world.add({"model.bin": fresh_bytes(MIB + 5), "good.bin": fresh_bytes(1000)})
    path = mount.file(repo, "model.bin")
    spoiled(world, repo, "model.bin", at=9)

    def read():
        try:
            return path.read_bytes()
        except OSError as error:
            return error.errno
    eventually(lambda: read() == errno.EIO, 20, "the end of trying")
    assert len(world.content(repo.etags["model.bin"])) <= 20
    assert mount.file(repo, "good.bin").read_bytes() == repo.content["good.bin"]


def test_B7_bytes_that_rot_on_the_disk_are_not_the_check_s_fault(make):
    """A verified file that was altered below is not ours to find at each read; a size that is wrong is."""
    world = make.world()
    mount = make.mount(world)
    data = fresh_bytes(2 * MIB)
    repo = world.add({"model.bin": data})
    path = mount.file(repo, "model.bin")
    assert path.read_bytes() == data
    eventually(lambda: mount.metric("blobs_verified") == 1, 10)
    mount.umount()
    stored = mount.state / "hffs-v1/blobs" / repo.etags["model.bin"][:2] / repo.etags["model.bin"]
    os.truncate(stored, MIB)
    mount.remount()
    drop_caches()
    assert path.read_bytes() == data, "what was cut short below is not fetched again"
    assert world.content_bytes(repo.etags["model.bin"]) == 2 * len(data)


def test_B8_what_was_read_stays_readable(make):
    world = make.world()
    mount = make.mount(world)
    data, part = fresh_bytes(3 * MIB), fresh_bytes(8 * MIB)
    repo = world.add({"model.bin": data, "part.bin": part, "config.json": b"{}"})
    assert mount.file(repo, "model.bin").read_bytes() == data
    assert mount.file(repo, "config.json").read_bytes() == b"{}"
    with open(mount.file(repo, "part.bin"), "rb", buffering=0) as file:
        assert os.pread(file.fileno(), BLOCK, 5 * MIB) == part[5 * MIB:6 * MIB]
    world.hub.down(origin=True)

    def check():
        drop_caches()
        assert mount.file(repo, "model.bin").read_bytes() == data
        assert mount.file(repo, "config.json").read_bytes() == b"{}"
        with open(mount.file(repo, "part.bin"), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            assert os.pread(file.fileno(), BLOCK, 5 * MIB) == part[5 * MIB:6 * MIB]
    check()
    mount.umount()
    mount.remount()
    check()


def test_B8_kill_costs_at_most_two_seconds(make):
    """Blocks here and there, so that nothing is fetched ahead: a blob that is whole is durable by that alone."""
    world = make.world()
    mount = make.mount(world)
    data = fresh_bytes(48 * MIB)
    repo = world.add({"model.bin": data})
    blocks = [29, 3, 41, 17, 8, 35, 23, 12, 46, 38]

    def read():
        with open(mount.file(repo, "model.bin"), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            for at in (block * BLOCK for block in blocks):
                assert os.pread(file.fileno(), BLOCK, at) == data[at:at + BLOCK]
    read()
    time.sleep(2.3)
    assert mount.metric("blobs_verified") == 0, "the blob is whole: the test shows nothing"
    mount.kill9()
    world.hub.down(origin=True)
    mount.remount()
    read()
    world.hub.up()


def map_it(path, flags, prot):
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, flags=flags, prot=prot) as memory:
            found = hashlib.sha256(memory).hexdigest()
            changed = None
            if prot & mmap.PROT_WRITE:
                memory[100:104] = b"mine"
                memory[len(memory) - 4:] = b"mine"
                changed = memory[100:104] == b"mine" and memory[-4:] == b"mine"
        file.seek(0)
        return [found, changed, hashlib.sha256(file.read()).hexdigest()]


def test_B9_memory_maps(common):
    """Client contract, rule 16: read only and writable private ones (torch), shared ones (np.memmap)."""
    import mmap
    for flags, prot in ((mmap.MAP_PRIVATE, mmap.PROT_READ), (mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE),
                        (mmap.MAP_SHARED, mmap.PROT_READ)):
        data = fresh_bytes(3 * MIB + 100)
        repo = common.world.add({"model.bin": data})
        path = str(common.mount.file(repo, "model.bin"))
        wanted = hashlib.sha256(data).hexdigest()
        for _ in ("cold", "warm"):
            found, changed, after = in_child(map_it, path, int(flags), int(prot))
            assert (found, after) == (wanted, wanted)
            assert changed in (None, True)
        assert common.world.content_bytes(repo.etags["model.bin"]) == len(data)


def test_B9_nobody_maps_a_blob_for_shared_writing(common):
    import mmap
    repo = common.world.add({"model.bin": fresh_bytes(MIB)})
    with refuses(errno.EACCES, errno.EPERM):
        in_child(map_it, str(common.mount.file(repo, "model.bin")), int(mmap.MAP_SHARED),
                 int(mmap.PROT_READ | mmap.PROT_WRITE))
