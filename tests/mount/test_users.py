# SPDX-License-Identifier: Apache-2.0
"""Many users on one mount: docs/SEMANTICS.md, Users (U1…). Real uids, each with a token of its own."""
import argparse
import errno
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from hub.nginx import free_port
from lab import BOB, HFFS, MIB, Run, eventually, in_child
from world import fresh_bytes

ALICE, CAROL, DAVE, ERIN = 12345, 12346, 12347, 12348
NAMES = {ALICE: "alice", BOB: "bob", DAVE: "dave", ERIN: "erin"}


def as_user(function, *args, user, token=None, env=(), timeout=60):
    """The function in a process of the user's, which has the token as HF_TOKEN."""
    words = [f"{name}={value}" for name, value in dict(env).items()]
    if token:
        words.append(f"HF_TOKEN={token}")
    return in_child(function, *args, user=user, prefix=["env", *words], timeout=timeout)


def look(path):
    """errno of a stat, or the names or the first bytes."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return sorted(os.listdir(path))
        with open(path, "rb") as file:
            return file.read(20).hex()
    except OSError as error:
        return error.errno


@pytest.fixture
def server(root, make):
    return Server(make)


class Server:
    """A mount for all of a machine's users, and what they are on the Hub."""

    def __init__(self, make, config="access_ttl = 0.3\n", **options):
        self.make, self.world = make, make.world(**options)
        self.tokens = {user: self.world.hub.add_user(name) for user, name in NAMES.items()}
        self.mount = make.mount(self.world, "--allow-other", config=config)

    def sees(self, user, path, token="own", **options):
        own = self.tokens.get(user) if token == "own" else token
        return as_user(look, path, user=user or None, token=own, **options)

    def add(self, **options):
        return self.world.add({"config.json": fresh_bytes(300), "model.bin": fresh_bytes(3 * MIB)}, **options)

    def private(self, *readers, **options):
        return self.add(private=True, allowed=[NAMES[user] for user in readers], **options)

    def dir(self, repo):
        return self.mount.repo(repo.id, repo.type)


def hex_of(repo, path):
    return repo.content[path][:20].hex()


def test_U1_what_is_public_needs_no_token_and_gets_none(server):
    repo = server.add()
    for user in (ALICE, CAROL, 0):
        assert server.sees(user, server.mount.file(repo, "config.json")) == hex_of(repo, "config.json")
    assert server.sees(BOB, server.mount.file(repo, "model.bin")) == hex_of(repo, "model.bin")
    assert not [each for each in server.world.asked() if each.token]
    assert len(server.world.api(repo)) <= 2


WAYS = {
    "directory": lambda server, repo: server.dir(repo),
    "ref": lambda server, repo: server.dir(repo) / "refs/main",
    "snapshot": lambda server, repo: server.dir(repo) / "snapshots" / repo.commit,
    "file": lambda server, repo: server.mount.file(repo, "config.json"),
    "blob": lambda server, repo: server.mount.blob(repo, "model.bin"),
    "no_exist": lambda server, repo: server.dir(repo) / ".no_exist" / repo.commit / "no.json",
    "trees": lambda server, repo: server.dir(repo) / "trees",
    "locks": lambda server, repo: server.dir(repo) / "blobs",
}


def walk_in(path, ways):
    """Through a directory that the caller has open: what of it can be opened."""
    found = {}
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    say("open")
    hear()
    for name in ways:
        try:
            handle = os.open(name, os.O_RDONLY, dir_fd=directory)
            found[name] = os.read(handle, 20).hex()
            os.close(handle)
        except OSError as error:
            found[name] = error.errno
    try:
        found["."] = len(os.listdir(directory))
    except OSError as error:
        found["."] = error.errno
    try:
        found["/proc"] = len(os.listdir(f"/proc/self/fd/{directory}"))
    except OSError as error:
        found["/proc"] = error.errno
    return found


@pytest.mark.parametrize("way", WAYS)
def test_U2_a_private_repository_is_there_for_who_may_read_it_alone(server, way):
    repo = server.private(ALICE)
    path = WAYS[way](server, repo)
    assert server.sees(BOB, path) == errno.ENOENT, "before anybody has asked"
    mine = server.sees(ALICE, path)
    assert not isinstance(mine, int), errno.errorcode.get(mine, mine)
    # And now that the kernel and the index have it, too.
    for user in (BOB, CAROL, DAVE, 0):
        assert server.sees(user, path) == errno.ENOENT, user
    assert server.sees(ALICE, path) == mine


@pytest.mark.parametrize("type", ["dataset", "space", "kernel"])
def test_U2_of_every_type(server, type):
    repo = server.private(ALICE, type=type)
    path = server.mount.file(repo, "config.json")
    assert server.sees(ALICE, path) == hex_of(repo, "config.json")
    for user in (BOB, CAROL, 0):
        assert server.sees(user, path) == errno.ENOENT


def test_U2_it_is_not_listed(server):
    mine, public = server.private(ALICE), server.add()
    for repo in (mine, public):
        server.sees(ALICE, server.dir(repo))
    name = server.dir(mine).name
    assert name in server.sees(ALICE, server.mount.point)
    for user in (BOB, CAROL, 0):
        listed = server.sees(user, server.mount.point)
        assert name not in listed and server.dir(public).name in listed


def test_U2_not_by_its_blobs_name_in_another_repository(server):
    mine, public = server.private(ALICE), server.add()
    assert server.sees(ALICE, server.mount.file(mine, "model.bin")) == hex_of(mine, "model.bin")
    server.sees(BOB, server.dir(public) / "snapshots" / public.commit)
    for user in (ALICE, BOB):
        assert server.sees(user, server.dir(public) / "blobs" / mine.etags["model.bin"]) == errno.ENOENT


@pytest.mark.parametrize("what", ["ref", "snapshot", "branch that goes"])
def test_U2_a_revision_that_is_not_there_opens_nothing(server, what):
    """That the Hub has no such revision says nothing of who may see the rest."""
    repo = server.private(ALICE)
    path = server.mount.file(repo, "config.json")
    server.sees(ALICE, path)
    if what == "branch that goes":
        server.world.hub.add_branch(repo.name, "old")
        server.sees(ALICE, server.dir(repo) / "refs/old")
        server.world.hub.delete_ref(repo.name, "branch", "old")
    missing = {"ref": "refs/typo", "snapshot": "snapshots/v9", "branch that goes": "refs/old"}[what]
    for _ in range(3):
        server.sees(ALICE, server.dir(repo) / missing)
        for user in (BOB, CAROL, 0):
            assert server.sees(user, path) == errno.ENOENT
    server.mount.umount()
    server.mount.remount()
    assert server.sees(BOB, path) == errno.ENOENT, "in the next process"
    assert server.sees(ALICE, path) == hex_of(repo, "config.json")


@pytest.mark.parametrize("kind", ["public", "private", "gated"])
def test_U1_U2_a_repository_without_main(server, kind):
    options = {"public": {}, "private": dict(private=True, allowed=["alice"]), "gated": dict(gated="auto", granted=["alice"])}
    repo = server.add(**options[kind])
    server.world.hub.add_branch(repo.name, "other")
    server.world.hub.delete_ref(repo.name, "branch", "main")
    path = server.mount.file(repo, "config.json")
    other = hex_of(repo, "config.json") if kind == "public" else errno.ENOENT
    for user in (CAROL, BOB):
        found = server.sees(user, path)
        assert found == other or (kind == "gated" and found == errno.EACCES), found
    assert server.sees(ALICE, path) == hex_of(repo, "config.json")
    assert server.sees(CAROL, path) in (other, errno.EACCES if kind == "gated" else other)


def test_U2_one_content_of_two_repositories(server):
    """Who may read it in the public one may, wherever its bytes came from."""
    data = fresh_bytes(2 * MIB)
    mine = server.world.add({"m.bin": data}, private=True, allowed=["alice"])
    public = server.world.add({"m.bin": data})
    assert server.sees(ALICE, server.mount.file(mine, "m.bin")) == data[:20].hex()
    assert server.sees(BOB, server.mount.file(public, "m.bin")) == data[:20].hex()
    assert server.sees(BOB, server.mount.file(mine, "m.bin")) == errno.ENOENT


@pytest.mark.parametrize("how", ["revoked", "left out", "logged out"])
def test_U4_nothing_opens_through_a_directory_that_is_open(server, how):
    repo = server.private(ALICE, DAVE)
    folder = server.dir(repo) / "blobs"
    ways = sorted(repo.etags.values())
    token = server.tokens[DAVE]
    env = {} if how == "logged out" else {"HF_TOKEN": token}
    if how == "logged out":
        assert login(server, DAVE, token).code == 0
    server.sees(ALICE, server.mount.file(repo, "model.bin"))
    inside = server.make.child(walk_in, folder, ways, user=DAVE, prefix=["env", *(f"{k}={v}" for k, v in env.items())])
    assert inside.heard() == "open"
    if how == "revoked":
        server.world.hub.revoke_token(token)
    elif how == "left out":
        server.world.hub.set_private(repo.name, True, allowed=["alice"])
    else:
        assert server.mount.hffs("logout", "--mount", server.mount.point, user=DAVE).code == 0
    if how != "logged out":
        eventually(lambda: server.sees(DAVE, server.dir(repo)) == errno.ENOENT, 10, "the end of the verdict")
    inside.tell()
    found = inside.result()
    listed = [found.pop("."), found.pop("/proc")]
    assert set(found.values()) == {errno.ENOENT}, found
    assert set(listed) <= {0, errno.ENOENT}, listed
    assert server.sees(ALICE, server.mount.file(repo, "model.bin")) == hex_of(repo, "model.bin")


def hold(path):
    with open(path, "rb") as file:
        head = file.read(20).hex()
        say(head)
        hear()
        file.seek(0)
        return file.read(20).hex() == head


def test_U4_open_files_stay_open(server):
    repo = server.private(ALICE, DAVE)
    path = server.mount.file(repo, "model.bin")
    holder = server.make.child(hold, path, user=DAVE, prefix=["env", f"HF_TOKEN={server.tokens[DAVE]}"])
    assert holder.heard() == hex_of(repo, "model.bin")
    server.world.hub.revoke_token(server.tokens[DAVE])
    eventually(lambda: server.sees(DAVE, path) == errno.ENOENT, 10)
    holder.tell()
    assert holder.result()


def read_later(path):
    """One byte of what is not here yet."""
    with open(path, "rb", buffering=0) as file:
        say("open")
        hear()
        try:
            os.pread(file.fileno(), 1, 2 << 20)
            return 0
        except OSError as error:
            return error.errno


@pytest.mark.parametrize("refusal", [401, 403])
def test_U4_a_token_that_is_refused_ends_the_verdict_at_once(root, make, refusal):
    """Long before its time is over: in the middle of reading."""
    server = Server(make, config="access_ttl = 600\n")
    repo = server.private(DAVE) if refusal == 401 else server.add(gated="manual", granted=["dave"])
    head, path = server.mount.file(repo, "config.json"), server.mount.file(repo, "model.bin")
    assert server.sees(DAVE, head) == hex_of(repo, "config.json")
    reader = server.make.child(read_later, path, user=DAVE, prefix=["env", f"HF_TOKEN={server.tokens[DAVE]}"])
    assert reader.heard() == "open"
    if refusal == 401:
        server.world.hub.revoke_token(server.tokens[DAVE])
    else:
        server.world.hub.set_gated(repo.name, "manual", granted=["alice"])
    assert server.sees(DAVE, head) == hex_of(repo, "config.json"), "nobody has heard of it"
    reader.tell()
    assert reader.result(30) in (errno.EIO, errno.EACCES)
    assert server.sees(DAVE, head) == (errno.ENOENT if refusal == 401 else errno.EACCES)
    if refusal == 403:
        assert server.sees(ALICE, path) == hex_of(repo, "model.bin")


def test_U4_a_verdict_is_believed_for_its_time(root, make):
    server = Server(make, config="access_ttl = 600\n")
    repo = server.private(ALICE)
    path = server.mount.file(repo, "config.json")
    server.sees(ALICE, path)
    asked = len(server.world.api(repo))
    for _ in range(5):
        assert server.sees(ALICE, path) == hex_of(repo, "config.json")
    assert len(server.world.api(repo)) == asked


def test_U3_gated(server):
    repo = server.add(gated="manual", granted=["alice"])
    path = server.mount.file(repo, "config.json")
    for user in (BOB, CAROL, 0):
        assert server.sees(user, path) == errno.EACCES, user
    assert server.sees(ALICE, path) == hex_of(repo, "config.json")
    for user in (BOB, CAROL, 0):
        assert server.sees(user, path) == errno.EACCES, user
        assert server.sees(user, server.mount.blob(repo, "config.json")) == errno.EACCES, user
    assert f"{repo.id} is gated and user {BOB} has not been let in: ask for it at" in server.mount.log()
    server.world.hub.set_gated(repo.name, "manual", granted=["alice", "bob"])
    eventually(lambda: server.sees(BOB, path) == hex_of(repo, "config.json"), 10, "being let in")
    assert server.sees(CAROL, path) == errno.EACCES


def login(server, user, token, *words):
    done = subprocess.run(
        [HFFS, "login", "--mount", server.mount.point, "--token-file", "-", *words],
        input=token, user=user, group=user, extra_groups=[], capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}, cwd="/")
    return Run(done)


def test_U5_login_and_logout(server):
    repo = server.private(ERIN)
    path = server.mount.file(repo, "config.json")
    assert server.sees(ERIN, path, token=None) == errno.ENOENT
    done = login(server, ERIN, server.tokens[ERIN] + "\n")
    assert done.code == 0 and "logged in as erin" in done.out, done
    assert server.sees(ERIN, path, token=None) == hex_of(repo, "config.json")
    for user in (CAROL, 0):
        assert server.sees(user, path, token=None) == errno.ENOENT
    done = server.mount.hffs("logout", "--mount", server.mount.point, user=ERIN)
    assert done.code == 0 and "logged out" in done.out
    assert server.sees(ERIN, path, token=None) == errno.ENOENT, "at once"
    done = server.mount.hffs("logout", "--mount", server.mount.point, user=ERIN)
    assert done.code == 0 and "not logged in" in done.out


def test_U5_it_outlives_the_daemon_and_is_seen_by_nobody(server):
    repo = server.private(ERIN)
    path = server.mount.file(repo, "config.json")
    token = server.tokens[ERIN]
    assert login(server, ERIN, token).code == 0
    kept = server.mount.state / "hffs-v1/tokens"
    assert kept.stat().st_mode & 0o777 == 0o700 and (kept / str(ERIN)).stat().st_mode & 0o777 == 0o600
    assert in_child(look, kept / str(ERIN), user=CAROL) == errno.EACCES
    server.mount.umount()
    server.mount.remount()
    assert server.sees(ERIN, path, token=None) == hex_of(repo, "config.json")
    for file in (server.mount.state / "hffs-v1").rglob("*"):
        if file.is_file() and file != kept / str(ERIN):
            assert token.encode() not in file.read_bytes(), file
    assert token not in server.mount.log()
    assert token not in server.mount.hffs("status", "--json", "--state-dir", server.mount.state).out


def test_U5_what_is_no_token(server):
    repo = server.private(ERIN)
    for text, code in (("hf_nobody", 5), ("", 2), ("hf_two\nlines", 2), ("hf_\x01", 2), ("h" * 5000, 2)):
        done = login(server, ERIN, text)
        assert done.code == code, (text[:20], done)
    assert not (server.mount.state / "hffs-v1/tokens" / str(ERIN)).exists()
    assert server.sees(ERIN, server.dir(repo), token=None) == errno.ENOENT


def test_U5_one_that_cannot_be_checked_is_kept(server):
    server.mount.umount()
    server.mount.remount("--offline")
    done = login(server, ERIN, server.tokens[ERIN])
    assert done.code == 0 and "could not be asked" in done.out, done


def home_of(folder, user, token, mode=0o600):
    (folder / "huggingface").mkdir(parents=True)
    file = folder / "huggingface/token"
    file.write_text(token + "\n")
    file.chmod(mode)
    for each in (folder, folder / "huggingface", file):
        os.chown(each, user, user)
    return file


@pytest.mark.parametrize("variable", ["HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"])
def test_U6_the_token_is_found_where_clients_find_it(server, tmp_path_factory, variable):
    repo = server.private(ALICE)
    folder = server.mount.box / "home-of-alice"
    file = home_of(folder, ALICE, server.tokens[ALICE])
    value = {"HF_TOKEN_PATH": file, "HF_HOME": folder / "huggingface", "XDG_CACHE_HOME": folder}[variable]
    path = server.mount.file(repo, "config.json")
    assert server.sees(CAROL, path, env={variable: value}) == errno.ENOENT, "another user's file"
    assert server.sees(ALICE, path, token=None, env={variable: value}) == hex_of(repo, "config.json")


def test_U6_in_the_home_directory(server):
    """That of the user database; this one is nobody's."""
    home = Path("/nonexistent")
    if home.exists():
        pytest.skip(f"{home} exists here")
    repo = server.private(BOB)
    try:
        home_of(home / ".cache", BOB, server.tokens[BOB])
        assert server.sees(BOB, server.mount.file(repo, "config.json"), token=None) == hex_of(repo, "config.json")
    finally:
        shutil.rmtree(home)


def test_U6_not_where_the_admin_says_so(root, make):
    server = Server(make, config='user_tokens = "login"\naccess_ttl = 0.3\n')
    repo = server.private(ALICE)
    path = server.mount.file(repo, "config.json")
    assert server.sees(ALICE, path) == errno.ENOENT
    assert login(server, ALICE, server.tokens[ALICE]).code == 0
    assert server.sees(ALICE, path, token=None) == hex_of(repo, "config.json")


@pytest.mark.parametrize("what", ["fifo", "directory", "device", "long", "control", "link"])
def test_U6_what_else_may_lie_there(server, what):
    """A user's own file can at most leave him without a token; it is read with his rights."""
    repo, secret = server.private(ALICE), server.private(ERIN)
    folder = server.mount.box / "odd"
    folder.mkdir()
    folder.chmod(0o755)
    file = folder / "token"
    if what == "fifo":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()
    elif what == "device":
        file.symlink_to("/dev/zero")
    elif what == "long":
        file.write_text("h" * 100_000)
    elif what == "control":
        file.write_text("hf_a\r\nX-Evil: 1")
    else:
        kept = home_of(server.mount.box / "erins", ERIN, server.tokens[ERIN])
        file.symlink_to(kept)
    began = time.monotonic()
    assert server.sees(ALICE, server.dir(secret), token=None, env={"HF_TOKEN_PATH": file}) == errno.ENOENT
    assert time.monotonic() - began < 8
    assert server.sees(ERIN, server.mount.file(secret, "config.json")) == hex_of(secret, "config.json")
    eventually(lambda: server.sees(ALICE, server.mount.file(repo, "config.json")) == hex_of(repo, "config.json"), 40)


def test_U7_a_home_that_hangs_delays_its_owner_alone(server, make):
    """A file system that does not answer, in the place of a home."""
    hung = make.world()
    lost = hung.add({"token": fresh_bytes(40)})
    home = make.mount(hung, "--allow-other")
    os.stat(home.file(lost, "token"))
    mine, public = server.private(ERIN), server.add()
    server.sees(ERIN, server.mount.file(mine, "config.json"))
    with hung.hub.faults.add("stall", on=("resolve", "content")):
        stuck = server.make.child(look, server.dir(server.private(ALICE)), user=ALICE,
                      prefix=["env", f"HF_TOKEN_PATH={home.file(lost, 'token')}"])
        time.sleep(0.2)
        began = time.monotonic()
        assert server.sees(ERIN, server.mount.file(mine, "config.json")) == hex_of(mine, "config.json")
        assert server.sees(CAROL, server.mount.file(public, "config.json")) == hex_of(public, "config.json")
        assert server.sees(CAROL, server.dir(mine)) == errno.ENOENT
        assert time.monotonic() - began < 2.5, "others have waited"
        assert stuck.result(30) == errno.ENOENT
    assert f"the token of user {ALICE} could not be read in time" in server.mount.log()


def test_U8_what_the_hub_said_last_holds(server):
    repo = server.private(ALICE)
    path = server.mount.file(repo, "config.json")
    assert server.sees(ALICE, path) == hex_of(repo, "config.json")
    server.world.hub.down()
    time.sleep(1)  # twice the verdict's time
    assert server.sees(ALICE, path) == hex_of(repo, "config.json")
    for user in (BOB, CAROL, 0):
        assert server.sees(user, path) == errno.ENOENT
    server.mount.umount()
    server.mount.remount()
    assert server.sees(ALICE, path) == hex_of(repo, "config.json"), "from an earlier process"
    for user in (BOB, CAROL):
        assert server.sees(user, path) == errno.ENOENT
    server.mount.umount()
    server.mount.remount("--offline")
    assert server.sees(ALICE, path) == hex_of(repo, "config.json"), "offline"
    assert server.sees(BOB, path) == errno.ENOENT


def test_U9_root_has_its_own_token_alone(root, make):
    world = make.world()
    token = world.hub.add_user("alice")
    mount = make.mount(world, "--allow-other", env={"HF_TOKEN": token}, config="access_ttl = 0.3\n")
    repo = world.add({"config.json": fresh_bytes(300)}, private=True, allowed=["alice"])
    path = mount.file(repo, "config.json")
    want = repo.content["config.json"][:20].hex()
    assert in_child(look, path) == want, "the daemon's token is root's"
    for user in (ALICE, BOB):
        assert in_child(look, path, user=user) == errno.ENOENT
        assert mount.repo(repo.id).name not in in_child(look, mount.point, user=user)


def test_U9_root_does_not_log_in(server):
    """Everybody who is uid 0 in a container would have it."""
    done = login(server, 0, server.tokens[ALICE])
    assert done.code == 15 and "token_file" in done.err, done
    assert server.sees(0, server.dir(server.private(ALICE))) == errno.ENOENT


def test_U9_not_even_the_one_that_root_s_program_has(server):
    repo = server.private(ALICE)
    assert server.sees(0, server.dir(repo), token=server.tokens[ALICE]) == errno.ENOENT


def test_U10_the_time_does_not_tell(root, make, quick):
    """Of names that are another's, and of names that are not there."""
    server = Server(make, config="access_ttl = 600\n")
    mine = [server.private(ALICE, id=f"acme/private-{i:02}") for i in range(20)]
    for repo in mine:
        assert not isinstance(server.sees(ALICE, server.dir(repo)), int)

    def measure(root_of, rounds):
        times = {"private": [], "nothing": []}
        names = [("private", f"models--acme--private-{i:02}") for i in range(20)]
        names += [("nothing", f"models--acme--nothing-{i:02}") for i in range(20)]
        for kind, name in names:
            try:
                os.stat(f"{root_of}/{name}")
                raise AssertionError(name)
            except FileNotFoundError:
                pass
        for _ in range(rounds):
            random.shuffle(names)
            for kind, name in names:
                began = time.perf_counter_ns()
                try:
                    os.stat(f"{root_of}/{name}")
                except FileNotFoundError:
                    pass
                times[kind].append(time.perf_counter_ns() - began)
        return {kind: sorted(found)[len(found) // 2] for kind, found in times.items()}

    rounds = 50 if quick else 500
    # What a machine of two processors makes of it: the nearest of three is what is told apart, if anything is.
    ratios = []
    for _ in range(3):
        for user, token in ((CAROL, None), (BOB, server.tokens[BOB])):
            found = as_user(measure, server.mount.point, rounds, user=user, token=token)
            ratios.append((user, found["private"] / found["nothing"]))
    for user in (CAROL, BOB):
        mine = [ratio for each, ratio in ratios if each == user]
        assert 0.95 < statistics.median(mine) < 1.05, ratios


def test_U11_a_user_s_token_goes_with_his_repositories_alone(root, make):
    server = Server(make, nginx=True)
    mine, public = server.private(ALICE), server.add()
    for repo in (mine, public):
        for path in repo.content:
            assert server.sees(ALICE, server.mount.file(repo, path)) == hex_of(repo, path)
    with_token = [each for each in server.world.asked() if each.token]
    assert with_token and {each.repo for each in with_token} == {mine.id}
    assert server.world.hub.origin_requests() and not any(each.token for each in server.world.hub.origin_requests())
    assert server.tokens[ALICE] not in server.mount.log()


def fetch(port, path):
    """What a page answers to this user."""
    import urllib.error
    import urllib.request
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_U11_T4_no_answer_has_a_token(root, make):
    """Of the daemon, of a login, of a process; good, and turned down. Whoever asks, and however."""
    world, port = make.world(), free_port("127.0.0.1")
    tokens = {user: world.hub.add_user(name) for user, name in {**NAMES, 0: "root"}.items()}
    mount = make.mount(world, "--allow-other", "--log-level", "debug", "--status-page", f"127.0.0.1:{port}",
                       config="access_ttl = 0.3\n", env={"HF_TOKEN": tokens[0]})
    server = argparse.Namespace(mount=mount)
    repo = world.add({"config.json": fresh_bytes(300), "model.bin": fresh_bytes(3 * MIB)}, private=True,
                     allowed=["alice", "erin", "root"])
    assert login(server, ERIN, tokens[ERIN]).code == 0
    path, cold = mount.file(repo, "config.json"), mount.file(repo, "model.bin")
    for user, token in ((ALICE, tokens[ALICE]), (ERIN, None), (0, None)):
        assert as_user(look, path, user=user or None, token=token) == hex_of(repo, "config.json"), user
    assert as_user(look, path, user=BOB, token=tokens[BOB]) == errno.ENOENT
    # And every trouble that comes of them.
    holder = make.child(hold, cold, user=ALICE, prefix=["env", f"HF_TOKEN={tokens[ALICE]}"])
    assert holder.heard() == hex_of(repo, "model.bin")
    for token in tokens.values():
        world.hub.revoke_token(token)
    eventually(lambda: as_user(look, path, user=ALICE, token=tokens[ALICE]) == errno.ENOENT, 10, "the end of her right")
    said = {}
    for user in (0, ALICE, BOB, ERIN):
        for words in (["status"], ["status", "--json"], ["top", "--once"], ["top", "--json"], ["explain", path], ["explain", "--json", path],
                      ["explain", "--json", cold], ["explain", "--json", mount.repo("acme/none")], ["ls", "--json"], ["pins", "--json"]):
            where = [mount.point] if words[0] == "top" else [] if words[0] == "explain" else ["--state-dir", mount.state]
            done = mount.hffs(*words, *where, user=user or None)
            said[user, *words] = done.out + done.err
        for page in ("/metrics", "/", "/api/activity", "/api/status", "/api/repos", f"/api/files?repo={repo.name}&commit={repo.commit}"):
            said[user, page] = in_child(fetch, port, page, user=user or None)
    holder.tell()
    holder.result()
    assert repo.id in said[0, "ls", "--json"] and "hffs_reads_waiting" in said[0, "/metrics"] and str(ALICE) in said[0, "top", "--json"]
    said["log"] = mount.log()
    assert not [where for where, text in said.items() if any(token in text for token in tokens.values())]
    assert not [where for where, text in said.items() if not text]


def test_U12_a_private_repository_with_another_name(server):
    repo = server.private(ALICE, id="acme/before")
    server.world.hub.rename("acme/before", "acme/after")
    for name in ("acme/before", "acme/after"):
        path = server.mount.repo(name) / "snapshots" / repo.commit / "config.json"
        assert server.sees(ALICE, path) == hex_of(repo, "config.json")
        for user in (BOB, CAROL, 0):
            assert server.sees(user, path) == errno.ENOENT
    assert server.sees(ALICE, server.mount.repo("acme/before") / "snapshots" / repo.commit / "model.bin") == \
        hex_of(repo, "model.bin")


@pytest.mark.parametrize("words", [["ls"], ["ls", "REPO"], ["path", "REPO"], ["pins"], ["status", "--json"]], ids=" ".join)
def test_U13_the_socket_says_no_more_than_the_mount(server, words):
    repo = server.private(ALICE)
    assert server.sees(ALICE, server.mount.file(repo, "config.json")) == hex_of(repo, "config.json")
    assert server.mount.hffs("pin", repo.id, "--state-dir", server.mount.state).code in (0, 3)
    words = [repo.id if word == "REPO" else word for word in words]
    done = server.mount.hffs(*words, "--state-dir", server.mount.state, user=CAROL)
    if words[-1] == repo.id:
        assert done.code == 3, done
        words_of_nothing = [word.replace(repo.id, "acme/nothing-at-all") for word in words]
        nothing = server.mount.hffs(*words_of_nothing, "--state-dir", server.mount.state, user=CAROL)
        assert done.err.replace(repo.id, "acme/nothing-at-all") == nothing.err, "it tells the two apart"
    else:
        assert done.code == 0 and repo.id not in done.out, done


def test_U13_a_lock_names_nothing_that_its_user_may_not_see(server):
    """One content of a public repository and of a private one that came later."""
    text = fresh_bytes(3000)
    public = server.world.add({"LICENSE": text})
    server.sees(CAROL, server.mount.file(public, "LICENSE"))
    private = server.world.add({"LICENSE": text, "weights.bin": fresh_bytes(5000)}, private=True, allowed=["alice"])
    assert server.sees(ALICE, server.mount.file(private, "LICENSE")) == text[:20].hex()
    done = subprocess.run([HFFS, "lock", "--mount", server.mount.point, "-o", "-", "--", "cat", "LICENSE"], user=CAROL, group=CAROL,
                          extra_groups=[], capture_output=True, text=True, timeout=60, cwd=server.mount.file(public, "LICENSE").parent,
                          errors="replace", env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
    assert private.id not in done.stdout and private.commit not in done.stdout, done


def test_U13_counts_tell_nothing(root, make):
    """Of a repository that the daemon's own token reads."""
    world = make.world()
    mount = make.mount(world, "--allow-other", env={"HF_TOKEN": world.hub.add_user("alice")})
    repo = world.add(private=True, allowed=["alice"])

    def counts():
        done = mount.hffs("status", "--json", "--state-dir", mount.state, user=CAROL)
        return json.loads(done.out)["catalog"]
    before = counts()
    for id in (repo.id, "acme/nothing"):
        assert in_child(look, mount.repo(id), user=CAROL) == errno.ENOENT
        assert counts() == before


def test_U13_what_is_frozen_for_all(server):
    repo = server.private(ALICE)
    server.sees(ALICE, server.mount.file(repo, "config.json"))
    done = server.mount.hffs("pin", f"{repo.id}@{repo.commit}", "--ref", "main", "--all", "--state-dir", server.mount.state)
    assert repo.id not in server.mount.hffs("pins", "--state-dir", server.mount.state, user=CAROL).out, done


@pytest.mark.waits
@pytest.mark.parametrize("told", ["by the Hub", "by who may read it"])
def test_U14_what_was_private_does_not_become_public(server, told):
    """History is squashed, and then it is published: the commit of before is nobody's any more."""
    repo = server.private(ALICE)
    old = server.mount.file(repo, "config.json")
    assert server.sees(ALICE, old) == hex_of(repo, "config.json")
    server.world.hub.force_push(repo.name, {"config.json": fresh_bytes(200)})
    now = server.world.hub.repo(repo.name)
    now.commits.pop(repo.commit, None)
    new = server.world.at(repo, now.commit.id)
    if told == "by who may read it":  # there is no main to say it of
        server.world.hub.add_branch(repo.name, "other")
        server.world.hub.delete_ref(repo.name, "branch", "main")
    server.world.hub.set_private(repo.name, False)
    eventually(lambda: not isinstance(server.sees(CAROL, server.mount.file(new, "config.json")), int), 60, "what is public")
    for user in (CAROL, BOB, ALICE):
        assert server.sees(user, old) == errno.ENOENT
        assert server.sees(user, server.mount.blob(repo, "model.bin")) == errno.ENOENT


@pytest.mark.waits
def test_U14_public_and_then_private(server):
    """What was public stays to be seen until somebody here is known to have the private one."""
    repo = server.add()
    path = server.mount.file(repo, "config.json")
    assert server.sees(CAROL, path) == hex_of(repo, "config.json")
    server.world.hub.set_private(repo.name, True, allowed=["alice"])
    later = server.world.push(repo, {"config.json": fresh_bytes(300)})
    eventually(lambda: server.sees(ALICE, server.mount.file(later, "config.json")) == hex_of(later, "config.json"), 60,
               "the private commit, for who may")
    for user in (BOB, CAROL):
        for each in (repo, later):
            assert server.sees(user, server.mount.file(each, "config.json")) == errno.ENOENT
    server.world.hub.set_private(repo.name, False)
    eventually(lambda: server.sees(CAROL, server.mount.file(later, "config.json")) == hex_of(later, "config.json"), 60)


def read_slowly(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        say("open")
        hear()
        while piece := file.read(65536):
            digest.update(piece)
    return digest.hexdigest()


def test_U15_another_worker_goes_on_with_his_right(server):
    """Under an open file, of which bytes are still to be fetched."""
    repo = server.private(ALICE)
    reader = server.make.child(read_slowly, server.mount.file(repo, "model.bin"), user=ALICE,
                   prefix=["env", f"HF_TOKEN={server.tokens[ALICE]}"])
    assert reader.heard() == "open"
    old = server.mount.worker
    os.kill(old, 9)
    reader.tell()
    assert reader.result() == hashlib.sha256(repo.content["model.bin"]).hexdigest()
    assert server.sees(BOB, server.dir(repo)) == errno.ENOENT


@pytest.mark.parametrize("absent", [("auth-check",), ("auth-check", "whoami")])
def test_U16_where_the_endpoint_lacks_the_question(root, make, absent):
    server = Server(make, absent_routes=absent)
    private, gated = server.private(ALICE), server.add(gated="auto", granted=["alice"])
    for repo, refusal in ((private, errno.ENOENT), (gated, errno.EACCES)):
        path = server.mount.file(repo, "config.json")
        assert server.sees(BOB, path) == refusal
        assert server.sees(ALICE, path) == hex_of(repo, "config.json")
        assert server.sees(BOB, path) == refusal
    assert login(server, ERIN, server.tokens[ERIN]).code == 0


def test_U17_one_grantee_s_end_is_not_another_s(server):
    """The daemon has asked with the token of one; when that ends, it goes on with the other's."""
    repo = server.private(ALICE, DAVE)
    path = server.mount.file(repo, "model.bin")
    assert server.sees(ALICE, server.mount.file(repo, "config.json")) == hex_of(repo, "config.json")
    assert server.sees(DAVE, server.mount.file(repo, "config.json")) == hex_of(repo, "config.json")
    server.world.hub.revoke_token(server.tokens[DAVE])
    assert server.sees(ALICE, path) == hex_of(repo, "model.bin")


def look_at_all(paths):
    """Each way in: what comes of a stat, a listing or an open, as text or errno."""
    found = {}
    for name, path in paths.items():
        try:
            if stat.S_ISDIR(os.stat(path).st_mode):
                os.listdir(path)
            else:
                with open(path, "rb") as file:
                    file.read(20)
            found[name] = 0
        except OSError as error:
            found[name] = error.errno
    return found


def look_by_descriptor(directory, names):
    """Each name from a directory that is open, by its number in /proc: errno, 0 where it opens."""
    found = []
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for name in names:
        try:
            os.close(os.open(f"/proc/self/fd/{fd}/{name}", os.O_RDONLY))
            found.append(0)
        except OSError as error:
            found.append(error.errno)
    return found


KINDS = {
    "public": (dict(), {}),
    "private": (dict(private=True, allowed=["alice", "dave"]), {ALICE: 0, None: errno.ENOENT}),
    "gated": (dict(gated="manual", granted=["alice", "dave"]), {ALICE: 0, None: errno.EACCES}),
    "gated for all": (dict(gated="auto"), {None: errno.EACCES}),
    "renamed": (dict(private=True, allowed=["alice", "dave"]), {ALICE: 0, None: errno.ENOENT}),
    "disabled": (dict(disabled=True), {None: errno.EACCES}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_U2_U3_the_matrix(server, kind):
    """Who (the owner's token, another's, none, one that ends, root) × what × every way in, before and after others have used it."""
    options, wanted = KINDS[kind]
    repo = server.add(**options)
    if kind == "renamed":
        server.world.hub.rename(repo.name, repo.id + "-now")
    paths = {name: str(way(server, repo)) for name, way in WAYS.items()}
    # Whether a mark of absence or an empty directory is there says nothing but of the repository.
    def cell(user):
        return wanted.get(user, wanted.get(None, 0))

    def check(user, token="own", expected=None):
        own = server.tokens.get(user) if token == "own" else token
        found = as_user(look_at_all, paths, user=user or None, token=own)
        expected = cell(user) if expected is None else expected
        assert set(found.values()) == {expected}, (user, {k: errno.errorcode.get(v, v) for k, v in found.items()})
    for user in (BOB, CAROL, 0):
        check(user)
    if kind in ("private", "gated", "renamed"):
        check(DAVE, expected=0)
        server.world.hub.revoke_token(server.tokens[DAVE])
        eventually(lambda: server.sees(DAVE, server.dir(repo)) == cell(None), 10, "the end of a revoked token's verdict")
    check(ALICE)
    for user in (BOB, CAROL, DAVE, 0, ALICE):
        check(user)
    listed = {user: server.dir(repo).name in server.sees(user, server.mount.point) for user in (ALICE, BOB, CAROL, 0)}
    assert listed == {user: cell(user) == 0 for user in listed}
    # By its content's name, in a repository that everybody may see, nobody gets it; nor by the descriptor of a directory there.
    other = server.add()
    assert server.sees(ALICE, server.mount.file(other, "config.json")) == hex_of(other, "config.json")
    elsewhere = server.mount.blob(other, "model.bin").with_name(repo.etags["model.bin"])
    for user in (ALICE, BOB, CAROL, DAVE, 0):
        assert server.sees(user, elsewhere) == errno.ENOENT
        assert as_user(look_by_descriptor, str(server.dir(other) / "blobs"),
                       [elsewhere.name, f"../../{server.dir(repo).name}/blobs/{elsewhere.name}"],
                       user=user or None, token=server.tokens.get(user)) == [errno.ENOENT, cell(user if user != DAVE else None)]
