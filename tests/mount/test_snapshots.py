# SPDX-License-Identifier: Apache-2.0
"""S: the tree of a commit. X: what a commit does not have."""
import errno
import os
import stat
import time

import pytest
from lab import entry_modes, errno_of, eventually, exists, later, refuses
from world import fresh_bytes, quiet


def walk(top):
    return sorted(os.path.relpath(os.path.join(path, name), top)
                  for path, _, names in os.walk(top, onerror=fail) for name in names)


def fail(error):
    raise error


TREE = {"config.json": b"{}", "a/b/c/deep.txt": b"deep", "a/b/two.bin": b"2" * 20_000, "a/one.txt": b"one",
        "empty.txt": b"", "with space.txt": b"space", "hash#and?percent%41+.txt": b"odd",
        "\u00fcn\u00ef/c\u00f6de.txt": b"unicode", "x" * 255: b"long", ".hidden/.file": b"hidden",
        "dots../..a": b"dots", "-dash": b"dash", "quote\"'`$.txt": b"quote"}


def test_S1_the_whole_tree_of_a_commit(common):
    """Client contract, rules 1 and 6."""
    repo = common.world.add(TREE)
    top = common.mount.repo(repo.id) / "snapshots" / repo.commit
    assert walk(top) == sorted(TREE)
    for path, data in TREE.items():
        assert (top / path).read_bytes() == data, path
    assert entry_modes(top / "a/b") == (stat.S_IFDIR, 0o755)


def test_S1_commits_that_no_ref_names(common):
    """Client contract, rule 2: old ones, and ones newer than what the daemon has seen."""
    repo = common.world.add({"a.txt": b"1"})
    path = common.mount.repo(repo.id)
    assert (path / "refs/main").read_text() == repo.commit
    middle = common.world.push(repo, {"b.txt": b"2"})
    newest = common.world.push(middle, {"c.txt": b"3"})
    assert walk(path / "snapshots" / newest.commit) == ["a.txt", "b.txt", "c.txt"]
    assert walk(path / "snapshots" / middle.commit) == ["a.txt", "b.txt"]
    assert {repo.commit, middle.commit, newest.commit} <= set(os.listdir(path / "snapshots"))


def test_S1_a_whole_path_of_an_unknown_repository_at_once(common):
    """Client contract, rule 1: what a client asks that was given a commit by its user."""
    repo = common.world.add({"sub/model.bin": fresh_bytes(30_000)})
    assert common.mount.file(repo, "sub/model.bin").read_bytes() == repo.content["sub/model.bin"]


def test_S1_commit_that_does_not_exist(common):
    repo = common.world.add()
    path = common.mount.repo(repo.id) / "snapshots" / ("1" * 40)
    assert errno_of(os.stat, path) == errno.ENOENT
    with quiet(common.world, repo):
        assert errno_of(os.stat, path) == errno.ENOENT
    assert path.name not in os.listdir(path.parent)


def test_S1_empty_tree(common):
    repo = common.world.add({})
    top = common.mount.repo(repo.id) / "snapshots" / repo.commit
    assert os.listdir(top) == []
    assert errno_of(os.stat, top / "config.json") == errno.ENOENT


def test_S2_links_and_sizes_before_any_byte(common):
    """Client contract, rules 11, 12 and 14."""
    files = {"top.json": fresh_bytes(100), "sub/model.bin": fresh_bytes(40_000), "a/b/c/d.txt": fresh_bytes(10)}
    repo = common.world.add(files)
    mount = common.mount
    before = len(common.world.content())
    for path, data in files.items():
        pointer = mount.file(repo, path)
        target = "../" * path.count("/") + "../../blobs/" + repo.etags[path]
        assert os.readlink(pointer) == target
        link, blob = os.lstat(pointer), os.stat(pointer)
        assert stat.S_ISLNK(link.st_mode) and link.st_size == len(target)
        assert stat.S_ISREG(blob.st_mode) and blob.st_size == len(data)
        assert link.st_dev == blob.st_dev
        assert os.path.samefile(pointer, mount.blob(repo, path))
    kinds = {each.name: each.is_symlink() for each in os.scandir(mount.repo(repo.id) / "snapshots" / repo.commit)}
    assert kinds == {"top.json": True, "sub": False, "a": False}
    assert len(common.world.content()) == before, "content was fetched for a stat"


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_S3_first_use_costs_two_calls_and_one_for_each_further_thousand(make, count):
    world = make.world(tree_directories=False)
    mount = make.mount(world)
    repo = world.add({f"f{number:05}": b"same" for number in range(count)})
    commit = (mount.repo(repo.id) / "refs/main").read_text()
    top = mount.repo(repo.id) / "snapshots" / commit
    assert len(os.listdir(top)) == count
    for name in ("f00000", "nope"):
        exists(top / name)
    assert len(world.asked()) <= 2 + (count - 1) // 1000, world.asked()


def test_S3_a_known_commit_costs_nothing(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a.txt": b"a", "sub/b.txt": b"b"})
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    assert walk(top) == ["a.txt", "sub/b.txt"]
    with quiet(world):
        for _ in range(3):
            assert walk(top) == ["a.txt", "sub/b.txt"]
            os.stat(top / "sub/b.txt")
            assert not exists(top / "c.txt")
        mount.umount()
        mount.remount()
        assert walk(top) == ["a.txt", "sub/b.txt"]
        assert os.stat(top / "sub/b.txt").st_size == 1


@pytest.mark.parametrize("shape", ["sorted", "shuffled"])
def test_S4_one_path_is_answered_before_the_last_page(make, shape):
    """Client contract, rule 6: a path may come early, a listing may not be short."""
    world = make.world(page_size=50, tree_order=shape)
    mount = make.mount(world)
    names = {f"d{number % 7}/f{number:04}.txt": b"%d" % number for number in range(400)}
    repo = world.add(names)
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    with world.hub.faults.add("stall", on="tree", path="*cursor*"):
        began = time.monotonic()
        for path in ("d0/f0000.txt", "d6/f0398.txt", "d3/f0395.txt"):
            assert (top / path).read_bytes() == names[path]
        assert errno_of(os.stat, top / "d6/nope.txt") == errno.ENOENT
        assert time.monotonic() - began < 3
        listing = later(lambda: walk(top))
        time.sleep(0.5)
        assert listing.results == [None], "a listing was answered before the last page had come"
        assert os.stat(top / "d5/f0397.txt").st_size == 3
    assert listing.join(30)[0] == sorted(names)


def test_S4_a_listing_goes_on_where_a_rate_limit_stopped_it(make):
    """429 in the middle of the pages: waited for, not failed."""
    world = make.world(page_size=50)
    mount = make.mount(world)
    names = {f"f{number:04}": b"x" for number in range(400)}
    repo = world.add(names)
    world.hub.faults.add("rate_limit", on="tree", path="*cursor*", count=1, skip=2, seconds=1)
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    assert sorted(os.listdir(top)) == sorted(names)
    assert len(world.asked(kind="tree", status=200)) == 8, "pages were fetched twice"


def test_S4_a_failed_listing_is_an_error_not_a_short_list(make):
    world = make.world(page_size=50)
    mount = make.mount(world)
    names = {f"f{number:04}": b"x" for number in range(200)}
    repo = world.add(names)
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    with world.hub.faults.add("status", on="tree", path="*cursor*", code=500):
        with refuses(errno.EIO):
            os.listdir(top)
    assert sorted(eventually(lambda: errno_of(os.listdir, top) == 0 and os.listdir(top), 5)) == sorted(names)


def test_S4_a_listing_goes_on_after_a_restart(make):
    world = make.world(page_size=50)
    mount = make.mount(world)
    names = {f"f{number:04}": b"x" for number in range(400)}
    repo = world.add(names)
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    with world.hub.faults.add("stall", on="tree", path="*cursor*", skip=3):
        listing = later(lambda: errno_of(os.listdir, top))
        eventually(lambda: len(world.asked(kind="tree")) >= 5, 5)
        time.sleep(0.2)
        mount.kill9()
    listing.join()
    mount.remount()
    assert sorted(os.listdir(top)) == sorted(names)
    assert len(world.asked(kind="tree", status=200)) <= 10, "the pages that were here were fetched again"


def test_S5_revision_is_a_link_to_its_commit(common):
    repo = common.world.add({"a.txt": b"a"})
    nested = common.hub.push(repo.name, {"a.txt": b"b"}, branch="dev")
    common.hub.add_tag(repo.name, "v1")
    top = common.mount.repo(repo.id) / "snapshots"
    for revision, commit in {"main": repo.commit, "dev": nested, "v1": repo.commit}.items():
        assert os.readlink(top / revision) == commit
        assert os.lstat(top / revision).st_size == 40
        assert walk(top / revision) == ["a.txt"]
    assert (top / "dev/a.txt").read_bytes() == b"b"
    assert errno_of(os.lstat, top / "nope") == errno.ENOENT
    assert set(os.listdir(top)) == {repo.commit, nested}


def test_S5_the_link_follows_the_ref(make):
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "0.2")
    repo = world.add({"a.txt": b"a"})
    link = mount.repo(repo.id) / "snapshots/main"
    assert os.readlink(link) == repo.commit
    moved = world.push(repo, {"a.txt": b"b"})
    eventually(lambda: os.readlink(link) == moved.commit, 5)
    assert (link / "a.txt").read_bytes() == b"b"


def test_S5_R3_a_link_leads_on_once_its_revision_has_moved(make):
    """Nobody reads the ref: looking the link up is enough. An open ref needs no lookup."""
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "0.2")
    repo = world.add({"a.txt": b"a"})
    link = mount.repo(repo.id) / "snapshots/main"
    ref = os.open(mount.repo(repo.id) / "refs/main", os.O_RDONLY)
    try:
        assert os.readlink(link) == repo.commit == os.pread(ref, 100, 0).decode()
        inode = link.lstat().st_ino
        moved = world.push(repo, {"a.txt": b"b"})
        eventually(lambda: os.readlink(link) == moved.commit, 5, "the link's new target")
        assert (link / "a.txt").read_bytes() == b"b"
        assert link.lstat().st_ino != inode, "the kernel keeps what it read of a symlink"
        again = world.push(moved, {"a.txt": b"c"})
        eventually(lambda: os.pread(ref, 100, 0).decode() == again.commit, 5, "the ref's new text")
    finally:
        os.close(ref)


def test_S6_names_that_a_complete_tree_lacks(common):
    repo = common.world.add({"a.txt": b"a", "sub/b.txt": b"b"})
    top = common.mount.repo(repo.id) / "snapshots" / repo.commit
    os.listdir(top)
    with quiet(common.world):
        for name in ("added_tokens.json", "model.safetensors.index.json", "sub/nope", "nope/b.txt", "b.txt"):
            assert errno_of(os.stat, top / name) == errno.ENOENT, name
        assert errno_of(os.stat, top / "a.txt/x") == errno.ENOTDIR


def test_S6_a_name_that_was_missing_is_there_in_the_next_commit(common):
    repo = common.world.add({"a.txt": b"a"})
    path = common.mount.repo(repo.id) / "snapshots"
    assert not exists(path / repo.commit / "b.txt")
    moved = common.world.push(repo, {"b.txt": b"b"})
    assert (path / moved.commit / "b.txt").read_bytes() == b"b"
    assert not exists(path / repo.commit / "b.txt")


def test_S7_nothing_can_be_changed_in_a_published_snapshot(common):
    """Client contract, rules 23 and 24: EPERM, which clients survive, and EEXIST, which they expect."""
    repo = common.world.add({"a.txt": b"a", "sub/b.txt": b"b"})
    path = common.mount.repo(repo.id)
    top = path / "snapshots" / repo.commit
    listed = walk(top)
    denied = [(os.unlink, top / "a.txt"), (os.rmdir, top / "sub"), (os.rename, top / "a.txt", top / "c.txt"),
              (os.rename, top / "a.txt", top / "sub/b.txt"), (os.mkdir, top / "new"),
              (os.symlink, "../../blobs/x", top / "new.txt"), (os.open, top / "new.txt", os.O_CREAT | os.O_WRONLY),
              (os.link, path / "blobs" / repo.etags["a.txt"], top / "hard.txt"), (os.rmdir, top),
              (os.mknod, top / "node"), (os.chmod, top / "sub", 0o777), (os.utime, top / "sub"),
              (os.open, top / "a.txt", os.O_WRONLY), (os.open, top / "a.txt", os.O_RDWR),
              (os.truncate, top / "a.txt", 0), (os.unlink, path / "snapshots/main"),
              (os.mkdir, path / "snapshots" / "nope")]
    for action, *words in denied:
        assert errno_of(action, *words) == errno.EPERM, (action.__name__, words)
    taken = [(os.mkdir, top / "sub"), (os.symlink, "x", top / "a.txt"), (os.mkdir, top),
             (os.symlink, "x", top / "sub/b.txt"), (os.open, top / "a.txt", os.O_CREAT | os.O_EXCL | os.O_WRONLY)]
    for action, *words in taken:
        assert errno_of(action, *words) == errno.EEXIST, (action.__name__, words)
    assert walk(top) == listed
    assert (top / "a.txt").read_bytes() == b"a"


# .no_exist


def marks(common, files):
    repo = common.world.add(files)
    return repo, common.mount.repo(repo.id) / ".no_exist" / repo.commit


def test_X1_empty_file_exactly_where_the_commit_has_no_such_path(common):
    """Client contract, rule 18."""
    repo, top = marks(common, {"config.json": b"{}", "sub/a.txt": b"a"})
    for path in ("added_tokens.json", "sub/b.txt", "nope/c.txt", "nope/deeper/d.bin"):
        assert entry_modes(top / path) == (stat.S_IFREG, 0o644), path
        assert (top / path).read_bytes() == b"" and os.stat(top / path).st_size == 0
    for path in ("config.json", "sub/a.txt"):
        assert not os.path.isfile(top / path), path
        assert errno_of(os.stat, top / path) == errno.ENOENT, path
    assert stat.S_ISDIR(os.stat(top / "sub").st_mode)
    assert not exists(top.parent / ("1" * 40) / "config.json")
    assert repo.commit


def test_X1_before_the_tree_is_complete(make):
    world = make.world(page_size=20)
    mount = make.mount(world)
    repo = world.add({f"f{number:03}.txt": b"x" for number in range(100)})
    top = mount.repo(repo.id) / ".no_exist" / repo.commit
    with world.hub.faults.add("stall", on="tree", path="*cursor*"):
        assert errno_of(os.stat, top / "f099.txt") == errno.ENOENT
        assert os.stat(top / "f100.txt").st_size == 0


def test_X1_hub_that_cannot_be_asked_is_not_an_absence(make):
    """A mark made from a failure would hide a file for ever."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"config.json": b"{}"})
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    world.hub.down()
    path = mount.repo(repo.id) / ".no_exist" / repo.commit / "config.json"
    assert not exists(path)
    assert not exists(path.with_name("other.json"))
    world.hub.up()
    eventually(lambda: exists(path.with_name("other.json")), 5)
    assert not exists(path)


def test_X1_names_beside_a_download_are_no_marks(common):
    """Names of the kind of N9: nobody's until a client makes them, at every depth."""
    repo, top = marks(common, {"config.json": b"{}", "sub/a.txt": b"a"})
    assert stat.S_ISDIR(os.stat(top / "vae").st_mode)
    for folder in (top, top / "sub", top / "vae"):
        for name in ("a.lock", "a.tmp", "a.incomplete", "tmpabc", "tmp.json"):
            path = folder / name
            assert errno_of(os.stat, path) == errno.ENOENT, path
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            assert entry_modes(path) == (stat.S_IFREG, 0o644), path
            os.unlink(path)
            assert errno_of(os.stat, path) == errno.ENOENT, path
    assert repo.commit


def test_X2_a_dot_makes_a_file(common):
    repo, top = marks(common, {"config.json": b"{}"})
    for name, kind in {"vae": stat.S_IFDIR, "vae.json": stat.S_IFREG, "README": stat.S_IFDIR,
                       ".gitattributes": stat.S_IFREG, "vae/unet": stat.S_IFDIR, "vae/x.bin": stat.S_IFREG}.items():
        assert entry_modes(top / name)[0] == kind, name
    assert repo.commit


def test_X3_old_clients_make_their_own_marks(common):
    """Client contract, rule 18: mkdir -p and an empty file, through the synthesised ones."""
    repo, top = marks(common, {"config.json": b"{}"})
    os.makedirs(top / "vae/deep", exist_ok=True)
    # As pathlib's touch() and mkdir(exist_ok=True) do it: a name without a dot is a directory already.
    (top / "vae/README").touch()
    (top / "vae/README").mkdir(exist_ok=True)
    for path in ("vae/deep/config.json", "added_tokens.json"):
        fd = os.open(top / path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        os.close(fd)
        os.utime(top / path)
        os.chmod(top / path, 0o644)
        (top / path).touch()
        assert os.path.isfile(top / path)
    assert errno_of(os.mkdir, top / "config") in (0, errno.EEXIST)
    assert os.path.isfile(common.mount.file(repo, "config.json")), "a mark hides a file"
    assert os.listdir(common.mount.repo(repo.id) / "snapshots" / repo.commit) == ["config.json"]


@pytest.mark.parametrize("touch", [os.utime, lambda path: os.chmod(path, 0o644), lambda path: os.truncate(path, 0),
                                   lambda path: open(path, "a").close(), lambda path: path.touch()],
                         ids=["utime", "chmod", "truncate", "open", "touch"])
def test_X3_a_synthesised_mark_can_be_touched(common, touch):
    repo, top = marks(common, {"config.json": b"{}"})
    path = top / "added_tokens.json"
    assert entry_modes(path)[0] == stat.S_IFREG
    with quiet(common.world, repo):
        touch(path)
        touch(path)  # the caller's own by now
        assert entry_modes(path) == (stat.S_IFREG, 0o644) and os.stat(path).st_size == 0
    assert os.listdir(common.mount.repo(repo.id) / "snapshots" / repo.commit) == ["config.json"]


def test_X3_a_false_mark_is_its_maker_s_own(root, common, make):
    """Somebody marks a file absent that is there: nobody else believes it."""
    repo, top = marks(common, {"config.json": b"{}"})

    def mark(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        return os.path.isfile(path)

    def look(path):
        return os.path.isfile(path)
    assert make.child(mark, str(top / "config.json"), user=12345).result()
    assert make.child(look, str(top / "config.json"), user=12345).result()
    assert not make.child(look, str(top / "config.json"), user=65534).result()
    assert not os.path.isfile(top / "config.json")
    assert common.mount.file(repo, "config.json").read_bytes() == b"{}"
