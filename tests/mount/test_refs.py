# SPDX-License-Identifier: Apache-2.0
"""R: what a ref reads."""
import errno
import os
import stat
import time

import pytest
from lab import entry_modes, errno_of, eventually, refuses
from world import fresh_bytes, quiet


def write_in_place(path, text):
    with open(path, "w") as file:
        file.write(text)


def write_beside(path, text):
    """As clients since huggingface_hub 1.18 do."""
    side = path.with_name(f"{path.name}.0123abcd.tmp")
    side.write_text(text)
    os.replace(side, path)


def truncate_and_write(path, text):
    fd = os.open(path, os.O_WRONLY)
    os.ftruncate(fd, 0)
    os.write(fd, text.encode())
    os.close(fd)


def test_R1_ref_is_the_commit_and_nothing_else(common):
    """Client contract, rules 1, 10, 14 and 15."""
    repo = common.world.add()
    path = common.mount.repo(repo.id) / "refs/main"
    assert path.read_bytes() == repo.commit.encode()
    assert entry_modes(path) == (stat.S_IFREG, 0o644)
    found = os.stat(path)
    assert (found.st_size, found.st_nlink) == (40, 1)
    assert path.name in os.listdir(path.parent)


def test_R1_commit_ids_of_64_digits(common):
    repo = common.world.add(long_ids=True)
    path = common.mount.repo(repo.id) / "refs/main"
    assert path.read_text() == repo.commit and len(repo.commit) == 64
    assert os.listdir(path.parents[1] / "snapshots" / repo.commit) == ["config.json"]


def test_R2_branches_tags_pull_requests_and_short_commits(common):
    repo = common.world.add({"a.txt": b"1"})
    hub = common.hub
    branch = hub.push(repo.name, {"a.txt": b"2"}, branch="dev")
    nested = hub.push(repo.name, {"a.txt": b"3"}, branch="feature/deep/one")
    hub.add_tag(repo.name, "v1.0")
    number, pull = hub.add_pr(repo.name, {"a.txt": b"4"})
    convert = hub.add_convert(repo.name, "parquet", {"b.txt": b"5"})
    wanted = {"main": repo.commit, "dev": branch, "feature/deep/one": nested, "v1.0": repo.commit,
              f"refs/pr/{number}": pull, "refs/convert/parquet": convert, branch[:8]: branch}
    refs = common.mount.repo(repo.id) / "refs"
    for revision, commit in wanted.items():
        assert (refs / revision).read_text() == commit, revision
    for name in ("feature", "feature/deep", "refs", "refs/pr", "refs/convert"):
        assert entry_modes(refs / name) == (stat.S_IFDIR, 0o755), name
    found = {os.path.relpath(os.path.join(top, file), refs) for top, _, files in os.walk(refs) for file in files}
    assert set(wanted) <= found


def test_R2_a_tag_with_a_slash(common):
    repo = common.world.add({"a.txt": b"1"})
    common.hub.add_tag(repo.name, "release/v1")
    refs = common.mount.repo(repo.id) / "refs"
    assert (refs / "release/v1").read_text() == repo.commit
    assert os.listdir(refs / "release") == ["v1"]


def test_R2_whole_commit_is_not_a_ref(common):
    """Client contract, rule 4: twelve such misses in one load of T5."""
    repo = common.world.add()
    refs = common.mount.repo(repo.id) / "refs"
    os.stat(refs)
    with quiet(common.world):
        assert errno_of(os.stat, refs / repo.commit) == errno.ENOENT
        assert errno_of(os.stat, refs / ("0" * 40)) == errno.ENOENT
        assert errno_of(os.stat, refs / ("0" * 64)) == errno.ENOENT


def test_R2_unknown_revision_is_absent_and_believed(common):
    repo = common.world.add()
    refs = common.mount.repo(repo.id) / "refs"
    assert errno_of(os.stat, refs / "nope") == errno.ENOENT
    with quiet(common.world, repo):
        assert errno_of(os.stat, refs / "nope") == errno.ENOENT


def test_R3_a_fresh_ref_costs_no_request(common):
    repo = common.world.add()
    path = common.mount.repo(repo.id) / "refs/main"
    path.read_text()
    common.world.push(repo, {"new.txt": b"new"})
    with quiet(common.world, repo):
        for _ in range(20):
            assert path.read_text() == repo.commit


def test_R3_F2_the_documented_times(make):
    """Without a word of the user's; that a setting is heeded show the tests that make it short."""
    mount = make.mount(make.world())
    settings = mount.status()["settings"]
    assert settings["ref_ttl_seconds"] == 60 and settings["read_deadline_seconds"] == 15 * 60


def test_R3_an_old_ref_is_served_at_once_and_refreshed_behind(make):
    """Client contract, rule 10: a move is seen at the next open."""
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "1")
    repo = world.add()
    path = mount.repo(repo.id) / "refs/main"
    assert path.read_text() == repo.commit
    asked = time.monotonic()
    moved = world.push(repo, {"new.txt": b"new"})
    time.sleep(max(0, asked + 1.2 - time.monotonic()))
    with world.hub.faults.add("delay", on="api", seconds=2):
        began = time.monotonic()
        assert path.read_text() == repo.commit
        assert time.monotonic() - began < 0.5, "the reader of an old ref waited for the Hub"
        eventually(lambda: path.read_text() == moved.commit, 5, "the ref's new value")
    assert os.listdir(path.parents[1] / "snapshots" / moved.commit) == ["config.json", "new.txt"]


def test_R3_many_readers_of_an_old_ref_ask_once(make):
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "1")
    repo = world.add()
    path = mount.repo(repo.id) / "refs/main"
    path.read_text()
    time.sleep(1.2)
    with world.hub.faults.add("delay", on="api", seconds=0.3):
        before = len(world.api(repo))
        for _ in range(50):
            path.read_text()
        eventually(lambda: len(world.api(repo)) > before)
        time.sleep(0.1)
        assert len(world.api(repo)) - before == 1


def test_R4_last_known_value_while_the_hub_is_away(make):
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "0.2")
    repo = world.add()
    path = mount.repo(repo.id) / "refs/main"
    assert path.read_text() == repo.commit
    world.hub.down()
    time.sleep(0.3)
    for _ in range(5):
        assert path.read_text() == repo.commit
        time.sleep(0.1)
    mount.umount()
    mount.remount()
    assert path.read_text() == repo.commit
    assert "main" in os.listdir(path.parent)
    world.hub.up()
    moved = world.push(repo, {"new.txt": b"new"})
    eventually(lambda: path.read_text() == moved.commit, 5, "the ref's value after the Hub is back")


def test_R4_hub_that_fails_is_a_hub_that_is_away(make):
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "0.2")
    repo = world.add()
    path = mount.repo(repo.id) / "refs/main"
    assert path.read_text() == repo.commit
    for fault in (dict(name="status", code=503), dict(name="html"), dict(name="status", code=401),
                  dict(name="status", code=404)):
        with world.hub.faults.add(on="api", **fault) as trouble:
            # A refresh that failed is not tried again at each read: read until the daemon has met this one.
            eventually(lambda: path.read_text() and trouble.hits, 5, f"the question that meets {fault}")
            for _ in range(3):
                time.sleep(0.05)
                assert path.read_text() == repo.commit, fault


@pytest.mark.parametrize("write", [write_in_place, write_beside, truncate_and_write])
def test_R5_written_refs_are_asked_for_and_never_read(common, write):
    """Client contract, rule 19; a pull request's commit resolves, and proves nothing."""
    repo = common.world.add()
    _, forged = common.hub.add_pr(repo.name, {"evil.txt": b"evil"})
    path = common.mount.repo(repo.id) / "refs/main"
    assert path.read_text() == repo.commit
    before = len(common.world.api(repo))
    write(path, forged)
    assert path.read_text() == repo.commit
    eventually(lambda: len(common.world.api(repo)) > before, 5, "the question to the Hub")
    time.sleep(0.2)
    assert path.read_text() == repo.commit
    moved = common.world.push(repo, {"new.txt": fresh_bytes(10)})
    write(path, moved.commit)
    eventually(lambda: path.read_text() == moved.commit, 5, "the Hub's own new value")
    assert os.listdir(path.parent).count("main") == 1


def asking(common, repo, act):
    """Whether `act` makes the daemon ask the Hub for a ref."""
    before = len(common.world.asked(kind="info", repo=repo.id))
    act()
    return eventually(lambda: len(common.world.asked(kind="info", repo=repo.id)) > before, 5, "the question to the Hub")


def write_over(path, text):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, text.encode())
    os.close(fd)


def test_R5_each_way_of_writing_asks_the_hub(common):
    """Each by itself: truncated by its name, opened and written over, made where the Hub has no such ref."""
    repo = common.world.add()
    refs = common.mount.repo(repo.id) / "refs"
    assert (refs / "main").read_text() == repo.commit
    asking(common, repo, lambda: os.truncate(refs / "main", 0))
    asking(common, repo, lambda: write_over(refs / "main", "1" * 40))
    assert (refs / "main").read_text() == repo.commit
    assert errno_of(os.stat, refs / "team") == errno.ENOENT
    asking(common, repo, lambda: write_in_place(refs / "team", "1" * 40))
    assert errno_of(os.stat, refs / "team") == errno.ENOENT


def test_R5_old_value_is_readable_while_a_client_writes(common):
    repo = common.world.add()
    path = common.mount.repo(repo.id) / "refs/main"
    assert path.read_text() == repo.commit
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        assert path.read_text() == repo.commit
        os.write(fd, b"0" * 20)
        assert path.read_text() == repo.commit
    finally:
        os.close(fd)
    assert path.read_text() == repo.commit


def test_R5_refs_that_the_hub_lacks_can_be_written_too(common):
    """mkdir -p refs/refs/pr and a ref below it, as clients do for a pull request."""
    repo = common.world.add()
    refs = common.mount.repo(repo.id) / "refs"
    number, commit = common.hub.add_pr(repo.name, {"a": b"a"})
    os.makedirs(refs / "refs/pr", exist_ok=True)
    write_beside(refs / f"refs/pr/{number}", commit)
    eventually(lambda: (refs / f"refs/pr/{number}").read_text() == commit, 5)
    os.makedirs(refs / "team/branch", exist_ok=True)
    write_beside(refs / "team/branch/x", "0" * 40)
    if errno_of(os.stat, refs / "team/branch/x") == 0:
        assert (refs / "team/branch/x").read_text() != "0" * 40


def test_R5_published_refs_cannot_be_removed(common):
    repo = common.world.add()
    path = common.mount.repo(repo.id) / "refs/main"
    path.read_text()
    with refuses(errno.EPERM):
        os.unlink(path)
    assert path.read_text() == repo.commit


def test_R6_commits_of_listed_refs_are_listed(common):
    """Client contract, rules 8 and 9: at once, and before anybody looks the commit up."""
    repo = common.world.add()
    path = common.mount.repo(repo.id)
    for number in range(6):
        branch = f"b{number}"
        commit = common.hub.push(repo.name, {"n": str(number)}, branch=branch)
        assert (path / "refs" / branch).read_text() == commit
        assert commit in os.listdir(path / "snapshots"), "a visible ref names an unlisted commit"
    listed = set(os.listdir(path / "snapshots"))
    for top, _, files in os.walk(path / "refs"):
        for name in files:
            with open(os.path.join(top, name)) as file:
                assert file.read() in listed
    for commit in listed:
        assert os.path.isdir(path / "snapshots" / commit)
