# SPDX-License-Identifier: Apache-2.0
"""N: names in the root and in a repository."""
import errno
import os
import stat
import time

import pytest
from lab import Together, entry_modes, errno_of, eventually, exists, refuses
from world import quiet

PREFIX = {"model": "models", "dataset": "datasets", "space": "spaces", "kernel": "kernels"}


@pytest.mark.parametrize("type", PREFIX)
@pytest.mark.parametrize("bare", [False, True], ids=["org", "bare"])
def test_N1_first_lookup_asks_once(common, type, bare):
    """Client contract, rule 1: a repository is resolved by looking it up, and its directory is 0755."""
    id = f"bare-{type}" if bare else f"acme/named-{type}"
    repo = common.world.add(type=type, id=id)
    path = common.mount.repo(id, type)
    assert path.name == f"{PREFIX[type]}--{id.replace('/', '--')}"
    found = Together(8, lambda _: os.stat(path)).join()
    assert all(stat.S_ISDIR(each.st_mode) for each in found)
    assert len(common.world.api(repo)) == 1, common.world.api(repo)
    with quiet(common.world, repo):
        assert entry_modes(path) == (stat.S_IFDIR, 0o755)


MALFORMED = [
    "models", "models--", "models----", "models--a--", "models----a", "models--a--b--c", "models--a--b--c--d",
    "Models--a--b", "model--a--b", "modelss--a--b", "--a--b", "a--b", "foo", "foo.txt", ".huggingface-shared-blobs",
    "models--.a", "models--a.", "models---a", "models--a-", "models--acme--.b", "models--acme--b.", "models--a..b",
    "models--acme--b.git", "models--a b", "models--a\tb", "models--a\nb", "models--\u00e9", "models--a%2fb",
    "models--a:b", "models--a@main", "models--" + "a" * 97, "models--acme--" + "b" * 92, "datasets", "spaces--",
    "kernels--a--b--c", ".Trash", ".hidden", ".git", "config.json", "\udcff\udcfe"]


def test_N2_malformed_names_send_no_request(common):
    """Client contract, rule 4."""
    with quiet(common.world):
        for name in MALFORMED:
            path = os.path.join(os.fsencode(common.mount.point), os.fsencode(name))
            assert errno_of(os.stat, path) == errno.ENOENT, name


@pytest.mark.parametrize("status", [401, 404])
def test_N3_missing_repository_is_believed_for_a_while(make, status):
    """Client contract, rule 5. A Hub says 401 to the anonymous, others say 404."""
    world = make.world()
    mount = make.mount(world)
    path = mount.repo("acme/missing")
    if status == 404:
        world.hub.faults.add("status", on="api", path="*missing*", code=404, error_code="RepoNotFound")
    assert errno_of(os.stat, path) == errno.ENOENT
    assert [each.status for each in world.asked(kind="info")] == [status]
    with quiet(world):
        for _ in range(5):
            assert errno_of(os.stat, path) == errno.ENOENT
            assert errno_of(os.stat, path / "refs/main") == errno.ENOENT


@pytest.mark.waits
def test_N3_missing_repository_is_asked_for_again_after_30_seconds(make):
    world = make.world()
    mount = make.mount(world)
    path = mount.repo("acme/late")
    began = time.monotonic()
    with refuses(errno.ENOENT):
        os.stat(path)
    world.add(id="acme/late")
    eventually(lambda: exists(path), 33, "the repository that was missing")
    assert 28 < time.monotonic() - began < 33


@pytest.mark.parametrize("error_code", [None, "GatedRepo"])
def test_N3_a_401_that_wants_another_login_is_not_remembered(make, error_code):
    """A mirror whose login ran out for a moment hides nothing for 30 s."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add()
    path = mount.repo(repo.id)
    with world.hub.faults.add("status", on="api", code=401, error_code=error_code):
        assert errno_of(os.stat, path) == errno.ENOENT
        assert errno_of(os.stat, path / "refs/main") == errno.ENOENT
    assert (path / "refs/main").read_text() == repo.commit


def test_N4_listing_the_root_shows_what_was_looked_up(make):
    """Client contract, rule 7."""
    world = make.world()
    mount = make.mount(world)
    one, two, unseen = (world.add(id=f"acme/{name}") for name in ("one", "two", "unseen"))
    with quiet(world):
        assert os.listdir(mount.point) == []
    for repo in (one, two):
        os.stat(mount.repo(repo.id))
    assert errno_of(os.stat, mount.repo("acme/nowhere")) == errno.ENOENT
    with quiet(world):
        assert sorted(os.listdir(mount.point)) == ["models--acme--one", "models--acme--two"]
        kinds = {each.name: each.is_dir(follow_symlinks=False) for each in os.scandir(mount.point)}
    assert kinds == {"models--acme--one": True, "models--acme--two": True}
    mount.umount()
    mount.remount()
    with quiet(world):
        assert sorted(os.listdir(mount.point)) == ["models--acme--one", "models--acme--two"]
    assert unseen.id


def test_N4_many_repositories_are_listed_each_once(make):
    """Their names are long: a kernel of today reads 32 KiB at a time, and there must be several pages."""
    world = make.world()
    mount = make.mount(world)
    names = {f"models--acme--{'r' * 70}{number}" for number in range(700)}
    for name in names:
        world.add(id=name.removeprefix("models--").replace("--", "/"), files={"a": b"a"})
    Together(10, lambda i: [os.stat(mount.point / name) for name in sorted(names)[i::10]]).join()
    listed = os.listdir(mount.point)
    assert len(listed) == len(set(listed)) and set(listed) == names


def test_N5_renamed_repository_keeps_the_name_that_was_asked_for(common):
    """Client contract, rule 3."""
    repo = common.world.add({"config.json": b"{}", "w.bin": b"w" * 20_000})
    common.hub.rename(repo.name, f"{repo.id}-renamed")
    path = common.mount.repo(repo.id)
    assert (path / "refs/main").read_text() == repo.commit
    assert common.mount.file(repo, "config.json").read_bytes() == b"{}"
    assert common.mount.file(repo, "w.bin").read_bytes() == b"w" * 20_000
    listed = os.listdir(common.mount.point)
    assert path.name in listed and f"{path.name}-renamed" not in listed


def test_N5_renamed_while_known(common):
    repo = common.world.add({"config.json": b"{}"})
    path = common.mount.repo(repo.id)
    assert (path / "refs/main").read_text() == repo.commit
    common.hub.rename(repo.name, f"{repo.id}-renamed")
    assert common.mount.file(repo, "config.json").read_bytes() == b"{}"
    assert (path / "refs/main").read_text() == repo.commit


@pytest.mark.parametrize("files", [{}, {"a.txt": b"a"}], ids=["empty", "one file"])
def test_N6_repository_has_its_three_directories(common, files):
    """Client contract, rule 9."""
    repo = common.world.add(files)
    path = common.mount.repo(repo.id)
    assert sorted(os.listdir(path)) == ["blobs", "refs", "snapshots"]
    for name in ("blobs", "refs", "snapshots"):
        assert entry_modes(path / name) == (stat.S_IFDIR, 0o755)
        os.listdir(path / name)


def test_N7_lookup_only_names_are_never_listed(common):
    """Client contract, rule 7."""
    repo = common.world.add()
    top, path = common.mount.point, common.mount.repo(repo.id)
    unlisted = {".locks", "version.txt", "hub", ".hffs", "CACHEDIR.TAG"}
    for name in unlisted:
        assert exists(top / name), name
    for name in (".no_exist", "trees", "snapshots/main"):
        assert exists(path / name), name
    assert not unlisted & set(os.listdir(top))
    assert not {".no_exist", "trees"} & set(os.listdir(path))
    assert os.listdir(path / "snapshots") == [repo.commit]


def test_N7_control_link_leads_to_the_socket(common):
    target = os.readlink(common.mount.point / ".hffs")
    assert stat.S_ISSOCK(os.stat(target).st_mode)


def test_N8_the_three_fixed_files(common):
    """Client contract, rules 21 and 27: no backups, no migration warning, HF_HOME on the mount."""
    top = common.mount.point
    tag = (top / "CACHEDIR.TAG").read_bytes()
    assert tag.startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    assert len(tag) == os.stat(top / "CACHEDIR.TAG").st_size
    assert (top / "version.txt").read_bytes() == b"1"
    assert os.readlink(top / "hub") == "."
    repo = common.world.add()
    assert (top / "hub" / common.mount.repo(repo.id).name / "refs/main").read_text() == repo.commit
    assert os.path.samefile(top / "hub", top)


def test_N9_side_names_never_reach_the_hub(common):
    """Client contract, rule 4."""
    repo = common.world.add({"config.json": b"{}", "sub/a.txt": b"a"})
    top, path = common.mount.point, common.mount.repo(repo.id)
    os.listdir(path / "snapshots" / repo.commit / "sub")
    where = [top, path, path / "refs", path / "blobs", path / "snapshots", path / "snapshots" / repo.commit,
             path / "snapshots" / repo.commit / "sub", path / ".no_exist" / repo.commit]
    etag = repo.etags["config.json"]
    names = ["a.lock", "main.tmp", "main.0123abcd.tmp", "a.incomplete", "tmp", "tmpabcdefgh", "tmp_0-1-2",
             f"{etag}.lock", f"{etag}.incomplete", f"{etag}.0123abcd.incomplete", "models--acme--tiny.lock",
             "models--acme--tiny.tmp", "models--acme--tiny.incomplete"]
    with quiet(common.world):
        for folder in where:
            for name in names:
                assert errno_of(os.stat, folder / name) == errno.ENOENT, folder / name


def test_N9_inside_a_snapshot_they_are_names_like_any_other(make):
    """While the tree is not complete the Hub is asked for them; and they are listed."""
    world = make.world(page_size=2)
    mount = make.mount(world)
    names = ["a.txt", "b.txt", "poetry.lock", "sub/x.tmp", "sub/y.incomplete", "tmpl.json"]
    repo = world.add({name: name.encode() for name in names})
    top = mount.repo(repo.id) / "snapshots" / repo.commit
    for name in names[2:]:
        assert (top / name).read_bytes() == name.encode(), name
    assert errno_of(os.stat, top / "zz.lock") == errno.ENOENT
    assert len(world.asked(kind="paths-info")) >= 4, "the tree was complete: the test shows nothing"
    assert sorted(os.listdir(top)) == ["a.txt", "b.txt", "poetry.lock", "sub", "tmpl.json"]
    assert sorted(os.listdir(top / "sub")) == ["x.tmp", "y.incomplete"]


def test_N10_root_blobs_does_not_exist_and_cannot_be_made(common):
    """Client contract, rule 4: 2.x would take it for a shared store."""
    path = common.mount.point / "blobs"
    with quiet(common.world):
        assert errno_of(os.stat, path) == errno.ENOENT
        assert errno_of(os.mkdir, path) == errno.EPERM
        assert errno_of(os.open, path, os.O_CREAT | os.O_WRONLY) == errno.EPERM
        assert errno_of(os.symlink, ".", path) == errno.EPERM
        assert errno_of(os.stat, path) == errno.ENOENT
