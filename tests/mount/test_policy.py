# SPDX-License-Identifier: Apache-2.0
"""Y: what the admin of a shared mount allows, and how much of it."""
import ctypes
import errno
import hashlib
import itertools
import json
import os
import signal
import subprocess
import threading

import pytest
from hub import certs
from lab import ALICE, BOB, HFFS, MIB, Run, errno_of, eventually, exists, hffs, in_child, is_gone, refuses
from network import Proxy
from world import fresh_bytes, quiet

_serial = itertools.count()


def replaced(mount, config):
    """The settings are others, and the worker is one of them."""
    before = mount.worker
    mount.config.write_text(config)
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: is_gone(before), 20, "the old worker's end")
    eventually(lambda: mount.hffs("status", "--state-dir", str(mount.state), "--json").code == 0, 20)
    assert mount.worker != before


def idle(mount):
    """Nothing is under way any more."""
    def check():
        transfer = mount.status()["transfer"]
        return transfer["waiters"] == transfer["requests"] == 0
    eventually(check, 20, "the end of all requests")


def read_whole(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def digest(data):
    return hashlib.sha256(data).hexdigest()


def read_all(paths):
    """The errno of reading each."""
    found = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                file.read()
            found.append(0)
        except OSError as error:
            found.append(error.errno)
    return found


# What there is

def test_Y1_what_is_not_allowed_does_not_exist(make, root):
    world = make.world()
    allowed = [world.add({"a.txt": b"a"}, id="acme/one"), world.add({"a.txt": b"b"}, id="acme/d", type="dataset")]
    shut = [world.add({"a.txt": b"c"}, id="acme/secret-one"), world.add({"a.txt": b"d"}, id="evil/two"),
            world.add({"a.txt": b"e"}, id="Acme/one"), world.add({"a.txt": b"f"}, id="acme/one", type="space")]
    mount = make.mount(world, "--allow-other",
                       config='allow = ["acme/*", "datasets/acme/*"]\ndeny = ["acme/secret*"]\n')
    for repo in allowed:
        assert mount.file(repo, "a.txt").read_bytes() == repo.content["a.txt"]
    for repo in shut:
        path = str(mount.repo(repo.id, repo.type))
        assert errno_of(os.stat, path) == errno.ENOENT
        assert in_child(errnos_of_stat, [path], user=ALICE) == [errno.ENOENT]
        with refuses(errno.ENOENT):
            os.listdir(path)
    assert sorted(os.listdir(mount.point)) == ["datasets--acme--d", "models--acme--one"]


def errnos_of_stat(paths):
    found = []
    for path in paths:
        try:
            os.stat(path)
            found.append(0)
        except OSError as error:
            found.append(error.errno)
    return found


def test_Y1_no_request_is_sent_for_what_is_not_allowed(make):
    world = make.world()
    shut = [world.add({"a.txt": b"a"}, id="evil/one"), world.add({"a.txt": b"b"}, id="evil/two", type="dataset")]
    mount = make.mount(world, config='allow = ["acme/*"]\n')
    with quiet(world):
        for repo in shut:
            assert not exists(mount.repo(repo.id, repo.type))
            assert not exists(mount.file(repo, "a.txt"))


def test_Y1_what_was_known_before_is_not_listed_and_not_asked_for(make):
    world = make.world()
    kept, gone = world.add({"a.txt": b"a"}, id="acme/one"), world.add({"a.txt": b"b"}, id="evil/one")
    mount = make.mount(world, config="ref_ttl = 0\n")
    for repo in (kept, gone):
        assert mount.file(repo, "a.txt").read_bytes() == repo.content["a.txt"]
    mount.umount()
    mount.config.write_text('ref_ttl = 0\ndeny = ["evil/*"]\n')
    mount.remount()
    with quiet(world):
        assert os.listdir(mount.point) == ["models--acme--one"]
        assert not exists(mount.file(gone, "a.txt"))
        assert mount.file(kept, "a.txt").read_bytes() == b"a"


def test_Y1_the_name_that_the_hub_has_for_it_counts_too(make):
    world = make.world()
    moved, stays = world.add({"a.txt": b"a"}, id="acme/moved"), world.add({"a.txt": b"b"}, id="acme/stays")
    world.hub.rename(moved.name, "evil/moved")
    mount = make.mount(world, config='deny = ["evil/*"]\n')
    assert not exists(mount.repo(moved.id))
    assert mount.file(stays, "a.txt").read_bytes() == b"b"
    assert os.listdir(mount.point) == ["models--acme--stays"]


def test_Y1_others_do_not_hear_of_it_over_the_socket(make, root):
    world = make.world()
    shut, kept = world.add({"a.txt": b"a"}, id="evil/one"), world.add({"a.txt": b"b"}, id="acme/one")
    mount = make.mount(world, "--allow-other", config="ref_ttl = 0\n")
    for repo in (shut, kept):
        assert mount.file(repo, "a.txt").read_bytes()
    replaced(mount, 'ref_ttl = 0\ndeny = ["evil/*"]\n')
    where = ("--state-dir", str(mount.state))
    with quiet(world, shut):
        assert mount.hffs("path", shut.id, *where, user=ALICE).code == 3
        assert mount.hffs("path", shut.id, *where).code == 3
    listed = mount.hffs("ls", "--json", *where, user=ALICE)
    assert listed.code == 0 and kept.id in listed.out and shut.id not in listed.out
    assert shut.id in mount.hffs("ls", "--json", *where).out, "the owner looks after the store"


def test_Y2_nothing_is_opened_through_a_directory_that_is_open(make):
    world = make.world()
    repo = world.add({"a.bin": fresh_bytes(3 * MIB), "b.txt": b"b", "c.txt": fresh_bytes(50)}, id="evil/one")
    both = world.add({"c.txt": repo.content["c.txt"]}, id="acme/one")
    mount = make.mount(world, "--prefetch", "off", config="ref_ttl = 0\n")
    snapshot = mount.file(repo, "a.bin").parent
    assert (snapshot / "b.txt").read_bytes() == b"b"
    refs = os.open(mount.repo(repo.id) / "refs", os.O_RDONLY)
    folder = os.open(snapshot, os.O_RDONLY)
    blobs = os.open(mount.repo(repo.id) / "blobs", os.O_RDONLY)
    reader = os.open(snapshot / "a.bin", os.O_RDONLY)
    try:
        assert os.pread(reader, 10, 0) == repo.content["a.bin"][:10]
        assert mount.file(both, "c.txt").read_bytes() == both.content["c.txt"]
        replaced(mount, 'ref_ttl = 0\ndeny = ["evil/*"]\n')
        with quiet(world):
            for name in ("a.bin", "b.txt"):
                assert errno_of(os.open, repo.etags[name], os.O_RDONLY, dir_fd=blobs) == errno.ENOENT
                assert errno_of(os.open, name, os.O_RDONLY, dir_fd=folder) == errno.ENOENT
            assert errno_of(os.open, "main", os.O_RDONLY, dir_fd=refs) == errno.ENOENT
            for each in (folder, refs, blobs):
                assert os.listdir(each) == []  # ENOENT to glibc, as for a directory that was removed
            with refuses(errno.ENOENT):
                os.stat("other", dir_fd=refs)
        # What was open is read on; what another has is there.
        assert os.pread(reader, MIB, 2 * MIB) == repo.content["a.bin"][2 * MIB:]
        assert mount.file(both, "c.txt").read_bytes() == both.content["c.txt"]
    finally:
        for each in (refs, folder, blobs, reader):
            os.close(each)


# Who must not make it fetch

def crawl(name, thread, paths, folders):
    """As a process of that name: what it gets of files and folders, in the order asked."""
    def rename(to):
        ctypes.CDLL(None).prctl(15, to.encode(), 0, 0, 0)
    rename(name)
    found = []

    def act():
        if thread:
            rename(thread)
        for path in paths:
            try:
                with open(path, "rb") as file:
                    file.read()
                found.append(0)
            except OSError as error:
                found.append(error.errno)
        for path in folders:
            try:
                os.listdir(path)
                found.append(0)
            except OSError as error:
                found.append(error.errno)
    worker = threading.Thread(target=act)
    worker.start()
    worker.join()
    return found


@pytest.mark.parametrize("setting, name", [(None, "updatedb"), (None, "tracker-miner-f"),
                                           ('no_fetch = ["nightly-backup-of-all"]', "nightly-backup-")])
def test_Y3_a_crawler_makes_nothing_come(make, setting, name):
    world = make.world()
    repo = world.add({"here.bin": fresh_bytes(2 * MIB), "half.bin": fresh_bytes(9 * MIB),
                      "cold.bin": fresh_bytes(3 * MIB)})
    unknown = world.add()
    unread = world.add()
    small = world.add({f"{i}.txt": fresh_bytes(900) for i in range(3)})  # the others come with one that is opened
    mount = make.mount(world, config=setting)
    here, half, cold = (mount.file(repo, path) for path in ("here.bin", "half.bin", "cold.bin"))
    assert here.read_bytes() == repo.content["here.bin"]
    with open(half, "rb") as file:
        assert file.read(10) == repo.content["half.bin"][:10]
    assert (mount.repo(unread.id) / "refs/main").read_text() == unread.commit
    os.stat(mount.file(small, "0.txt"))
    idle(mount)
    with quiet(world):
        assert in_child(crawl, name, "", [mount.file(small, "0.txt")], []) == [errno.EACCES]
        got = in_child(crawl, name, "any-thread", [here, half, cold, mount.file(unknown, "config.json"),
                                                   mount.file(unread, "config.json")],
                       [mount.point, mount.file(repo, "cold.bin").parent, mount.file(unread, "config.json").parent])
        assert got == [0, errno.EACCES, errno.EACCES, errno.ENOENT, errno.ENOENT, 0, 0, errno.EACCES]
    eventually(lambda: f"process {name} of user {os.getuid()} is one of no_fetch" in mount.log(), 5)
    # By its name alone, and nothing of it is remembered for others.
    assert in_child(crawl, "cat", "updatedb", [cold, mount.file(unknown, "config.json"), half], []) == [0, 0, 0]
    assert mount.log().count("is one of no_fetch") == 1


def test_Y3_without_names_nobody_is_held_back(make):
    world = make.world()
    repo = world.add({"a.bin": fresh_bytes(MIB)})
    mount = make.mount(world, config="no_fetch = []\n")
    assert in_child(crawl, "updatedb", "", [mount.file(repo, "a.bin")], []) == [0]


# Budgets

LINE = "user {} is over the budget: {}"


def over(mount, user=None):
    """uid → the limit that is reached, as `user` is told."""
    done = mount.hffs("status", "--state-dir", str(mount.state), "--json", user=user)
    assert done.code == 0, done
    budget = json.loads(done.out)["budget"]
    return budget["users_over"], {each["uid"]: each["over"] for each in budget["users"]}


def read_in_turn(paths, digests):
    """Reads them again and again until told to stop; each must be right."""
    stop = []
    threading.Thread(target=lambda: stop.append(hear()), daemon=True).start()
    rounds = 0
    while not stop or rounds == 0:
        for path, wanted in zip(paths, digests):
            with open(path, "rb") as file:
                assert hashlib.sha256(file.read()).hexdigest() == wanted, path
        rounds += 1
        say(rounds)
    return rounds


@pytest.mark.limit(300)
def test_Y4_a_grep_over_everything_stops_at_the_budget(make, root, quick):
    """One user greps; another one reads what is cold, meanwhile and afterwards."""
    world = make.world()
    count, size, most = (30, 300_000, 3 * MIB) if quick else (100, 300_000, 10 * MIB)
    repos = [world.add({"a.txt": fresh_bytes(size)}, id=f"acme/grep-{i}") for i in range(count)]
    others = [world.add({"b.bin": fresh_bytes(500_000)}, id=f"acme/other-{i}") for i in range(3)]
    late = world.add({"b.bin": fresh_bytes(500_000)}, id="acme/late")
    mount = make.mount(world, "--allow-other", config=f"user_bytes = {most}\n")
    for repo in repos:
        os.stat(mount.file(repo, "a.txt"))
    bob = make.child(read_in_turn, [str(mount.file(each, "b.bin")) for each in others],
                     [digest(each.content["b.bin"]) for each in others], user=BOB)
    bob.heard()
    grep = subprocess.run(["grep", "-Rc", "no such text", *(mount.repo(each.id) / "blobs" for each in repos)],
                          user=ALICE, group=ALICE, extra_groups=[], capture_output=True, text=True, timeout=200,
                          check=False)
    assert grep.returncode == 2 and "Disk quota exceeded" in grep.stderr, grep
    idle(mount)
    fetched = sum(world.content_bytes(repo.etags["a.txt"]) for repo in repos)
    assert most - MIB < fetched <= most, fetched
    lines = [line for line in mount.log().splitlines() if LINE.format(ALICE, most) in line]
    assert len(lines) == 1 and "user_bytes" in lines[0], lines
    # What is here she reads on.
    here = [repo for repo in repos if world.content_bytes(repo.etags["a.txt"])]
    assert set(in_child(read_all, [mount.file(each, "a.txt") for each in here], user=ALICE)) == {0}
    cold = [each for each in repos if each not in here]
    assert set(in_child(read_all, [mount.file(each, "a.txt") for each in cold], user=ALICE)) == {errno.EDQUOT}
    bob.tell("stop")
    assert bob.result() >= 1
    assert in_child(read_whole, mount.file(late, "b.bin"), user=BOB) == digest(late.content["b.bin"])
    assert in_child(read_whole, mount.file(cold[0], "a.txt"), user=BOB) == digest(cold[0].content["a.txt"])
    users = over(mount)
    assert users[0] == 1 and users[1][ALICE] == "user_bytes" and users[1][BOB] is None
    assert over(mount, BOB) == (1, {BOB: None}) and over(mount, ALICE) == (1, {ALICE: "user_bytes"})
    said = mount.hffs("status", "--state-dir", str(mount.state)).out
    assert f"user {ALICE}: " in said and "user_bytes is reached" in said
    assert f"user {ALICE}" not in mount.hffs("status", "--state-dir", str(mount.state), user=BOB).out


def test_Y4_what_is_fetched_ahead_counts(make, root):
    world = make.world()
    repo = world.add({"a.bin": fresh_bytes(40 * MIB)})
    mount = make.mount(world, "--allow-other", "--prefetch", "file", config='user_bytes = "16M"\n')
    path = str(mount.file(repo, "a.bin"))

    def read_some(path, size):
        with open(path, "rb", buffering=0) as file:
            return len(file.read(size))
    assert in_child(read_some, path, 4096, user=ALICE) == 4096
    eventually(lambda: over(mount)[1].get(ALICE) == "user_bytes", 20)
    idle(mount)
    fetched = world.content_bytes(repo.etags["a.bin"])
    assert 8 * MIB < fetched <= 16 * MIB, fetched
    assert in_child(read_all, [path], user=ALICE) == [errno.EDQUOT]
    idle(mount)
    assert world.content_bytes(repo.etags["a.bin"]) <= 16 * MIB
    # Nobody pays for what another has fetched, and who may fetch does.
    assert in_child(read_whole, path, user=0) == digest(repo.content["a.bin"])
    assert in_child(read_whole, path, user=ALICE) == digest(repo.content["a.bin"])


def test_Y4_what_does_not_come_is_not_counted(make, root):
    world = make.world()
    repo = world.add({"a.bin": fresh_bytes(2 * MIB), "b.bin": fresh_bytes(2 * MIB)})
    mount = make.mount(world, "--allow-other", "--prefetch", "off", "--read-deadline", "1",
                       config='user_bytes = "4M"\n')
    paths = [str(mount.file(repo, path)) for path in ("a.bin", "b.bin")]
    os.stat(paths[0])
    with world.hub.faults.add("status", code=503):
        assert in_child(read_all, paths * 2, user=ALICE) == [errno.EIO] * 4
    eventually(lambda: in_child(read_all, paths, user=ALICE) == [0, 0], 20, "her reading, or more was counted,")


def test_Y5_all_together(make, root):
    world = make.world()
    repo = world.add({f"{i}.bin": fresh_bytes(2 * MIB) for i in range(4)})
    mount = make.mount(world, "--allow-other", "--prefetch", "off", config='total_bytes = "4M"\n')
    paths = [str(mount.file(repo, f"{i}.bin")) for i in range(4)]
    assert in_child(read_all, paths[:1], user=ALICE) == [0]
    assert in_child(read_all, paths[1:3], user=BOB) == [0, errno.EDQUOT]
    assert in_child(read_all, paths[:3], user=ALICE) == [0, 0, errno.EDQUOT]
    assert over(mount)[1].items() >= {ALICE: "total_bytes", BOB: "total_bytes"}.items()
    assert read_all(paths) == [0] * 4, "root is refused"


def test_Y6_so_many_questions_in_an_hour(make, root):
    world = make.world()
    repos = [world.add() for _ in range(6)]
    unread = world.add()
    mount = make.mount(world, "--allow-other", config="user_requests = 4\n")
    assert (mount.repo(unread.id) / "refs/main").read_text() == unread.commit
    paths = [str(mount.repo(each.id)) for each in repos]
    assert in_child(errnos_of_stat, paths, user=ALICE) == [0] * 4 + [errno.ENOENT] * 2
    assert len(world.api(repos[4])) == 0

    def listing(path):
        return os.listdir(path)
    with refuses(errno.EDQUOT):
        in_child(listing, mount.file(unread, "config.json").parent, user=ALICE)
    assert in_child(errnos_of_stat, paths, user=BOB) == [0] * 6, "the refusal was remembered for another"
    assert in_child(errnos_of_stat, paths, user=ALICE) == [0] * 6, "what is known costs nothing"
    lines = [line for line in mount.log().splitlines() if LINE.format(ALICE, 4) in line]
    assert len(lines) == 1 and "user_requests" in lines[0]
    assert over(mount)[1][ALICE] == "user_requests"


def test_Y6_who_joins_the_question_of_one_who_may_not_asks_it_himself(make, root):
    """Both ask for the same at the same moment, again and again."""
    world = make.world()
    first = world.add()
    count = 40
    repos = [world.add() for _ in range(count)]
    mount = make.mount(world, "--allow-other", config="user_requests = 1\n")

    def ask(path, paths):
        os.stat(path)
        say("ready")
        hear()
        found = []
        for each in paths:
            try:
                os.stat(each)
                found.append(0)
            except OSError as error:
                found.append(error.errno)
        return found
    paths = [str(mount.repo(each.id)) for each in repos]
    alices = [make.child(ask, str(mount.repo(first.id)), paths, user=ALICE) for _ in range(2)]
    ours = make.child(ask, str(mount.repo(first.id)), paths)
    for each in (*alices, ours):
        each.heard()
    for each in (*alices, ours):
        each.tell()
    assert ours.result() == [0] * count
    for each in alices:
        each.result()


def test_Y11_so_many_questions_of_all_together(make, root):
    world = make.world()
    repos = [world.add() for _ in range(7)]
    mount = make.mount(world, "--allow-other", config="total_requests = 4\n")
    paths = [str(mount.repo(each.id)) for each in repos]
    assert in_child(errnos_of_stat, paths[:1], user=None) == [0], "root's question counts"
    assert in_child(errnos_of_stat, paths[:3], user=ALICE) == [0] * 3
    assert in_child(errnos_of_stat, paths[2:5], user=BOB) == [0, 0, errno.ENOENT]
    assert in_child(errnos_of_stat, paths[:5], user=ALICE) == [0] * 4 + [errno.ENOENT], "what is known costs nothing"
    assert not world.api(repos[4])
    assert over(mount)[1].items() >= {ALICE: "total_requests", BOB: "total_requests"}.items()
    assert mount.status()["budget"]["total_used_requests"] == 4
    for user in (ALICE, BOB):
        lines = [line for line in mount.log().splitlines() if LINE.format(user, 4) in line]
        assert len(lines) == 1 and "total_requests" in lines[0], lines
    assert errnos_of_stat(paths) == [0] * 7, "root is refused"


# What is written

def write_files(folder, names, size):
    os.makedirs(folder, exist_ok=True)
    found = []
    for name in names:
        try:
            with open(f"{folder}/{name}", "wb") as file:
                file.write(bytes(size))
            found.append(0)
        except OSError as error:
            found.append(error.errno)
    return found


def remove_file(path):
    os.unlink(path)


def test_Y7_so_many_files_of_each_user(make, root):
    mount = make.mount(make.world(), "--allow-other", config="user_files = 3\n")
    folder = mount.point / ".locks/a"
    refused = errno.EDQUOT
    assert in_child(write_files, folder, ["1", "2", "3"], 1, user=ALICE) == [0, 0, refused]
    assert in_child(write_files, folder, ["1", "2"], 1, user=BOB) == [0, 0]
    replaced(mount, "user_files = 3\n")
    assert in_child(write_files, folder, ["3"], 1, user=ALICE) == [refused]
    in_child(remove_file, f"{folder}/1", user=ALICE)
    assert in_child(write_files, folder, ["3", "4"], 1, user=ALICE) == [0, refused]
    assert write_files(folder, list("123456"), 1) == [0] * 6, "root is refused"


def test_Y7_so_many_bytes_of_each_user(make, root):
    mount = make.mount(make.world(), "--allow-other", config='user_size = "1M"\n')
    folder = mount.point / ".locks/a"
    assert in_child(write_files, folder, ["1", "2", "3"], 600_000, user=ALICE) == [0, errno.EDQUOT, errno.EDQUOT]
    assert in_child(write_files, folder, ["1"], 600_000, user=BOB) == [0]
    mount.umount()
    mount.remount()
    assert in_child(write_files, folder, ["3"], 600_000, user=ALICE) == [errno.EDQUOT]
    in_child(remove_file, f"{folder}/1", user=ALICE)
    assert in_child(write_files, folder, ["3"], 600_000, user=ALICE) == [0]
    assert write_files(folder, ["1", "2", "3"], 600_000) == [0] * 3, "root is refused"


def test_Y12_so_much_of_all_together(make, root):
    """Each has a directory of his own, which is a name, too."""
    mount = make.mount(make.world(), "--allow-other", config="total_files = 4\n")
    folder, refused = mount.point / ".locks/a", errno.EDQUOT
    assert in_child(write_files, folder, ["1"], 1, user=ALICE) == [0]
    assert in_child(write_files, folder, ["1", "2"], 1, user=BOB) == [0, refused]
    assert in_child(write_files, folder, ["2"], 1, user=ALICE) == [refused]
    in_child(remove_file, f"{folder}/1", user=BOB)
    assert in_child(write_files, folder, ["2", "3"], 1, user=ALICE) == [0, refused]
    assert write_files(folder, list("123456"), 1) == [0] * 6, "root is refused"
    in_child(remove_file, f"{folder}/1", user=ALICE)
    assert in_child(write_files, folder, ["3"], 1, user=ALICE) == [refused], "what root wrote is not counted"
    replaced(mount, 'total_size = "1M"\n')
    assert in_child(write_files, folder, ["4"], 600_000, user=ALICE) == [0]
    assert in_child(write_files, folder, ["4"], 600_000, user=BOB) == [refused]
    in_child(remove_file, f"{folder}/4", user=ALICE)
    assert in_child(write_files, folder, ["4"], 600_000, user=BOB) == [0]
    mount.umount()
    mount.remount()
    assert in_child(write_files, folder, ["4"], 600_000, user=ALICE) == [refused]


# Other settings while it runs

def stays_right(path, wanted, offset, size):
    """Reads of one open file, its digest compared, until told to stop."""
    stop = []
    threading.Thread(target=lambda: stop.append(hear()), daemon=True).start()
    file = os.open(path, os.O_RDONLY)
    rounds = 0
    while not stop:
        data = os.pread(file, size, offset)
        assert hashlib.sha256(data).hexdigest() == wanted, "wrong bytes"
        if rounds == 0:
            say("reads")
        rounds += 1
    return rounds


def is_allowed(mount, world, repos):
    return exists(mount.repo(repos[0].id)), exists(mount.repo(repos[1].id))


def cold_read(mount, world, repos, name="reader"):
    repo = world.add({"a.bin": fresh_bytes(MIB)}, id=f"acme/cold-{next(_serial)}")
    return in_child(crawl, name, "", [mount.file(repo, "a.bin")], [], user=ALICE)


def written(mount, size):
    return in_child(write_files, mount.point / ".locks/k", [next(_serial)], size, user=ALICE)


# Of each key: what it must not be, what it is then, and whether that is to be seen.
KEYS = {
    "allow": ('["models/acme/*"]', '["acme/*"]', lambda *all: is_allowed(*all) == (True, False)),
    "deny": ('"evil/*"', '["evil/*"]', lambda *all: is_allowed(*all) == (True, False)),
    "no_fetch": ('["/usr/bin/updatedb"]', '["my-crawler"]',
                 lambda *all: cold_read(*all, "my-crawler") == [errno.ENOENT]),
    "user_bytes": ('"much"', "0", lambda *all: cold_read(*all) == [errno.EDQUOT]),
    "total_bytes": ("-1", '"1K"', lambda *all: cold_read(*all) == [errno.EDQUOT]),
    "user_requests": ('"10"', "0", lambda *all: cold_read(*all) == [errno.ENOENT]),
    "total_requests": ("-1", "0", lambda *all: cold_read(*all) == [errno.ENOENT]),
    "user_files": ("1.5", "1", lambda mount, *_: written(mount, 1) == [errno.EDQUOT]),
    "total_files": ('"many"', "1", lambda mount, *_: written(mount, 1) == [errno.EDQUOT]),
    "total_size": ("[]", '"5K"', lambda mount, *_: written(mount, 10_000) == [errno.EDQUOT]),
    "anonymous": ('"yes"', "true", lambda mount, *_: mount.status()["anonymous"]),
    "user_size": ("true", '"5K"', lambda mount, *_: written(mount, 10_000) == [errno.EDQUOT]),
}


@pytest.mark.parametrize("key", KEYS)
def test_Y8_a_key_takes_effect_while_files_are_read(make, root, key):
    invalid, valid, effective = KEYS[key]
    world = make.world()
    repos = [world.add({"a.bin": fresh_bytes(3 * MIB)}, id="acme/kept"), world.add(id="evil/one")]
    before = "# a comment\nsync_interval = 0.05\n"
    mount = make.mount(world, "--allow-other", config=before)
    data = repos[0].content["a.bin"]
    reader = make.child(stays_right, str(mount.file(repos[0], "a.bin")), digest(data[:MIB]), 0, MIB, user=ALICE)
    assert reader.heard() == "reads"
    assert not effective(mount, world, repos)
    # One that is wrong changes nothing, and is told with its place.
    worker = mount.worker
    mount.config.write_text(f"{before}{key} = {invalid}\n")
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: "the new worker cannot serve" in mount.log(), 20)
    line = next(each for each in mount.log().splitlines() if "the new worker cannot serve" in each)
    assert f"{mount.config}:3: {key}: " in mount.log(), line
    assert mount.worker == worker and not effective(mount, world, repos)
    replaced(mount, f"{before}{key} = {valid}\n")
    eventually(lambda: effective(mount, world, repos), 5)
    replaced(mount, before)
    eventually(lambda: not effective(mount, world, repos), 5)
    reader.tell("stop")
    assert reader.result() > 0


# Of each key of where it fetches from: what it is, what it must not be, and what it is then.
ORIGIN_KEYS = {
    "endpoints": ('["{hub}"]', '["ftp://{hub}"]', '["{another_hub}"]'),
    "ca_bundle": ('"{bundle}"', "5", '"{another_bundle}"'),
    "offline": ("false", '"yes"', "true"),
}


@pytest.mark.limit(300)
@pytest.mark.parametrize("key", ORIGIN_KEYS)
def test_K5_Y8_another_origin_takes_effect_while_files_are_read(make, root, key):
    secure = key == "ca_bundle"
    world, another = make.world(tls=secure, nginx=secure), make.world()
    words = {"hub": world.endpoint, "another_hub": another.endpoint, "bundle": world.hub.ca_file,
             "another_bundle": certs.make(make.folder() / "tls").authority}
    valid, invalid, other = (f"{key} = {value.format(**words)}\n" for value in ORIGIN_KEYS[key])
    before = "# a comment\nsync_interval = 0.05\n"
    where = "" if key == "endpoints" else f'endpoints = ["{world.endpoint}"]\n'
    env = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    repo = world.add({"a.bin": fresh_bytes(3 * MIB)})
    mount = make.mount(world, "--allow-other", endpoints=[], env=env, config=before + valid + where)
    reader = make.child(stays_right, str(mount.file(repo, "a.bin")), digest(repo.content["a.bin"][:MIB]), 0, MIB, user=ALICE)
    assert reader.heard() == "reads"

    def reads(hub):
        cold = hub.add({"a.bin": fresh_bytes(MIB)}, id=f"acme/cold-{next(_serial)}")
        return in_child(read_all, [mount.file(cold, "a.bin")], user=ALICE) == [0]
    assert reads(world) and not (key == "endpoints" and reads(another))
    worker = mount.worker
    mount.config.write_text(before + invalid + where)
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: "the new worker cannot serve" in mount.log(), 20)
    assert f"{mount.config}:3: {key}: " in mount.log() and mount.worker == worker and reads(world)
    replaced(mount, before + other + where)
    assert not reads(world) and reads(another) == (key == "endpoints")
    replaced(mount, before + valid + where)
    eventually(lambda: reads(world), 10)
    reader.tell("stop")
    assert reader.result() > 0


# No token at all

def names_in(folder):
    return os.listdir(folder)


@pytest.mark.limit(300)
def test_Y10_no_token_is_sent_and_what_is_private_is_gone_while_others_read(make, root):
    """The daemon's own, one that was given, one that lies about: with it, without it, and with it again."""
    world = make.world()
    users = {0: "root", ALICE: "alice", BOB: "bob"}
    tokens = {user: world.hub.add_user(name) for user, name in users.items()}
    hidden = world.add({"a.txt": b"hidden"}, private=True, allowed=list(users.values()))
    gated = world.add({"a.txt": b"gated"}, gated="auto", granted=[])
    public = world.add({"a.bin": fresh_bytes(3 * MIB)})
    before = "access_ttl = 0.3\nref_ttl = 0\n"
    mount = make.mount(world, "--allow-other", env={"HF_TOKEN": tokens[0]}, config=before)
    where = ("--mount", mount.point, "--token-file", "-")

    def login(user):
        return Run(subprocess.run([HFFS, "login", *map(str, where)], input=tokens[user], user=user, group=user, extra_groups=[],
                                  capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin"}, cwd="/", check=False))

    def gets(user, repo=hidden):
        words = {} if user != ALICE else {"prefix": ["env", f"HF_TOKEN={tokens[ALICE]}"]}
        [found] = in_child(read_all, [mount.file(repo, "a.txt")], user=user or None, **words)
        return found
    assert login(BOB).code == 0
    assert [gets(user) for user in users] == [0, 0, 0]
    reader = make.child(stays_right, str(mount.file(public, "a.bin")), digest(public.content["a.bin"][:MIB]), 0, MIB, user=ALICE)
    assert reader.heard() == "reads"
    replaced(mount, before + "anonymous = true\n")
    idle(mount)
    asked = len(world.asked())
    eventually(lambda: not exists(mount.repo(hidden.id)), 5)
    assert [gets(user) for user in users] == [errno.ENOENT] * 3
    assert [gets(user, gated) for user in users] == [errno.EACCES] * 3
    assert mount.repo(hidden.id).name not in in_child(names_in, mount.point, user=BOB)
    cold = world.add({"a.txt": b"cold"})
    assert [gets(user, cold) for user in users] == [0, 0, 0]
    refused = login(BOB)
    assert refused.code == 15 and "sends no token" in refused.err, refused
    assert len(world.asked()) > asked and not [each for each in world.asked()[asked:] if each.token]
    told = mount.hffs("explain", mount.file(hidden, "a.txt"), "--state-dir", str(mount.state), user=BOB)
    assert told.code == 3 and "no token is sent, as `anonymous`" in told.out + told.err, told
    assert "none is sent" in mount.hffs("status", "--state-dir", str(mount.state), user=BOB).out
    assert mount.status()["anonymous"] is True
    replaced(mount, before)
    eventually(lambda: [gets(user) for user in users] == [0, 0, 0], 30)
    reader.tell("stop")
    assert reader.result() > 0


# Through which proxy

@pytest.mark.limit(300)
def test_Y13_the_proxy_of_the_file_goes_before_the_environment_s_while_others_read(make, root):
    world = make.world(tls=True)
    proxy = Proxy()
    dead = "http://me:secret@127.0.0.1:9"
    where = f'proxy = "{proxy.origin.replace("//", "//me:secret@")}"\n'
    mount = make.mount(world, "--allow-other", env={"HTTPS_PROXY": dead, "NO_PROXY": None, "no_proxy": None}, config=where)
    # The byte store of that Hub has no TLS: what the Hub itself serves.
    repo = world.add({"a.txt": fresh_bytes(3000)})
    reader = make.child(stays_right, str(mount.file(repo, "a.txt")), digest(repo.content["a.txt"]), 0, 3000, user=ALICE)
    assert reader.heard() == "reads"

    def reads():
        """What of it the proxy heard; nothing: it could not be read."""
        cold, before = world.add({"a.txt": fresh_bytes(100)}), len(proxy.heard)
        [found] = in_child(read_all, [mount.file(cold, "a.txt")], user=ALICE)
        return None if found else {each.method for each in proxy.heard[before:]}
    assert {each.method for each in proxy.heard} == {"CONNECT"} and reads() is not None
    told = mount.hffs("config", "check", mount.config)
    assert f'proxy = "{proxy.origin.removeprefix("http://")}"  # file' in told.out, told
    doctor = mount.hffs("doctor", mount.point, "--config", mount.config)
    assert "as `proxy` in the configuration says" in doctor.out, doctor
    worker = mount.worker
    mount.config.write_text('# a comment\nproxy = "ftp://me:secret@proxy:1"\n')
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: "the new worker cannot serve" in mount.log(), 20)
    assert f"{mount.config}:2: proxy: must be " in mount.log() and mount.worker == worker
    for wrong in ('"me:secret@proxy:1"', '"http://me:secret@proxy"', '"http://me:secret@:1"', '"http://me:secret@proxy:x"', "5",
                  '"http://me:secret@a:b:1"', '"http://x/me:secret@proxy:1"', '"http://me:secret@ proxy:1"', "true"):
        mount.config.write_text(f"proxy = {wrong}\n")
        done = mount.hffs("config", "check", mount.config)
        assert done.code == 2 and f"{mount.config}:1: proxy: must be " in done.err and "secret" not in done.err, done
    for right in ('"socks5h://[::1]:1080"', '"https://proxy.lab:3128/"', '"socks5://u:w@10.0.0.1:1"'):
        mount.config.write_text(f"proxy = {right}\n")
        assert mount.hffs("config", "check", mount.config).code == 0, right
    mount.config.write_text('no_proxy = "localhost"\n')
    assert "no_proxy: must be a list of names" in mount.hffs("config", "check", mount.config).err
    # None, or not for this one, whatever the environment says; then the environment's, which is dead; and back.
    for config in ('proxy = ""\n', where + 'no_proxy = ["127.0.0.0/8", "localhost"]\n'):
        replaced(mount, config)
        assert reads() == set(), config
    replaced(mount, "# nothing\n")
    assert reads() is None
    heard = len(proxy.heard)
    replaced(mount, where)
    eventually(lambda: reads() is not None, 10)
    assert len(proxy.heard) > heard
    reader.tell("stop")
    assert reader.result() > 0
    said = mount.log() + told.out + doctor.out + doctor.err + mount.hffs("status", "--state-dir", str(mount.state), "--json").out
    assert "secret" not in said
    proxy.close()


def test_Y9_the_settings_and_where_they_come_from(make):
    folder = make.folder()
    file, token = folder / "config.toml", folder / "token"
    token.write_text("hf_fromthefile")
    file.write_text(f'token_file = "{token}"\nmax_size = "1G"\nref_ttl = 5\nverify = "strict"\nallow = ["acme/*"]\n'
                    'deny = ["datasets/acme/x"]\nuser_bytes = "off"\nuser_files = 7\nread_deadline = 3\n')
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_ENDPOINT": "http://127.0.0.1:9/"}
    done = hffs("config", "check", file, "--json", "--read-deadline", "4", "--allow-other", env=env)
    assert done.code == 0, done
    said = json.loads(done.out)
    assert said["file"] == str(file)
    found = {name: (each["value"], each["source"], each["from"]) for name, each in said["settings"].items()}
    in_file = ("file", str(file))
    for name, wanted in {"endpoints": (["http://127.0.0.1:9"], "env", "HF_ENDPOINT"), "token": (True, *in_file),
                         "max_size": (1 << 30, *in_file), "ref_ttl": (5, *in_file), "verify": ("strict", *in_file),
                         "read_deadline": (4, "flag", "--read-deadline"), "allow": (["acme/*"], *in_file),
                         "allow_other": (True, "flag", "--allow-other"), "deny": (["datasets/acme/x"], *in_file),
                         "user_bytes": ("off", *in_file), "user_files": (7, *in_file), "scrub": (30, "default", None),
                         "total_bytes": ("off", "default", None), "total_requests": ("off", "default", None),
                         "total_size": ("off", "default", None), "anonymous": (False, "default", None),
                         "proxy": (None, "default", None), "user_requests": (10_000, "default", None),
                         "user_size": (256 << 30, "default", None), "prefetch": ("adaptive", "default", None)}.items():
        assert found[name] == wanted, name
    assert "updatedb" in found["no_fetch"][0] and found["no_fetch"][1] == "default"
    plain = hffs("config", "check", file, env=env | {"HF_TOKEN": "hf_fromoutside"})
    assert plain.code == 0, plain
    assert "ref_ttl = 5.0  # file " + str(file) in plain.out and "token = true  # env HF_TOKEN" in plain.out
    assert "hf_from" not in plain.out + plain.err + done.out + done.err, "a secret is printed"
    # Every key of the file is told; one that is wrong is named.
    file.write_text("unheard_of = 1\n")
    known = hffs("config", "check", file, env=env).err.split("the keys are: ")[1].split(";")[0].split(", ")
    assert "allow" in known and set(known) - {"token_file"} <= set(found)
    file.write_text('ref_ttl = 5\n\nuser_bytes = "much"\n')
    wrong = hffs("config", "check", file, "--json", env=env)
    assert wrong.code == 2 and f"{file}:3: user_bytes: must be a size" in wrong.err and not wrong.out, wrong
    assert hffs("config", "check", folder / "missing.toml", env=env).code == 2
    assert hffs("config", "check", env=env | {"HF_ENDPOINT": "ftp://x"}).code == 2


def write_refs(folder, count):
    for number in range(count):
        with open(f"{folder}/made-{number}", "w") as file:
            file.write("x")
    return count


def test_Y6_writing_refs_asks_the_hub_so_often_and_no_more(make, root):
    world = make.world()
    mount = make.mount(world, "--allow-other")
    repo = world.add()
    os.stat(mount.repo(repo.id) / "refs/main")
    before = len(world.asked(kind="info"))
    assert in_child(write_refs, mount.repo(repo.id) / "refs", 300, user=ALICE) == 300
    # Each name is looked up before it is made; what is asked for after the writes is bounded.
    assert len(world.asked(kind="info")) - before <= 300 + 130
