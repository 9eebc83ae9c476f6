# SPDX-License-Identifier: Apache-2.0
"""O: a folder as origin, alone and in front of the Hub. A mount of hffs whose daemon is stopped by a signal stands in
for a server that hangs: what is asked of it waits, in the kernel, until it goes on."""
import errno
import json
import os
import shutil
import signal
import time

import pytest
from lab import BLOCK, MIB, errno_of, eventually, exists, is_mounted, later, refuses
from test_carry import blob_of, check, git_sha1, make_cache, put_on_hub, some_files, take_in
from world import fresh_bytes, quiet

ID, COMMIT = "acme/carried", "c" * 40


def mount_folder(make, folder, *args, world=None, **options):
    endpoints = [f"file://{folder}"] + ([world.endpoint] if world else [])
    return make.mount(world, *args, endpoints=endpoints, **options)


def size_of(files):
    return sum(len(data) for data, _ in files.values())


def health(mount):
    """Of the folder."""
    [found] = [each for each in mount.status()["endpoints"] if each["endpoint"].startswith("file://")]
    return found


def make_plain(folder, id, files):
    for path, (data, _) in files.items():
        (folder / id / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / id / path).write_bytes(data)
    lines = "".join(f"{blob_of(data, lfs)} {len(data)} {path}\n" for path, (data, lfs) in sorted(files.items()))
    return git_sha1(lines.encode())


def content_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Alone


@pytest.mark.parametrize("links, shared", [(True, False), (False, False), (True, True)],
                         ids=["links", "no-links", "shared-store"])
def test_O1_a_cache_is_read_where_it_lies(make, links, shared):
    files, folder = some_files(), make.folder()
    make_cache(folder, ID, COMMIT, files, refs=("main", "refs/pr/1"), links=links, shared=shared)
    before = content_in(folder)
    mount = mount_folder(make, folder)
    assert mount.metric("folder_bytes") == 0
    assert (mount.repo(ID) / "refs/main").read_text() == COMMIT
    assert (mount.repo(ID) / "refs/refs/pr/1").read_text() == COMMIT
    assert mount.metric("folder_bytes") == 0, "nothing is imported up front"
    check(mount, ID, COMMIT, files)
    assert mount.metric("folder_bytes") == size_of(files)
    assert not exists(mount.repo("acme/other")) and not exists(mount.repo(ID) / "refs/other")
    assert content_in(folder) == before
    shutil.rmtree(folder / f"models--{ID.replace('/', '--')}")
    mount.umount()
    mount.start()
    check(mount, ID, COMMIT, files)
    assert mount.metric("folder_bytes") == 0, "what was read once is here"


def test_O1_only_the_blocks_that_are_read(make):
    files, folder = {"large.bin": (fresh_bytes(12 * MIB), True)}, make.folder()
    make_cache(folder, ID, COMMIT, files)
    mount = mount_folder(make, folder, "--prefetch", "off")
    path = mount.repo(ID) / "snapshots" / COMMIT / "large.bin"
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 10, 5 * BLOCK) == files["large.bin"][0][5 * BLOCK:5 * BLOCK + 10]
    assert mount.metric("folder_bytes") == BLOCK


def test_O1_it_is_never_left_through_a_link(make):
    outside, folder = make.folder(), make.folder()
    (outside / "secret").write_text("nobody's business")
    repo = make_cache(folder, ID, COMMIT, some_files())
    (repo / "snapshots" / COMMIT / "secret.json").symlink_to(outside / "secret")
    make_plain(folder, "acme/plain", {"config.json": (b"{}", False)})
    (folder / "acme/plain/secret.json").symlink_to(outside / "secret")
    mount = mount_folder(make, folder)
    assert "secret.json" not in os.listdir(mount.repo(ID) / "snapshots" / COMMIT)
    commit = (mount.repo("acme/plain") / "refs/main").read_text()
    assert os.listdir(mount.repo("acme/plain") / "snapshots" / commit) == ["config.json"]


def test_O2_plain_folders_have_the_names_that_an_import_gives(make):
    files = {"config.json": (b'{"a": 1}', False), "weights.bin": (b"a\0b" * MIB, True), "sub/empty": (b"", False)}
    folder = make.folder()
    commit = make_plain(folder, "acme/mine", files)
    make_plain(folder, "alone", {"x.bin": (b"1\0", True)})
    mount = mount_folder(make, folder)
    assert (mount.repo("acme/mine") / "refs/main").read_text() == commit
    check(mount, "acme/mine", commit, files)
    assert exists(mount.repo("alone") / "refs/main")
    assert not exists(mount.repo("acme")), "an organisation is no model"
    imported = make.mount(None, "--offline")
    report = take_in(imported, folder / "acme/mine", "--repo", "acme/mine")
    assert report["commits"][0]["commit"] == commit


def test_O2_a_changed_plain_folder_is_another_commit(make):
    files, folder = {"config.json": (b"{}", False)}, make.folder()
    old = make_plain(folder, "acme/mine", files)
    mount = mount_folder(make, folder, "--ref-ttl", "0.1")
    ref = mount.repo("acme/mine") / "refs/main"
    assert ref.read_text() == old
    check(mount, "acme/mine", old, files)
    new = make_plain(folder, "acme/mine", {"config.json": (b"[]", False)})
    eventually(lambda: ref.read_text() == new, 10, "the new commit")
    check(mount, "acme/mine", new, {"config.json": (b"[]", False)})
    check(mount, "acme/mine", old, files)


def test_O3_what_a_folder_says_is_self_attested(make):
    world, files, folder = make.world(), some_files(), make.folder()
    repo = put_on_hub(world, files)
    make_cache(folder, repo.id, repo.commit, {**files, "only-here.txt": (b"not on the Hub", False)})
    world.hub.down()
    mount = mount_folder(make, folder, world=world)
    snapshot = mount.repo(repo.id) / "snapshots" / repo.commit
    check(mount, repo.id, repo.commit, files)
    assert exists(snapshot / "only-here.txt")
    assert mount.status()["self_attested"] == [{"repo": repo.id, "commit": repo.commit, "imported_by": None}]
    world.hub.up()

    def confirmed():
        exists(snapshot / "anything")
        return mount.status()["catalog"]["self_attested"] == 0
    eventually(confirmed, 40, "the Hub's word")
    eventually(lambda: not exists(snapshot / "only-here.txt"), 5, "the Hub's tree")
    check(mount, repo.id, repo.commit, files)


# In front of the Hub


def test_O4_names_are_the_hubs_and_bytes_the_folders(make):
    world, files, folder = make.world(), some_files(), make.folder()
    repo = put_on_hub(world, files)
    make_cache(folder, repo.id, repo.commit, files)
    newer = world.push(repo, {"more.bin": fresh_bytes(MIB)})
    mount = mount_folder(make, folder, "--prefetch", "off", world=world)
    assert (mount.repo(repo.id) / "refs/main").read_text() == newer.commit
    check(mount, repo.id, newer.commit, files)
    assert not world.content(), "the folder has all of that"
    assert mount.status()["catalog"]["self_attested"] == 0
    assert mount.file(newer, "more.bin").read_bytes() == newer.content["more.bin"]
    assert {each.blob for each in world.content()} == {newer.etags["more.bin"]}


def test_O4_what_was_read_is_let_go(make):
    """A range that is over holds neither the folder's file nor the blob."""
    world, files = make.world(), some_files()
    files["large.bin"] = (fresh_bytes(3 * MIB + 5), True)
    repo, folder = put_on_hub(world, files), make.folder()
    make_cache(folder, repo.id, repo.commit, files)
    mount = mount_folder(make, folder, world=world)
    check(mount, repo.id, repo.commit, files)
    assert mount.metric("folder_bytes") == size_of(files)
    open_below = lambda: [each for each in os.listdir(f"/proc/{mount.pid}/fd")
                          if link_of(f"/proc/{mount.pid}/fd/{each}").startswith(str(folder) + "/")]
    eventually(lambda: not open_below(), 5, "the end of all files of the folder")
    eventually(lambda: json.loads(mount.hffs("gc", repo.id, "--dry-run", "--json", "--state-dir", mount.state).out)
               ["open_bytes"] == 0, 5, "the end of all blobs")


def link_of(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def test_O4_the_folder_answers_where_the_hub_does_not(make):
    world, files, folder = make.world(), some_files(), make.folder()
    known = put_on_hub(world, files)
    make_cache(folder, known.id, "d" * 40, files)
    make_cache(folder, "acme/private", COMMIT, files)
    mount = mount_folder(make, folder, "--ref-ttl", "0.1", world=world)
    assert (mount.repo("acme/private") / "refs/main").read_text() == COMMIT, "the Hub does not have it"
    ref = mount.repo(known.id) / "refs/main"
    assert ref.read_text() == known.commit
    world.hub.down()
    make_cache(folder, "acme/later", COMMIT, files)
    assert (mount.repo("acme/later") / "refs/main").read_text() == COMMIT, "the Hub cannot be asked"
    for _ in range(20):
        assert ref.read_text() == known.commit, "a folder does not change what the Hub has said"
        time.sleep(0.05)


@pytest.mark.parametrize("hub", [True, False], ids=["hub", "alone"])
def test_O5_wrong_bytes_are_had_from_the_hub(make, hub):
    world, folder = make.world(), make.folder()
    right = fresh_bytes(3 * MIB + 5)
    files = {"model.bin": (right, True)}
    repo = put_on_hub(world, files)
    cache = make_cache(folder, repo.id, repo.commit, files)
    (cache / "blobs" / repo.etags["model.bin"]).write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    mount = mount_folder(make, folder, world=world if hub else None)
    path = mount.file(repo, "model.bin")

    def read():
        try:
            return path.read_bytes()
        except OSError as error:
            return error.errno
    read()
    eventually(lambda: mount.metric("blobs_quarantined") == 1, 10, "the verdict")
    if hub:
        eventually(lambda: read() == right, 10, "the Hub's bytes")
        assert world.content_bytes(repo.etags["model.bin"]) == len(right)
        assert mount.metric("folder_bytes") == len(right), "and not from the folder again"
    else:
        eventually(lambda: read() == errno.EIO, 10, "an error")
        assert "repair or remove it" in mount.log()
        (cache / "blobs" / repo.etags["model.bin"]).write_bytes(right)
        eventually(lambda: read() == right, 10, "the repaired file")
    assert mount.metric("blobs_quarantined") == 1


def test_O6_offline_a_folder_is_no_network(make):
    world, files, folder = make.world(), some_files(), make.folder()
    repo = put_on_hub(world, files)
    make_cache(folder, repo.id, repo.commit, files)
    alone = mount_folder(make, folder, "--offline")
    with quiet(world):
        both = mount_folder(make, folder, "--offline", world=world)
        for mount in (alone, both):
            assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
            check(mount, repo.id, repo.commit, files)
            assert not exists(mount.repo("acme/nowhere"))


# A folder that is away, or changes


def stand_in(make, world, repo):
    """A mount that is read as a folder."""
    server = make.mount(world, "--prefetch", "off")
    os.listdir(server.repo(repo.id) / "snapshots" / repo.commit)
    assert (server.repo(repo.id) / "refs/main").read_text() == repo.commit
    return server


class stopped:
    """with stopped(mount): … – its daemon does nothing."""

    def __init__(self, mount):
        self.pids = [mount.pid, mount.worker]  # the keeper first, or it would replace the worker

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in reversed(self.pids):
            os.kill(pid, signal.SIGCONT)


def test_O7_a_hanging_server_holds_up_nobody_else(make):
    world = make.world()
    repo = world.add({"here.bin": fresh_bytes(2 * MIB), "small.json": fresh_bytes(300), "away.bin": fresh_bytes(8 * MIB)})
    server = stand_in(make, world, repo)
    mount = mount_folder(make, server.point, "--prefetch", "off")
    here = mount.file(repo, "here.bin")
    assert here.read_bytes() == repo.content["here.bin"]
    assert mount.file(repo, "small.json").read_bytes() == repo.content["small.json"]
    os.stat(mount.file(repo, "away.bin"))
    with stopped(server):
        reader = later(mount.file(repo, "away.bin").read_bytes)
        waiters = [later(lambda i=i: exists(mount.repo(f"acme/unknown-{i}"))) for i in range(3)]
        slowest = 0
        deadline = time.monotonic() + 12
        while health(mount)["up"] and time.monotonic() < deadline:
            began = time.monotonic()
            assert here.read_bytes() == repo.content["here.bin"]
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2, f"a file that is here took {slowest:.1f} s"
        assert "does not answer" in health(mount)["last_error"]
        for waiter in waiters:
            assert waiter.join(10) == [False]
        began = time.monotonic()
        assert not exists(mount.repo("acme/unknown"))
        assert time.monotonic() - began < 1, "it is known to be down"
    assert reader.join(30) == [repo.content["away.bin"]]
    eventually(lambda: health(mount)["up"], 10, "the folder's return")
    mount.umount()  # before what it reads


def test_O7_the_end_does_not_wait_for_a_hanging_server(make):
    world = make.world()
    repo = world.add({"away.bin": fresh_bytes(8 * MIB)})
    server = stand_in(make, world, repo)
    mount = mount_folder(make, server.point, "--prefetch", "off")
    path = mount.file(repo, "away.bin")
    os.stat(path)
    with stopped(server):
        reader = later(lambda: errno_of(path.read_bytes))
        eventually(lambda: mount.metric("reads_waiting") > 0, 10, "the reader")
        time.sleep(0.5)
        os.kill(mount.pid, signal.SIGTERM)
        eventually(lambda: "info daemon ended" in mount.log(), 8, "the daemon's end")
        assert not is_mounted(mount.point)
        # Its thread that hangs keeps the process in the table, for a FUSE server that is stopped: all else has gone.
        again = make.mount(world, start=False)
        again.state = mount.state
        again.start()
        again.umount()
    assert reader.join(10) != [0]
    assert mount.wait_gone(5) == 0


@pytest.mark.parametrize("hub", [True, False], ids=["hub", "alone"])
@pytest.mark.parametrize("change", ["shrinks", "disappears"])
def test_O8_a_file_that_goes_is_an_error_or_the_hubs(make, change, hub):
    world, folder = make.world(), make.folder()
    files = {"model.bin": (fresh_bytes(6 * MIB), True)}
    repo = put_on_hub(world, files)
    blob = make_cache(folder, repo.id, repo.commit, files) / "blobs" / repo.etags["model.bin"]
    mount = mount_folder(make, folder, "--prefetch", "off", world=world if hub else None)
    with open(mount.file(repo, "model.bin"), "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), 10, 0) == repo.content["model.bin"][:10]
        if change == "shrinks":
            os.truncate(blob, 2 * MIB)
        else:
            blob.unlink()
        if hub:
            assert os.pread(file.fileno(), 10, 4 * MIB) == repo.content["model.bin"][4 * MIB:4 * MIB + 10]
        else:
            with refuses(errno.EIO):
                os.pread(file.fileno(), 10, 4 * MIB)
            assert "2097152 bytes" in mount.log() if change == "shrinks" else "it is not there" in mount.log()


@pytest.mark.parametrize("what, words", [("missing", "is not there"), ("a file", "is not a folder"),
                                         ("empty", "holds no model")])
def test_O9_status_says_why_a_folder_is_down(make, what, words):
    box = make.folder()
    folder = box / "hf"
    if what == "a file":
        folder.write_text("x")
    elif what == "empty":
        folder.mkdir()
    mount = mount_folder(make, folder)
    eventually(lambda: not health(mount)["up"], 5, "the verdict")
    assert words in health(mount)["last_error"], health(mount)
    assert words in mount.hffs("status", mount.point).out
    assert not exists(mount.repo(ID))
    if what == "a file":
        folder.unlink()
    make_cache(folder, ID, COMMIT, some_files())
    eventually(lambda: health(mount)["up"], 10, "the folder")
    assert health(mount)["last_error"] == ""
    assert (mount.repo(ID) / "refs/main").read_text() == COMMIT


@pytest.mark.parametrize("url, words", [("file://relative", "three slashes"), ("file://", "three slashes"),
                                        ("/nfs/hf", "file:///")])
def test_O9_an_endpoint_that_is_no_folder_is_refused(make, url, words):
    mount = make.mount(None, start=False, endpoints=[url])
    done = mount.hffs(*mount.command("--foreground")[1:])
    assert done.code == 2 and words in done.err, done
