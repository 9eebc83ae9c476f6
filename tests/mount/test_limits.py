# SPDX-License-Identifier: Apache-2.0
"""L: how much is kept, what goes and what stays."""
import contextlib
import json
import os
import random
import threading

import pytest
from lab import MIB, Together, drop_caches, eventually
from test_carry import make_cache, take_in
from world import fresh_bytes

LIMIT = 16 * MIB


@pytest.fixture
def bounded(make):
    """A hub, and a mount that keeps at most LIMIT bytes."""
    world = make.world()
    return world, make.mount(world, "--max-size", str(LIMIT))


def used(mount):
    return mount.status()["store"]["used_bytes"]


def gc(mount, *words):
    done = mount.hffs("gc", *words, "--json", "--state-dir", str(mount.state))
    assert done.code == 0, done
    return json.loads(done.out)


def closed(mount, repo):
    """Waits until the kernel has told the daemon that nobody has anything of it open."""
    eventually(lambda: gc(mount, repo.id, "--dry-run")["open_bytes"] == 0, 10, "the end of all opens")


def read_whole(world, mount, files):
    """Reads them, and waits until they are verified."""
    repo = world.add(files)
    before = mount.metric("blobs_verified")
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data
    eventually(lambda: mount.metric("blobs_verified") >= before + len(repo.content), 10, "verification")
    closed(mount, repo)
    return repo


def is_here(mount, repo, path):
    """Whether more is here than nothing: st_blocks is at least one."""
    return os.stat(mount.blob(repo, path)).st_blocks * 512 > 4096


def disk_bytes(mount):
    root, total = mount.state / "hffs-v1", 0
    for part in ("blobs", "filling"):
        for folder, _, names in os.walk(root / part):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # evicted meanwhile
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
    return total


def test_L1_L3_a_set_larger_than_the_limit_is_read_right_and_stays_below_it(bounded):
    world, mount = bounded
    files = {f"part-{i}.bin": fresh_bytes(4 * MIB + i) for i in range(16)}
    repo = world.add(files)
    order = list(files) * 2
    random.Random(7).shuffle(order)

    def read(index):
        for path in order[index::4]:
            with open(mount.file(repo, path), "rb") as file:  # an ESTALE would be an OSError here
                assert file.read() == files[path]
            assert used(mount) <= LIMIT
    Together(4, read).join()
    assert mount.metric("blobs_evicted") > 8
    assert used(mount) <= LIMIT
    assert disk_bytes(mount) <= LIMIT + 2 * MIB
    # What went is fetched again, once.
    gone = next(path for path in files if not is_here(mount, repo, path))
    sent = world.content_bytes(repo.etags[gone])
    assert mount.file(repo, gone).read_bytes() == files[gone]
    assert sent < world.content_bytes(repo.etags[gone]) <= sent + len(files[gone])


def test_L1_what_was_open_longest_ago_goes_also_after_a_restart(bounded):
    world, mount = bounded
    repo = read_whole(world, mount, {name: fresh_bytes(5 * MIB) for name in "abc"})
    mount.file(repo, "a").open("rb").close()
    mount.umount()
    mount.remount()
    read_whole(world, mount, {"d": fresh_bytes(5 * MIB)})
    assert [is_here(mount, repo, name) for name in "abc"] == [True, False, True]


def test_L2_readers_are_served_when_nothing_may_go(bounded):
    world, mount = bounded
    repo = read_whole(world, mount, {"a": fresh_bytes(15 * MIB)})
    more = world.add({"b": fresh_bytes(6 * MIB)})
    with open(mount.file(repo, "a"), "rb") as held:
        assert mount.file(more, "b").read_bytes() == more.content["b"]
        assert used(mount) <= LIMIT
        assert held.read() == repo.content["a"]
    assert is_here(mount, repo, "a")
    # Let go of, it makes room.
    closed(mount, repo)
    read_whole(world, mount, {"c": fresh_bytes(6 * MIB)})
    assert not is_here(mount, repo, "a")


def hold(path, how):
    fd = os.open(path, os.O_RDONLY)
    memory = mmap.mmap(fd, 0, prot=mmap.PROT_READ) if how == "mmap" else None
    if memory:
        os.close(fd)
    say("open")
    hear()
    size = os.stat(path).st_size
    data = bytes(memory) if memory else b"".join(os.pread(fd, 65_537, at) for at in range(0, size, 65_537))
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("how", ["pread", "mmap"])
@pytest.mark.parametrize("features", ["all", "5.15"])
def test_L4_an_open_file_keeps_its_bytes(make, how, features):
    """With passthrough where the kernel has it, and without."""
    world = make.world()
    mount = make.mount(world, config=f'max_size = "16M"\nfuse_features = "{features}"\n')
    repo = read_whole(world, mount, {"a": fresh_bytes(5 * MIB)})
    child = make.child(hold, str(mount.file(repo, "a")), how)
    assert child.heard() == "open"
    done = gc(mount, repo.id)
    assert done["evicted_blobs"] == 0 and done["open_bytes"] == 5 * MIB
    for _ in range(5):
        read_whole(world, mount, {"x": fresh_bytes(5 * MIB)})
    assert is_here(mount, repo, "a")
    drop_caches()
    child.tell()
    assert child.result() == repo.etags["a"]
    closed(mount, repo)
    assert gc(mount, repo.id)["evicted_blobs"] == 1
    assert mount.file(repo, "a").read_bytes() == repo.content["a"]


def test_L5_gc_of_a_repository_and_pins(bounded):
    world, mount = bounded
    repo = read_whole(world, mount, {"a": fresh_bytes(2 * MIB), "config.json": fresh_bytes(300)})
    other = read_whole(world, mount, {"b": fresh_bytes(2 * MIB)})

    def words(*them):
        return mount.hffs(*them, "--state-dir", str(mount.state))
    assert words("pin", f"{repo.id}@main").out == f"pinned {repo.id}@{repo.commit}\n"
    assert gc(mount, repo.id)["pinned_bytes"] == 2 * MIB + 300
    assert mount.status()["store"]["pinned_bytes"] == 2 * MIB + 300
    for _ in range(5):  # more than the limit
        read_whole(world, mount, {"x": fresh_bytes(5 * MIB)})
    assert is_here(mount, repo, "a") and not is_here(mount, other, "b")
    mount.umount()
    mount.remount()
    assert f"{repo.id}@{repo.commit}" in words("pins").out
    assert words("unpin", repo.id).code == 0
    assert words("unpin", repo.id).code == 3
    assert words("pin", "acme/there-is-no-such-repo").code == 3
    dry = gc(mount, repo.id, "--dry-run")
    assert dry["evicted_bytes"] == 2 * MIB + 300 and is_here(mount, repo, "a")
    assert any(repo.id in blob["name"] for blob in dry["blobs"])
    assert gc(mount, repo.id)["evicted_blobs"] == 2
    assert not is_here(mount, repo, "a")
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data


def test_L5_unreferenced_revisions_go(bounded):
    world, mount = bounded
    old = read_whole(world, mount, {"a": fresh_bytes(2 * MIB), "same": fresh_bytes(MIB)})
    new = world.push(old, {"a": fresh_bytes(2 * MIB)})
    (mount.repo(old.id) / "refs/main").write_text(new.commit)  # asks the Hub
    eventually(lambda: (mount.repo(old.id) / "refs/main").read_text() == new.commit, 10, "the new commit")
    assert mount.file(new, "a").read_bytes() == new.content["a"]
    closed(mount, new)
    assert gc(mount, "--unreferenced")["evicted_blobs"] == 1
    assert not is_here(mount, old, "a")
    assert is_here(mount, old, "same") and is_here(mount, new, "a")


def import_unlisted(mount, make, id, commit, files):
    """A folder's word, of a commit that the Hub has not."""
    hub = make.folder()
    make_cache(hub, id, commit, {path: (data, True) for path, data in files.items()})
    assert take_in(mount, hub)["commits"][0]["self_attested"]


def test_L6_what_was_imported_and_no_hub_has_stays(bounded, make):
    world, mount = bounded
    data, commit = fresh_bytes(5 * MIB), "a" * 40
    import_unlisted(mount, make, "acme/carried", commit, {"a": data})
    carried = mount.repo("acme/carried") / "snapshots" / commit / "a"
    assert mount.status()["store"]["only_copy_bytes"] == 5 * MIB
    assert "5.0 MiB kept" in mount.hffs("status", "--state-dir", str(mount.state)).out
    for _ in range(5):  # more than the limit
        read_whole(world, mount, {"x": fresh_bytes(5 * MIB)})
    left = gc(mount, "acme/carried")
    assert left["evicted_blobs"] == 0 and left["only_copy_bytes"] == 5 * MIB
    assert "--imported" in mount.hffs("gc", "acme/carried", "--state-dir", str(mount.state)).out
    assert carried.read_bytes() == data
    assert mount.hffs("gc", "--imported", "--state-dir", str(mount.state)).code == 2
    eventually(lambda: gc(mount, "acme/carried", "--imported", "-n")["open_bytes"] == 0, 10, "the end of all opens")
    assert gc(mount, "acme/carried", "--imported")["evicted_bytes"] == 5 * MIB
    assert mount.status()["store"]["only_copy_bytes"] == 0


def test_L6_what_another_commit_has_is_evicted(bounded, make):
    world, mount = bounded
    data = fresh_bytes(5 * MIB)
    import_unlisted(mount, make, "acme/carried", "b" * 40, {"a": data})
    assert mount.status()["store"]["only_copy_bytes"] == 5 * MIB
    repo = world.add({"the-same": data})
    assert mount.file(repo, "the-same").read_bytes() == data
    assert not world.content()
    assert mount.status()["store"]["only_copy_bytes"] == 0
    closed(mount, repo)
    assert gc(mount, "acme/carried")["evicted_bytes"] == 5 * MIB


def test_L6_what_a_folder_has_as_origin_is_evicted(make):
    """Though it is self-attested, too: it can be read there again."""
    data, folder = fresh_bytes(5 * MIB), make.folder()
    make_cache(folder, "acme/carried", "c" * 40, {"a": (data, True)})
    mount = make.mount(None, "--max-size", str(LIMIT), endpoints=[f"file://{folder}"])
    file = mount.repo("acme/carried") / "snapshots" / ("c" * 40) / "a"
    assert file.read_bytes() == data
    assert mount.status()["catalog"]["self_attested"] == 1
    eventually(lambda: mount.status()["store"]["verified_blobs"] == 1, 10, "verification")
    assert mount.status()["store"]["only_copy_bytes"] == 0
    eventually(lambda: gc(mount, "acme/carried", "--dry-run")["open_bytes"] == 0, 10, "the end of all opens")
    assert gc(mount, "acme/carried")["evicted_bytes"] == 5 * MIB
    assert file.read_bytes() == data


def test_L1_the_limit_is_told_and_its_words_are_checked(bounded):
    world, mount = bounded
    assert mount.status()["store"]["max_size"] == LIMIT
    text = mount.hffs("status", "--state-dir", str(mount.state)).out
    assert "of 16.0 MiB used" in text and "stay free" in text
    bad = mount.hffs("mount", str(mount.box), "--max-size", "many")
    assert bad.code == 2 and "500G" in bad.err


def test_L1_eight_readers_of_four_times_the_limit_stay_within_a_block_of_it(make):
    """The whole time: as `hffs status` has it, and on the disk, where files that a reader still has open count apart."""
    world = make.world()
    mount = make.mount(world, "--max-size", str(LIMIT), config="sync_interval = 0.05\n")
    files = {f"part-{i}.bin": fresh_bytes(MIB + 4_096 * (i % 5)) for i in range(4 * LIMIT // MIB)}
    repo = world.add(files)
    over, seen, done = [], [], threading.Event()

    def watch():
        while not done.is_set():
            store = mount.status()["store"]
            seen.append(store["used_bytes"])
            if store["used_bytes"] > LIMIT:
                over.append(("status", store["used_bytes"]))
            # A walk is no snapshot: what moves or goes meanwhile may be counted twice, but not each time.
            on_disk = min(disk_bytes(mount) for _ in range(3))
            if on_disk > LIMIT + MIB:
                over.append(("disk", on_disk))
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()

    def read(index):
        order = list(files)
        random.Random(index).shuffle(order)
        for path in order:
            assert mount.file(repo, path).read_bytes() == files[path]
    Together(8, read).join(100)
    done.set()
    watcher.join(20)
    assert not over, f"{len(over)} of {len(seen)} samples are over {LIMIT}: {over[:5]}"
    assert len(seen) > 5 and max(seen) > LIMIT // 2
    assert mount.metric("blobs_evicted") > len(files)
