# SPDX-License-Identifier: Apache-2.0
"""C: what is taken along: imports of folders, exports, and what the Hub says of it later."""
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from lab import ALICE, HFFS, MIB, eventually, exists, refuses
from world import fresh_bytes, quiet

LARGE = 11 * MIB  # LFS by its size


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def blob_of(data, lfs):
    return hashlib.sha256(data).hexdigest() if lfs else git_sha1(data)


def make_cache(folder, id, commit, files, refs=("main",), links=True, shared=False):
    """A cache as huggingface_hub lays it out. `files`: path → (bytes, whether it is LFS)."""
    repo = folder / f"models--{id.replace('/', '--')}"
    blobs, snapshot = repo / "blobs", repo / "snapshots" / commit
    blobs.mkdir(parents=True, exist_ok=True)
    for path, (data, lfs) in files.items():
        name = snapshot / path
        name.parent.mkdir(parents=True, exist_ok=True)
        if not links:
            name.write_bytes(data)
            continue
        blob = blobs / blob_of(data, lfs)
        if shared and lfs:  # huggingface_hub 1.32: utils/_shared_blobs.py
            xet = hashlib.sha256(b"xet" + data).hexdigest()
            store = folder / "blobs" / xet[:2]
            store.mkdir(parents=True, exist_ok=True)
            (folder / "blobs" / ".huggingface-shared-blobs").write_text("1\n")
            (store / xet).write_bytes(data)
            (store / xet).chmod(0o444)
            blob.symlink_to(os.path.relpath(store / xet, blobs))
        elif not blob.exists():
            blob.write_bytes(data)
        name.symlink_to(os.path.relpath(blob, name.parent))
    for ref in refs:
        (repo / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (repo / "refs" / ref).write_text(commit)
    return repo


def take_in(mount, *words, code=0, timeout=100):
    """`hffs import`, and its report."""
    done = mount.hffs("import", *words, "--state-dir", mount.state, "--json", timeout=timeout)
    assert done.code == code, f"{done}\n{mount.log()}"
    return json.loads(done.out) if done.out else {}


def left_out(report):
    """The last part of a path → why."""
    return {Path(each["path"]).name: each["why"] for each in report["skipped"]}


def some_files():
    return {"config.json": (b'{"a": "' + fresh_bytes(150).hex().encode() + b'"}', False),
            "sub/dir/tokenizer.json": (fresh_bytes(300).hex().encode(), False),
            "model.safetensors": (fresh_bytes(3 * MIB + 17), True),
            "empty.txt": (b"", False)}


def put_on_hub(world, files, id=None):
    """The same files on a hub, with the same hashes."""
    repo = world.add({path: data for path, (data, _) in files.items()}, **({"id": id} if id else {}))
    for path, (data, lfs) in files.items():
        assert repo.etags[path] == blob_of(data, lfs), path
    return repo


def check(mount, id, commit, files):
    for path, (data, _) in files.items():
        assert (mount.repo(id) / "snapshots" / commit / path).read_bytes() == data, path


def fetched_nothing(world):
    assert not world.content(), world.content()


# By the Hub's tree


@pytest.mark.parametrize("links, shared", [(True, False), (False, False), (True, True)],
                         ids=["links", "no-links", "shared-store"])
def test_C1_an_import_is_what_the_hub_has(make, links, shared):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    hub = make.folder()
    folder = make_cache(hub, repo.id, repo.commit, files, links=links, shared=shared)
    before = {path: path.read_bytes() for path in hub.rglob("*") if path.is_file()}
    report = take_in(mount, folder if shared else hub)
    [commit] = report["commits"]
    assert not commit["self_attested"] and not report["skipped"], report
    # Nothing is taken of a file without bytes.
    assert commit["taken_files"] + commit["present_files"] == len(files) == commit["files"], report
    assert commit["taken_bytes"] == sum(len(data) for data, _ in files.values())
    check(mount, repo.id, repo.commit, files)
    fetched_nothing(world)
    assert mount.status()["catalog"]["self_attested"] == 0
    assert before == {path: path.read_bytes() for path in hub.rglob("*") if path.is_file()}
    report = take_in(mount, hub)
    assert report["commits"][0]["taken_files"] == 0 and report["commits"][0]["present_files"] == len(files)


def test_C1_writing_to_the_source_changes_no_blob(make):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    hub = make.folder()
    folder = make_cache(hub, repo.id, repo.commit, files)
    take_in(mount, hub)
    for blob in (folder / "blobs").iterdir():
        assert blob.stat().st_nlink == 1
        with open(blob, "r+b") as file:
            file.write(b"overwritten")
    mount.umount()
    mount.start()
    check(mount, repo.id, repo.commit, files)
    fetched_nothing(world)


def test_C1_a_folder_of_files(make):
    """Its names are the Hub's; what another commit had under them does not join."""
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    plain = make.folder()
    for path, (data, _) in files.items():
        (plain / path).parent.mkdir(parents=True, exist_ok=True)
        (plain / path).write_bytes(data)
    (plain / "config.json").write_bytes(b"x" * len(files["config.json"][0]))
    (plain / "notes.txt").write_text("mine")
    (plain / ".cache/huggingface").mkdir(parents=True)
    (plain / ".cache/huggingface/x.lock").touch()
    report = take_in(mount, plain, "--repo", repo.id, code=10)
    assert left_out(report) == {"config.json": "wrong_bytes", "notes.txt": "not_in_tree"}
    [commit] = report["commits"]
    assert commit["commit"] == repo.commit and not commit["self_attested"]
    assert mount.file(repo, "model.safetensors").read_bytes() == files["model.safetensors"][0]
    fetched_nothing(world)
    check(mount, repo.id, repo.commit, files)  # the rest from the Hub
    assert not exists(mount.file(repo, "notes.txt"))


def test_C1_nothing_is_imported_from_the_mount(make):
    """The daemon would wait for itself."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a.txt": b"a"})
    assert mount.file(repo, "a.txt").read_bytes() == b"a"
    for each in (mount.point, mount.repo(repo.id)):
        done = mount.hffs("import", each, "--state-dir", mount.state)
        assert done.code == 2 and "in the mount" in done.err, done


def test_C1_only_root_and_the_daemons_user_may(make, root):
    world = make.world()
    mount = make.mount(world, "--allow-other")
    hub = make.folder()
    make_cache(hub, "acme/of-alice", "a" * 40, some_files())
    done = mount.hffs("import", hub, "--state-dir", mount.state, user=ALICE)
    assert done.code == 4 and "only root" in done.err, done


# What is left out


def test_C2_what_is_left_out_is_reported(make):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    hub = make.folder()
    folder = make_cache(hub, repo.id, repo.commit, files)
    snapshot = folder / "snapshots" / repo.commit
    secret = make.folder() / "secret"
    secret.write_bytes(b"nobody's business")
    model, config = repo.etags["model.safetensors"], repo.etags["config.json"]
    (folder / "blobs" / ("f" * 64 + ".incomplete")).write_bytes(b"half")
    with open(folder / "blobs" / model, "r+b") as file:  # one wrong byte
        file.seek(MIB)
        byte = file.read(1)
        file.seek(MIB)
        file.write(bytes([byte[0] ^ 1]))
    found = hashlib.sha256((folder / "blobs" / model).read_bytes()).hexdigest()
    (folder / "blobs" / config).unlink()
    (snapshot / "out.json").symlink_to(secret)
    (snapshot / "extra.json").write_text("mine")
    (folder / "blobs" / ("e" * 64)).write_bytes(b"alone")
    report = take_in(mount, hub, code=10)
    assert left_out(report) == {
        "f" * 64 + ".incomplete": "partial", "model.safetensors": "wrong_bytes", "config.json": "broken_link",
        "out.json": "outside", "extra.json": "not_in_tree", "e" * 64: "unreferenced"}
    [wrong] = [each for each in report["skipped"] if each["why"] == "wrong_bytes"]
    assert model in wrong["reason"] and found in wrong["reason"], wrong
    said = mount.hffs("import", hub, "--state-dir", mount.state)
    assert said.code == 10 and "wrong bytes" in said.err and found in said.out, said
    assert not list((mount.state / "hffs-v1/import").iterdir())
    check(mount, repo.id, repo.commit, files)  # the wrong and the missing from the Hub


def test_C2_half_a_shard_is_reported_and_fails_at_open(make):
    """The folder's listing knows the whole size, as huggingface_hub 2 writes it."""
    files = {"model-1.safetensors": (fresh_bytes(2 * MIB), True), "model-2.safetensors": (fresh_bytes(2 * MIB), True)}
    mount = make.mount(None, "--offline")
    hub = make.folder()
    folder = make_cache(hub, "acme/half", "b" * 40, files)
    half = folder / "blobs" / blob_of(*files["model-2.safetensors"])
    os.truncate(half, MIB)
    (folder / "trees").mkdir()
    (folder / "trees" / f"{'b' * 40}.json").write_text(json.dumps({"format_version": 1, "files": {
        path: {"size": len(data), "blob_id": git_sha1(b"pointer"), "lfs_sha256": blob_of(data, True),
               "lfs_size": len(data)} for path, (data, _) in files.items()}}))
    report = take_in(mount, hub, code=10)
    assert left_out(report) == {"model-2.safetensors": "wrong_bytes"}
    assert str(MIB) in report["skipped"][0]["reason"] and str(2 * MIB) in report["skipped"][0]["reason"]
    snapshot = mount.repo("acme/half") / "snapshots" / ("b" * 40)
    assert (snapshot / "model-1.safetensors").read_bytes() == files["model-1.safetensors"][0]
    assert (snapshot / "model-2.safetensors").stat().st_size == 2 * MIB
    with refuses(errno.EIO):
        open(snapshot / "model-2.safetensors", "rb")


def test_C2_what_is_no_cache(make):
    mount = make.mount(None, "--offline")
    empty = make.folder()
    for words, says in [([empty], "--repo"), ([empty / "nowhere"], "nowhere"), ([empty, "--repo", "a/b/c"], "ORG/NAME"),
                        ([empty, "--repo", "acme/x"], "holds no file"), ([empty, "--revision", "x"], "--repo")]:
        done = mount.hffs("import", *words, "--state-dir", mount.state)
        assert done.code in (2, 3) and says in done.err and not done.out, done


# Without the Hub's tree


def test_C3_without_a_hub_the_folder_is_believed(make):
    mount = make.mount(None, "--offline")
    files = some_files()
    hub = make.folder()
    commit = "c" * 40
    make_cache(hub, "acme/carried", commit, files, refs=("main", "refs/pr/1"))
    report = take_in(mount, hub)
    assert report["commits"][0]["self_attested"] and not report["skipped"], report
    assert (mount.repo("acme/carried") / "refs/main").read_text() == commit
    assert (mount.repo("acme/carried") / "refs/refs/pr/1").read_text() == commit
    check(mount, "acme/carried", commit, files)
    assert sorted(os.listdir(mount.repo("acme/carried") / "snapshots" / commit)) == sorted(
        ["config.json", "sub", "model.safetensors", "empty.txt"])
    status = mount.status()
    assert status["self_attested"] == [{"repo": "acme/carried", "commit": commit, "imported_by": os.geteuid()}]
    assert "not listed yet" in mount.hffs("status", mount.point).out
    mount.umount()
    mount.start()
    check(mount, "acme/carried", commit, files)
    assert mount.status()["catalog"]["self_attested"] == 1


def test_C3_a_folder_of_files_gets_the_names_that_the_hub_would_give(make):
    mount = make.mount(None, "--offline")
    plain = make.folder()
    files = {"config.json": (b'{"a": 1}', False), "weights.bin": (b"a\0b", True), "large.txt": (b"x" * LARGE, True),
             "sub/empty": (b"", False)}
    for path, (data, _) in files.items():
        (plain / path).parent.mkdir(parents=True, exist_ok=True)
        (plain / path).write_bytes(data)
    report = take_in(mount, plain, "--repo", "acme/mine", "--revision", "v1")
    listing = "".join(f"{blob_of(data, lfs)} {len(data)} {path}\n" for path, (data, lfs) in sorted(files.items()))
    commit = git_sha1(listing.encode())
    assert report["commits"][0]["commit"] == commit
    assert (mount.repo("acme/mine") / "refs/v1").read_text() == commit
    check(mount, "acme/mine", commit, files)
    for path, (data, lfs) in files.items():
        link = os.readlink(mount.repo("acme/mine") / "snapshots" / commit / path)
        assert os.path.basename(link) == blob_of(data, lfs)
    assert take_in(mount, plain, "--repo", "acme/mine", "--revision", "v1")["commits"][0]["taken_files"] == 0


@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
def test_C3_the_hub_confirms_or_corrects_it(make, same):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files, id=f"acme/back-{same}".lower())
    given = dict(files)
    if not same:
        given["config.json"] = (b'{"told": "otherwise"}', False)
        given["only-here.txt"] = (b"not on the Hub", False)
    else:
        del given["sub/dir/tokenizer.json"]  # a download of some files
    hub = make.folder()
    make_cache(hub, repo.id, repo.commit, given)
    mount = make.mount(world)
    world.hub.down()
    report = take_in(mount, hub)
    assert report["commits"][0]["self_attested"], report
    check(mount, repo.id, repo.commit, given)
    snapshot = mount.repo(repo.id) / "snapshots" / repo.commit
    assert exists(snapshot / "only-here.txt") is not same
    world.hub.up()

    def confirmed():
        exists(snapshot / "anything")  # whoever uses the commit asks
        return mount.status()["catalog"]["self_attested"] == 0
    eventually(confirmed, 15, "the Hub's word")
    eventually(lambda: not exists(snapshot / "only-here.txt"), 5, "the Hub's tree")
    check(mount, repo.id, repo.commit, files)
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    content = [each.blob for each in world.content()]
    new = {path for path in files if path not in given or given[path] != files[path]}
    assert set(content) == {repo.etags[path] for path in new}, "only what the folder had not is fetched"
    mount.umount()
    mount.start()
    check(mount, repo.id, repo.commit, files)
    assert mount.status()["catalog"]["self_attested"] == 0


def test_C3_what_the_hub_has_said_is_not_a_folders_to_change(make):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    check(mount, repo.id, repo.commit, files)
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    world.hub.down()
    hub = make.folder()
    make_cache(hub, repo.id, repo.commit, {"config.json": (b"another", False)})
    make_cache(hub, repo.id, "d" * 40, {"config.json": (b"yet another", False)})
    report = take_in(mount, hub)
    assert left_out(report) == {"config.json": "not_in_tree"}
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    assert report["remarks"], report
    check(mount, repo.id, repo.commit, files)
    check(mount, repo.id, "d" * 40, {"config.json": (b"yet another", False)})


# Killed, and without a daemon


def test_C4_an_import_goes_on_after_kill_9(make, quick):
    """Killed again and again, each time when some more has been taken; each start finds whole blobs or none."""
    count, size = (12, 4 * MIB) if quick else (30, 8 * MIB)
    files = {f"part-{number}.bin": (fresh_bytes(size), True) for number in range(count)}
    hub = make.folder()
    commit = "e" * 40
    make_cache(hub, "acme/killed", commit, files)
    mount = make.mount(None, "--offline")
    taken = mount.state / "hffs-v1/blobs"
    seen, counts = 0, set()
    for number in range(4 if quick else 8):
        importing = subprocess.Popen([HFFS, "import", str(hub), "--state-dir", str(mount.state)], env=mount.env,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: importing.poll() is not None or len(list(taken.glob("*/*"))) > seen, 20, "a blob")
        time.sleep(random.random() / 20)
        mount.kill9()
        mount.wait_gone()
        importing.wait(30)
        mount.start()
        snapshot = mount.repo("acme/killed") / "snapshots" / commit
        whole = []
        for path in files:
            try:
                data = (snapshot / path).read_bytes()
            except OSError as error:
                assert error.errno in (errno.ENOENT, errno.EIO)
                continue
            assert data == files[path][0], f"wrong bytes in {path}"
            whole.append(path)
        assert len(whole) >= seen, "what was verified is lost"
        seen = len(whole)
        counts.add(seen)
    assert any(0 < each < count for each in counts), f"no kill was in the middle: {counts}"
    # What came whole and had no verdict yet is hashed behind the start.
    eventually(lambda: mount.status()["store"]["verified_blobs"] == seen, 30, "verdicts on what is here")
    report = take_in(mount, hub)
    [found] = report["commits"]
    assert found["taken_files"] == count - seen and found["present_files"] == seen and not report["skipped"], report
    check(mount, "acme/killed", commit, files)
    assert not list((mount.state / "hffs-v1/import").iterdir())


def test_C4_without_a_daemon_the_command_does_it_itself(make):
    files = some_files()
    hub = make.folder()
    commit = "f" * 40
    make_cache(hub, "acme/alone", commit, files)
    mount = make.mount(None, "--offline", start=False)
    done = mount.hffs("import", hub, "--state-dir", mount.state, "--offline", "--json")
    assert done.code == 0, done
    assert json.loads(done.out)["commits"][0]["self_attested"]
    mount.start()
    check(mount, "acme/alone", commit, files)
    again = take_in(mount, hub)
    assert again["commits"][0]["taken_files"] == 0


def test_C4_a_full_disk_ends_it_and_it_goes_on(make, root):
    files = {f"part-{number}.bin": (fresh_bytes(8 * MIB), True) for number in range(5)}
    hub = make.folder()
    commit = "9" * 40
    make_cache(hub, "acme/full", commit, files)
    mount = make.mount(None, "--offline", start=False)
    mount.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=28m", "hffs-test", mount.state], check=True)
    try:
        mount.start()
        done = mount.hffs("import", hub, "--state-dir", mount.state)
        assert done.code == 11, f"{done}\n{mount.log()}"
        subprocess.run(["mount", "-o", "remount,size=100m", mount.state], check=True)
        [found] = take_in(mount, hub)["commits"]
        assert 0 < found["present_files"] < 5 and found["present_files"] + found["taken_files"] == 5, found
        check(mount, "acme/full", commit, files)
        mount.umount()
    finally:
        subprocess.run(["umount", "-l", mount.state], check=True)


def test_C4_an_import_makes_room_on_the_disk(make, root):
    """What must stay free stays free while a copy grows that is no blob yet: others go for it."""
    files = {f"part-{number}.bin": (fresh_bytes(8 * MIB), True) for number in range(3)}
    hub, world, commit = make.folder(), make.world(), "8" * 40
    make_cache(hub, "acme/room", commit, files)
    old = world.add({f"old-{number}.bin": fresh_bytes(8 * MIB) for number in range(5)})
    mount = make.mount(world, "--min-free", "8M", start=False)
    mount.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "hffs-test", mount.state], check=True)
    try:
        mount.start()
        for path, data in old.content.items():
            assert mount.file(old, path).read_bytes() == data
        eventually(lambda: mount.metric("blobs_verified") == 5, 10, "verdicts")
        free, stop = [], threading.Event()

        def watch():
            while not stop.wait(0.002):
                found = os.statvfs(mount.state)
                free.append(found.f_bavail * found.f_frsize)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            [found] = take_in(mount, hub)["commits"]
        finally:
            stop.set()
            watcher.join()
        assert found["taken_files"] == 3, found
        assert min(free) >= 7 * MIB, "but for what the index takes meanwhile"
        check(mount, "acme/room", commit, files)
        mount.umount()
    finally:
        subprocess.run(["umount", "-l", mount.state], check=True)


def endless(folder):
    """A file whose hash takes many minutes, and no disk."""
    with open(folder / "endless.bin", "wb") as file:
        file.truncate(1 << 40)
    return folder


def begin(mount, *words):
    importing = subprocess.Popen([HFFS, "import", *map(str, words), "--state-dir", str(mount.state)], env=mount.env,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: "imports" in mount.log(), 10, "its begin")
    return importing


@pytest.mark.waits
def test_C4_who_does_not_look_any_more_has_gone(make):
    """The command is killed: the daemon stops the import, and another may begin."""
    files = some_files()
    hub = make.folder()
    make_cache(hub, "acme/next", "8" * 40, files)
    mount = make.mount(None, "--offline")
    importing = begin(mount, endless(make.folder()), "--repo", "acme/endless")
    busy = mount.hffs("import", hub, "--state-dir", mount.state)
    assert busy.code == 13 and "another import" in busy.err, busy
    importing.kill()
    importing.wait()
    eventually(lambda: mount.hffs("import", hub, "--state-dir", mount.state).code == 0, 60, "its turn")
    check(mount, "acme/next", "8" * 40, files)


def test_C4_an_end_of_the_daemon_ends_it(make):
    mount = make.mount(None, "--offline")
    importing = begin(mount, endless(make.folder()), "--repo", "acme/endless")
    began = time.monotonic()
    mount.umount()
    assert time.monotonic() - began < 5
    assert importing.wait(10) != 0


# Export


def take_out(mount, *words, code=0):
    done = mount.hffs("export", *words, "--state-dir", mount.state, "--json")
    assert done.code == code, f"{done}\n{mount.log()}"
    return done if code else json.loads(done.out)


def layout(folder):
    """Relative path → bytes, or the target of a link."""
    return {str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
            for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def test_C1_where_blocks_are_shared_a_copy_takes_no_room(make, loop_disk):
    """Nothing is written twice, and what is written to the source later changes no blob."""
    disk = loop_disk(400 * MIB, "mkfs.xfs", "-q", "-m", "reflink=1")
    files = {f"part-{number}.bin": (fresh_bytes(16 * MIB), True) for number in range(4)}
    commit = "e" * 40
    repo = make_cache(disk / "cache", "acme/shared", commit, files)
    mount = make.mount(None, "--offline", config="min_free = 0\n", start=False)
    mount.state = disk / "state"
    mount.remount()
    quiet_disk = sync_and_measure(disk)
    assert take_in(mount, disk / "cache")["commits"][0]["taken_files"] == len(files)
    assert quiet_disk - sync_and_measure(disk) < 8 * MIB
    for blob in (repo / "blobs").iterdir():
        with blob.open("r+b") as file:
            file.write(bytes(MIB))
    mount.umount()
    mount.remount()
    check(mount, "acme/shared", commit, files)


def sync_and_measure(disk):
    """Bytes that are free."""
    os.sync()
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def test_C5_an_export_is_the_cache_that_a_client_makes(make):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    disk, wanted = make.folder(), make.folder()
    out = make.folder() / "hub"
    out.symlink_to(disk)  # as many have it: the cache is on another disk
    report = take_out(mount, repo.id, out)
    assert report["written_files"] == len(files) and not report["failed"]
    assert out.is_symlink()
    make_cache(wanted, repo.id, repo.commit, files)
    assert layout(out) == layout(wanted)
    with quiet(world):
        again = take_out(mount, repo.id, out)
    assert again["written_files"] == 0 and again["present_files"] == len(files)
    blob = out / f"models--{repo.id.replace('/', '--')}" / "blobs" / repo.etags["model.safetensors"]
    with open(blob, "r+b") as file:  # it is not believed because it is there
        file.write(b"torn")
    again = take_out(mount, repo.id, out)
    assert again["written_files"] == 1 and layout(out) == layout(wanted)


def test_C5_chosen_files_and_flat(make):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    out = make.folder()
    take_out(mount, f"{repo.id}@{repo.commit}", out, "--flat", "--include", "*.json", "--exclude", "config*")
    assert layout(out) == {"sub/dir/tokenizer.json": files["sub/dir/tokenizer.json"][0]}
    take_out(mount, repo.id, out, "--flat", "--include", "sub/", "--include", "config.json")
    assert layout(out) == {path: files[path][0] for path in ("sub/dir/tokenizer.json", "config.json")}
    (out / "config.json").write_bytes(b"y" * len(files["config.json"][0]))
    assert take_out(mount, repo.id, out, "--flat", "--include", "config.json")["written_files"] == 1
    assert (out / "config.json").read_bytes() == files["config.json"][0]
    take_out(mount, repo.id, out, "--include", "nothing*", code=3)


def test_C5_what_cannot_be_had_is_named(make):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    mount = make.mount(world, "--prefetch", "off")
    assert mount.file(repo, "config.json").read_bytes() == files["config.json"][0]
    assert mount.file(repo, "empty.txt").read_bytes() == b""
    assert sorted(os.listdir(mount.file(repo, "sub").parent))
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    mount.umount()
    mount.start("--offline")
    out = make.folder()
    done = take_out(mount, repo.id, out, code=6)
    assert "missing model.safetensors" in done.err and "missing sub/dir/tokenizer.json" in done.err, done
    assert "missing config.json" not in done.err and "offline" in done.err
    folder = out / f"models--{repo.id.replace('/', '--')}"
    assert not (folder / "refs").exists(), "a ref says that it is complete"
    assert sorted(path.name for path in (folder / "blobs").iterdir()) == sorted(
        repo.etags[path] for path in ("config.json", "empty.txt"))
    mount.umount()
    mount.start()
    assert take_out(mount, repo.id, out)["written_files"] == 2
    assert (folder / "refs/main").read_text() == repo.commit


def test_C5_into_another_mount_that_has_no_hub(make):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    out = make.folder()
    take_out(make.mount(world), repo.id, out)
    for start in (["--offline"], []):
        other = make.mount(None, *start)
        report = take_in(other, out)
        assert report["commits"][0]["taken_files"] + report["commits"][0]["present_files"] == len(files)
        assert (other.repo(repo.id) / "refs/main").read_text() == repo.commit
        check(other, repo.id, repo.commit, files)


def test_C5_an_interrupted_export_goes_on(make):
    world = make.world()
    files = {f"part-{number}.bin": (fresh_bytes(4 * MIB), True) for number in range(4)}
    repo = put_on_hub(world, files)
    mount = make.mount(world)
    out = make.folder()
    process = subprocess.Popen([HFFS, "export", repo.id, str(out), "--state-dir", str(mount.state)], env=mount.env,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    blobs = out / f"models--{repo.id.replace('/', '--')}" / "blobs"
    eventually(lambda: blobs.exists() and any(len(name) == 64 for name in os.listdir(blobs)), 20, "a file")
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in blobs.iterdir():
        if len(path.name) == 64:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    take_out(mount, repo.id, out)
    wanted = make.folder()
    make_cache(wanted, repo.id, repo.commit, files)
    assert layout(out) == layout(wanted)
