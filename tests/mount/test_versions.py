# SPDX-License-Identifier: Apache-2.0
"""V: which versions are here, refs that stay, and what a program has read."""
import json
import os
import re

import pytest
from lab import ALICE, BOB, MIB, PYTHON, eventually, in_child
from world import fresh_bytes, quiet


def words(mount, command, *them, code=0, user=None):
    done = mount.hffs(command, "--state-dir", str(mount.state), *them, user=user)
    assert done.code == code, f"{done}\n{mount.log()}"
    return done


def listed(mount, *them):
    return json.loads(words(mount, "ls", "--json", *them).out)


def main(mount, repo):
    return (mount.repo(repo.id) / "refs/main").read_text()


def moved(world, mount, files):
    """A repository whose main has moved, and the mount has noticed: its two commits."""
    old = world.add(files)
    assert main(mount, old) == old.commit
    new = world.push(old, {"a": fresh_bytes(2 * MIB)})
    (mount.repo(old.id) / "refs/main").write_text(new.commit)
    eventually(lambda: main(mount, old) == new.commit, 10, "the new commit")
    return old, new


def look(paths):
    return [open(path).read() if not os.path.islink(path) else os.readlink(path) for path in paths]


# What is here


def test_P1_ls_tells_what_is_here(make):
    world = make.world()
    mount = make.mount(world, "--prefetch", "off")
    repo = world.add({"a": fresh_bytes(2 * MIB), "b": fresh_bytes(3 * MIB), "same": b"x" * 100, "again": b"x" * 100})
    os.listdir(mount.repo(repo.id) / "snapshots" / repo.commit)
    [known] = listed(mount)
    [commit] = known["commits"]
    assert known["repo"] == repo.id and commit["commit"] == repo.commit
    assert commit["last_used"] is None and commit["bytes_here"] == 0
    assert (commit["files"], commit["bytes"]) == (4, 5 * MIB + 100)  # each content once
    assert mount.file(repo, "a").read_bytes() == repo.content["a"]
    words(mount, "pin", f"{repo.id}@{repo.commit}")
    main(mount, repo)
    with quiet(world):
        [known] = listed(mount, repo.id)
        text = words(mount, "ls").out
    [commit] = known["commits"]
    assert commit["bytes_here"] == 2 * MIB and commit["last_used"] and commit["pinned"] and not known["pinned"]
    assert commit["refs"] == ["main"] and commit["whole_tree"] and not commit["self_attested"]
    assert re.search(rf"^ +39 % +5.0 MiB .* {repo.name}@{repo.commit[:12]} +main +\(pinned\)$", text, re.M), text
    mount.umount()
    mount.remount()
    assert listed(mount)[0]["commits"][0]["last_used"] == commit["last_used"]
    words(mount, "ls", "acme/never-seen", code=3)


def test_P1_outdated_names_refs_that_moved_and_what_they_need(make):
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "100000")
    old = world.add({"a": fresh_bytes(2 * MIB), "same": fresh_bytes(MIB)})
    still = world.add()
    for repo in (old, still):
        assert main(mount, repo) == repo.commit
    assert mount.file(old, "same").read_bytes() == old.content["same"]
    assert listed(mount, "--outdated") == []
    new = world.push(old, {"a": fresh_bytes(3 * MIB)})
    [ref] = listed(mount, "--outdated")
    assert (ref["repo"], ref["revision"], ref["commit"], ref["hub"]) == (old.id, "main", old.commit, new.commit)
    assert ref["missing_bytes"] == 3 * MIB and ref["missing_files"] == 1 and not ref["frozen"]
    assert ref["hub_time"] and ref["since"]
    assert "3.0 MiB in 1 files to fetch" in words(mount, "ls", "--outdated").out
    # Asking has changed nothing.
    assert main(mount, old) == old.commit
    world.hub.down()
    assert mount.hffs("ls", "--outdated", "--state-dir", mount.state).code in (7, 8)


# Refs that stay


def test_P2_a_frozen_ref_reads_its_commit(make):
    world = make.world()
    mount = make.mount(world)
    old, new = moved(world, mount, {"a": fresh_bytes(2 * MIB)})
    done = words(mount, "pin", f"{old.id}@{old.commit}", "--ref", "main")
    assert old.commit in done.out and "for you" in done.out
    for _ in range(2):
        assert main(mount, old) == old.commit
        assert os.readlink(mount.repo(old.id) / "snapshots/main") == old.commit
        assert mount.hffs("path", old.id, "--state-dir", mount.state).out.strip().endswith(old.commit)
        assert "refs/main for user" in words(mount, "pins").out
        # What a client writes is not what is read; nor does the Hub's word matter.
        (mount.repo(old.id) / "refs/main").write_text(new.commit)
        mount.umount()
        mount.remount()
    [ref] = listed(mount, "--outdated")
    assert ref["frozen"] and ref["commit"] == old.commit and ref["hub"] == new.commit
    words(mount, "unpin", old.id, "--ref", "main")
    assert main(mount, old) == new.commit
    assert os.readlink(mount.repo(old.id) / "snapshots/main") == new.commit
    words(mount, "unpin", old.id, "--ref", "main", code=3)
    words(mount, "pin", f"{old.id}@{'0' * 40}", "--ref", "main", code=3)


def test_P2_nested_refs_and_those_that_the_hub_has_no_more(make):
    world = make.world()
    mount = make.mount(world)
    old, new = moved(world, mount, {"a": fresh_bytes(1000)})
    for ref in ("release/1", "gone"):
        words(mount, "pin", f"{old.id}@{old.commit}", "--ref", ref)
    for _ in range(2):
        for ref in ("gone", "release/1"):
            assert (mount.repo(old.id) / "refs" / ref).read_text() == old.commit
            assert mount.hffs("path", f"{old.id}@{ref}", "--state-dir", mount.state).out.strip().endswith(old.commit)
        mount.umount()
        world.hub.down()
        mount.remount()
    assert main(mount, old) == new.commit


def test_P2_for_one_user_or_for_everybody(make, root):
    world = make.world()
    mount = make.mount(world, "--allow-other")
    old, new = moved(world, mount, {"a": fresh_bytes(1000)})
    third = world.push(new, {"a": fresh_bytes(1000)})
    paths = [mount.repo(old.id) / "refs/main", mount.repo(old.id) / "snapshots/main"]

    def sees(user):
        return in_child(look, paths, user=user)
    words(mount, "pin", f"{old.id}@{old.commit}", "--ref", "main", user=ALICE)
    for _ in range(2):  # one after the other: the kernel believes nobody for another
        assert sees(ALICE) == [old.commit] * 2
        assert sees(BOB) == [third.commit] * 2 or sees(BOB) == [new.commit] * 2
    done = words(mount, "pin", f"{old.id}@{old.commit}", "--ref", "main", "--all", user=ALICE, code=4)
    assert "everybody" in done.err
    words(mount, "pin", f"{old.id}@{new.commit}", "--ref", "main", "--all")
    assert sees(BOB) == [new.commit] * 2 and sees(0) == [new.commit] * 2
    assert sees(ALICE) == [old.commit] * 2  # one's own goes first
    assert "everybody" in words(mount, "pins", user=BOB).out
    assert old.commit not in words(mount, "pins", user=BOB).out
    words(mount, "unpin", old.id, "--ref", "main", user=BOB, code=3)
    words(mount, "unpin", old.id, "--ref", "main", user=ALICE)
    assert sees(ALICE) == [new.commit] * 2


def test_P2_its_commit_is_not_evicted(make):
    world = make.world()
    mount = make.mount(world, "--max-size", str(16 * MIB))
    repo = world.add({"a": fresh_bytes(5 * MIB)})
    words(mount, "pin", f"{repo.id}@{repo.commit}", "--ref", "main")
    assert mount.file(repo, "a").read_bytes() == repo.content["a"]
    for _ in range(5):
        other = world.add({"x": fresh_bytes(5 * MIB)})
        assert mount.file(other, "x").read_bytes() == other.content["x"]
    assert mount.status()["store"]["pinned_bytes"] == 5 * MIB
    assert os.stat(mount.blob(repo, "a")).st_blocks * 512 == 5 * MIB


# What a program has read


READER = """\
import mmap, os, subprocess, sys, threading
def whole(path):
    with open(path, "rb") as file:
        return file.read()
def mapped(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        return bytes(memory)
root, code = sys.argv[1], int(sys.argv[2])
commit = whole(f"{root}/refs/main").decode()
at = f"{root}/snapshots/{commit}"
os.stat(f"{at}/only-looked-at")
whole(f"{at}/by-main")
mapped(f"{at}/mapped")
thread = threading.Thread(target=whole, args=(f"{at}/by-thread",))
thread.start()
thread.join()
subprocess.run([sys.executable, "-S", "-c", f"open({at + '/by-child'!r}, 'rb').read()"], check=True)
# A grandchild whose parent has gone.
subprocess.run(["sh", "-c", f"(sleep 0.3; exec cat {at}/by-orphan >/dev/null) & exit 0"], check=True)
import time
time.sleep(1.5)
sys.exit(code)
"""


@pytest.mark.parametrize("code", [0, 7])
def test_P3_lock_writes_what_was_read(make, code):
    world = make.world()
    mount = make.mount(world)
    names = ["by-main", "mapped", "by-thread", "by-child", "by-orphan", "only-looked-at", "by-others"]
    repo = world.add({name: fresh_bytes(2 * MIB if name == "mapped" else 1000) for name in names})
    # Warm: large ones are handed over to the kernel, and names are in its caches.
    for name in names:
        assert mount.file(repo, name).read_bytes() == repo.content[name]
    folder = make.folder()
    (folder / "reader.py").write_text(READER)
    lock = folder / "models.lock"
    child = make.child(again_and_again, str(mount.file(repo, "by-others")))
    child.heard()
    words(mount, "lock", "-o", str(lock), "--", PYTHON, "-S", str(folder / "reader.py"), str(mount.repo(repo.id)),
          str(code), code=code)
    child.tell()
    child.result()
    written = json.loads(lock.read_text())
    assert written["hffs_lock"] == 1
    [found] = written["repos"]
    assert (found["repo"], found["commit"], found["refs"]) == (repo.id, repo.commit, ["main"])
    assert found["files"] == sorted(
        ({"path": name, "size": repo.sizes[name], "hash": repo.etags[name]} for name in names[:5]),
        key=lambda each: each["path"])


def again_and_again(path):
    say("begun")
    stop = threading.Thread(target=hear)
    stop.start()
    while stop.is_alive():
        open(path, "rb").close()
        time.sleep(0.01)


def test_P3_the_commit_that_was_meant_is_told(make):
    """The same content in two commits and two repositories: that of the ref which was read."""
    world = make.world()
    mount = make.mount(world)
    data = {"a": fresh_bytes(1000), "b": fresh_bytes(1000)}
    old, new = moved(world, mount, data)
    other = world.add(data)
    for repo in (old, new, other):
        assert mount.file(repo, "b").read_bytes() == data["b"]
    folder = make.folder()
    lock = folder / "x.lock"
    root = mount.repo(old.id)
    for what, commit, refs in ((f'cat "{root}/snapshots/$(cat {root}/refs/main)/b"', new.commit, ["main"]),
                               (f"cat {root}/snapshots/main/b", new.commit, ["main"]),
                               (f"cat {root}/snapshots/{old.commit}/a {root}/snapshots/{old.commit}/b", old.commit, [])):
        words(mount, "lock", "-o", str(lock), "--", "sh", "-c", what + " > /dev/null")
        [found] = json.loads(lock.read_text())["repos"]
        assert (found["repo"], found["commit"], found["refs"]) == (old.id, commit, refs), what


def test_P3_a_command_that_cannot_run(make):
    mount = make.mount(None)
    folder = make.folder()
    done = words(mount, "lock", "-o", str(folder / "x"), "--", "/there/is/no/such/program", code=127)
    assert "no such" in done.err.lower()
    assert words(mount, "lock", "-o", str(folder / "x"), "--", "sh", "-c", "kill -9 $$", code=137)
    assert json.loads((folder / "x").read_text())["repos"] == []
    done = mount.hffs("lock", "--state-dir", str(folder / "none"), "--", "touch", str(folder / "ran"))
    assert done.code == 7 and not (folder / "ran").exists()


def locked(mount, folder, repo, *paths):
    lock = folder / "models.lock"
    root = mount.repo(repo.id)
    read = " ".join(f"{root}/snapshots/main/{path}" for path in paths)
    words(mount, "lock", "-o", str(lock), "--", "sh", "-c", f"cat {read} > /dev/null")
    return lock


def problems(mount, lock, *more, code):
    report = json.loads(words(mount, "check", str(lock), *more, "--json", code=code).out)
    return {(each["what"], each["problem"]) for each in report["problems"]}


def test_P4_check_names_what_is_not_so_any_more(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a": fresh_bytes(2 * MIB), "b": fresh_bytes(1000)})
    lock = locked(mount, make.folder(), repo, "a", "b")
    assert problems(mount, lock, code=0) == set()
    with quiet(world):
        assert problems(mount, lock, "--offline", code=0) == set()
    # Bytes that are gone, and fetched again.
    eventually(lambda: json.loads(words(mount, "gc", repo.id, "--json").out)["evicted_bytes"] >= 0 and
               not os.stat(mount.blob(repo, "a")).st_blocks > 8, 10, "eviction")
    assert ("a", "missing") in problems(mount, lock, code=12)
    with quiet(world):
        assert ("a", "missing") in problems(mount, lock, "--offline", code=12)
    assert problems(mount, lock, "--fetch", code=0) == set()
    eventually(lambda: mount.hffs("check", lock, "--offline", "--state-dir", mount.state).code == 0, 10, "the verdict")
    # A ref that moves.
    new = world.push(repo, {"b": fresh_bytes(1000)})
    done = words(mount, "check", str(lock), code=17)
    assert "refs/main" in done.out and new.commit in done.out
    # Frozen, it has not moved.
    words(mount, "pin", f"{repo.id}@{repo.commit}", "--ref", "main")
    assert problems(mount, lock, code=0) == set()
    # A hash that differs, and files that are not there, are told before a ref that moved.
    words(mount, "unpin", repo.id, "--ref", "main")
    text = json.loads(lock.read_text())
    text["repos"][0]["files"][0]["hash"] = "0" * 64
    text["repos"][0]["files"].append({"path": "no-such", "size": 1, "hash": "1" * 40})
    lock.write_text(json.dumps(text))
    assert problems(mount, lock, code=10) == {("a", "hash"), ("no-such", "gone"), ("refs/main", "moved")}
    lock.write_text('{"hffs_lock": 1, "repos": [{"repo": "../x"}]}')
    assert "was changed" in words(mount, "check", str(lock), code=2).err
    lock.write_text("hello")
    assert "no lock file" in words(mount, "check", str(lock), code=2).err


def test_P4_check_while_the_hub_is_down(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a": fresh_bytes(1000)})
    lock = locked(mount, make.folder(), repo, "a")
    world.hub.down()
    assert problems(mount, lock, code=7) == {("refs/main", "unknown")}
    assert problems(mount, lock, "--offline", code=0) == set()
