# SPDX-License-Identifier: Apache-2.0
"""A: the caches of a server's users become views of one mount. Five users, real uids."""
import json
import os
import random
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from lab import HFFS, MIB, ROOT, eventually, in_child, mounts
from lender import BEGIN, OPEN_FILE, Lender, honest, text
from test_carry import blob_of, make_cache, put_on_hub
from world import fresh_bytes

USERS = [20001, 20002, 20003, 20004, 20005]
ASIDE = ".hffs-original."

pytestmark = pytest.mark.usefixtures("root")


def give(path, user):
    for folder, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            os.chown(os.path.join(folder, name), user, user, follow_symlinks=False)


def unmount_below(folder):
    """Wherever what was mounted there has been moved to."""
    for point, _ in mounts():
        if point.startswith(str(folder) + "/"):
            subprocess.run(["umount", point], check=True)


def hub_of(homes, user):
    return homes / f"user{user}" / ".cache/huggingface/hub"


def picture(root):
    """All that a user can see of a tree; the directories' own times apart."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            what = (os.readlink(path) if stat.S_ISLNK(status.st_mode) else
                    Path(path).read_bytes() if stat.S_ISREG(status.st_mode) else None)
            times = None if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            found[os.path.relpath(path, root)] = (status.st_mode, status.st_uid, status.st_gid, status.st_ino, times, what)
    return found


class Server:
    """Homes of five users whose caches overlap, and a mount for all of them."""

    def __init__(self, make, common_size=MIB + 17):
        self.world = make.world()
        self.homes = make.folder()
        self.models = []
        for number in range(4):
            files = {"config.json": (b'{"n": "' + fresh_bytes(90).hex().encode() + b'"}', False),
                     "sub/tokenizer.json": (fresh_bytes(200).hex().encode(), False),
                     "model.safetensors": (fresh_bytes(common_size), True)}
            repo = put_on_hub(self.world, files)
            self.models.append((repo, files))
        self.has = {}
        for place, user in enumerate(USERS):
            hub = hub_of(self.homes, user)
            self.has[user] = [self.models[(place + step) % 4] for step in range(2)]
            for repo, files in self.has[user]:
                make_cache(hub, repo.id, repo.commit, files)
            (hub / ".locks").mkdir()
            give(self.homes / f"user{user}", user)
        self.mount = make.mount(self.world, "--allow-other")

    def adopt(self, *words, code=0):
        done = self.mount.hffs("adopt", *words, "--json", "--state-dir", self.mount.state, timeout=110)
        assert done.code == code, f"{done}\n{self.mount.log()}"
        return {each["folder"]: each for each in json.loads(done.out)["folders"]} if done.out else {}

    def all(self, *words):
        return self.adopt("--home-root", self.homes, *words)

    def pictures(self):
        return {user: picture(hub_of(self.homes, user)) for user in USERS}

    def check_loads(self):
        """Each file, with the rights of its user, where it was before."""
        for user in USERS:
            wanted = [[str(hub_of(self.homes, user) / f"models--{repo.id.replace('/', '--')}"), path,
                       blob_of(*files[path]), files[path][1]] for repo, files in self.has[user] for path in files]
            assert in_child(load, wanted, user=user) == [], user

    def check_kept(self):
        """Each original is where it was, or beside its link."""
        for user in USERS:
            for repo, files in self.has[user]:
                name = f"models--{repo.id.replace('/', '--')}"
                hub = hub_of(self.homes, user)
                place = hub / (ASIDE + name)
                place = place if place.is_dir() and not place.is_symlink() else hub / name
                assert not place.is_symlink(), f"{place}: the original is lost"
                for path, (data, lfs) in files.items():
                    assert (place / "blobs" / blob_of(data, lfs)).read_bytes() == data


def load(wanted):
    wrong = []
    for root, path, etag, lfs in wanted:
        try:
            commit = open(root + "/refs/main").read()
            data = open(f"{root}/snapshots/{commit}/{path}", "rb").read()
            name = hashlib.sha256(data) if lfs else hashlib.sha1(b"blob %d\0" % len(data) + data)
            if name.hexdigest() != etag:
                wrong.append([root, path, "wrong bytes"])
        except OSError as error:
            wrong.append([root, path, str(error)])
    return wrong


@pytest.fixture
def server(make):
    return Server(make)


def test_A1_adopted_models_load_for_their_users_and_undo_restores_the_trees(server):
    before = server.pictures()
    found = server.all("--dry-run")
    assert len(found) == 10 and server.pictures() == before
    sizes = {repo.id: sum(repo.sizes.values()) for repo, _ in server.models}
    assert sum(each["bytes"] for each in found.values()) == sum(
        sizes[repo.id] for user in USERS for repo, _ in server.has[user])
    assert sum(each["bytes"] - each["duplicate"] for each in found.values()) == sum(sizes.values())
    done = server.all()
    assert len(done) == 10 and all(each["done"] for each in done.values()), done
    for user in USERS:
        for repo, _ in server.has[user]:
            link = hub_of(server.homes, user) / f"models--{repo.id.replace('/', '--')}"
            assert os.readlink(link) == str(server.mount.repo(repo.id))
            assert os.lstat(link).st_uid == user
    server.check_loads()
    server.check_kept()
    assert not server.world.content(), "all of it was imported"
    assert server.all() == {}, "what is adopted is left alone"
    # A1, A4: undo, of one user and of all.
    undone = server.adopt("--undo", server.homes / f"user{USERS[0]}")
    assert len(undone) == 2 and all(each["done"] for each in undone.values())
    assert picture(hub_of(server.homes, USERS[0])) == before[USERS[0]]
    server.check_loads()
    assert len(server.adopt("--undo")) == 8
    assert server.pictures() == before
    server.check_loads()


def test_A1_clients_find_their_models(server):
    """huggingface_hub, as each user."""
    python = ROOT / "build/venvs/hub-2.4.0/bin/python"
    if not python.exists():
        pytest.skip("no huggingface_hub here: scripts/test clients makes its venvs")
    server.all()
    program = """
import sys
from huggingface_hub import snapshot_download, try_to_load_from_cache
hub, *ids = sys.argv[1:]
for id in ids:
    path = snapshot_download(id, cache_dir=hub, local_files_only=True)
    assert path.startswith(hub), path
    found = try_to_load_from_cache(id, "model.safetensors", cache_dir=hub)
    assert isinstance(found, str) and len(open(found, "rb").read()) > 1000, found
    assert isinstance(try_to_load_from_cache(id, "sub/tokenizer.json", cache_dir=hub), str)
"""
    for user in USERS:
        done = subprocess.run([python, "-c", program, str(hub_of(server.homes, user)),
                               *(repo.id for repo, _ in server.has[user])], user=user, group=user, extra_groups=[],
                              capture_output=True, text=True, cwd="/",
                              env={"HOME": str(server.homes / f"user{user}"), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin"})
        assert done.returncode == 0, done.stderr


def test_A2_what_cannot_be_adopted_is_left_as_it_is(server, make):
    """Each user has another trouble; and one folder beside it that has none."""
    def first(user):
        repo, files = server.has[user][0]
        return hub_of(server.homes, user) / f"models--{repo.id.replace('/', '--')}", repo, files
    folder, repo, files = first(USERS[0])
    (folder / "blobs" / ("e" * 64 + ".incomplete")).write_bytes(b"half")
    folder, repo, files = first(USERS[1])
    (folder / "snapshots" / repo.commit / "lost.json").symlink_to("../../blobs/" + "d" * 40)
    folder, repo, files = first(USERS[2])
    blob = folder / "blobs" / blob_of(*files["model.safetensors"])
    blob.write_bytes(b"x" * blob.stat().st_size)
    folder, repo, files = first(USERS[3])
    (folder / "notes.txt").write_text("mine")
    held = first(USERS[4])[0]
    private = make_cache(hub_of(server.homes, USERS[0]), "acme/private", "a" * 40,
                         {"config.json": (b"nobody's business", False)})
    for user in USERS:
        give(server.homes / f"user{user}", user)
    reader = make.child(hold_one, str(held / "refs/main"), user=USERS[4])
    reader.heard()
    before = server.pictures()
    done = server.all()
    left = {Path(path).parts[-5] + "/" + Path(path).name: each["note"] for path, each in done.items() if not each["done"]}
    assert len(left) == 6, left
    for word in ("did not end", "leads nowhere", "wrong_bytes", "nothing that a client makes", "uses it", "unconfirmed"):
        assert sum(word in note for note in left.values()) == 1, (word, left)
    after = server.pictures()
    for path, each in done.items():
        if not each["done"]:
            user = int(Path(path).parts[-5].removeprefix("user"))
            mine = {name: what for name, what in before[user].items() if name.split("/")[0] == Path(path).name}
            assert mine == {name: what for name, what in after[user].items() if name.split("/")[0] == Path(path).name}
    assert not server.mount.repo("acme/private").exists()
    assert server.mount.status()["catalog"]["self_attested"] == 0
    reader.tell()
    reader.result()
    assert server.all()[str(held)]["done"]
    # Only who says so lets everybody see it; and its original is never removed.
    done = server.all("--self-attested")
    assert done[str(private)]["done"]
    assert (private / "refs/main").read_text() == "a" * 40
    done = server.adopt("--finish", private)
    assert not done[str(private)]["done"] and "not confirmed" in done[str(private)]["note"]
    assert (private.parent / (ASIDE + private.name)).is_dir()


def test_A2_what_leads_out_of_the_folder_is_left(server, make):
    """Links and mounts in it: nothing that lies elsewhere would be moved, and nothing there may be removed."""
    first = {user: hub_of(server.homes, user) / f"models--{server.has[user][0][0].id.replace('/', '--')}" for user in USERS}
    os.rename(first[USERS[0]] / "snapshots", server.homes / f"user{USERS[0]}" / "elsewhere")
    (first[USERS[0]] / "snapshots").symlink_to("../../../../elsewhere")
    repo, _ = server.has[USERS[1]][0]
    moved = server.homes / f"user{USERS[1]}" / "elsewhere"
    os.rename(first[USERS[1]] / "snapshots" / repo.commit, moved)
    (first[USERS[1]] / "snapshots" / repo.commit).symlink_to(moved)
    shared = make.folder()
    shutil.copytree(first[USERS[2]] / "blobs", shared, dirs_exist_ok=True)
    give(shared, USERS[2])
    odd = os.fsencode(server.homes / f"user{USERS[3]}" / ".cache") + b"/\xff"
    os.rename(server.homes / f"user{USERS[3]}" / ".cache/huggingface", odd)
    os.symlink(odd, server.homes / f"user{USERS[3]}" / ".cache/huggingface")
    for user in USERS:
        give(server.homes / f"user{user}", user)
    subprocess.run(["mount", "--bind", shared, first[USERS[2]] / "blobs"], check=True)
    try:
        done = server.all()
        notes = {path: each["note"] for path, each in done.items() if not each["done"]}
        assert len(done) == 10 and len(notes) == 5, done
        assert "is a link" in notes[str(first[USERS[0]])] and "is a link" in notes[str(first[USERS[1]])]
        assert "is mounted at" in notes[str(first[USERS[2]])]
        assert sum("not UTF-8" in note for note in notes.values()) == 2
    finally:
        unmount_below(server.homes)
    # Mounted since: what lies there is not the original's to be removed.
    done = server.all()
    assert done[str(first[USERS[2]])]["done"]
    aside = first[USERS[2]].parent / (ASIDE + first[USERS[2]].name)
    subprocess.run(["mount", "--bind", shared, aside / "blobs"], check=True)
    try:
        [found] = server.adopt("--finish", first[USERS[2]]).values()
        assert not found["done"] and "is mounted at" in found["note"]
    finally:
        unmount_below(server.homes)
    assert sorted(os.listdir(shared)) == sorted(os.listdir(aside / "blobs"))
    assert server.adopt("--undo", first[USERS[2]])[str(first[USERS[2]])]["done"]


@pytest.mark.limit(100)
def test_A2_who_has_a_file_on_a_dead_server_holds_up_nothing(server, make):
    world = make.world()
    repo = world.add({"a.txt": b"a"})
    remote = make.mount(world)
    held = make.child(hold_one, str(remote.repo(repo.id) / "refs/main"))
    held.heard()
    os.kill(remote.pid, signal.SIGSTOP)
    try:
        assert len(server.all("--dry-run")) == 10
    finally:
        os.kill(remote.pid, signal.SIGCONT)
    held.tell()
    held.result()


def hold_one(path):
    with open(path) as file:
        say("open")
        hear()
    return 0


def test_A2_a_mount_that_users_cannot_see_takes_nothing(make):
    server = Server(make)
    alone = make.mount(server.world)  # without --allow-other
    before = server.pictures()
    done = alone.hffs("adopt", "--home-root", server.homes, "--json", "--state-dir", alone.state)
    assert done.code == 0, done
    folders = json.loads(done.out)["folders"]
    assert len(folders) == 10 and not any(each["done"] for each in folders)
    assert all("does not see in the mount" in each["note"] for each in folders)
    assert server.pictures() == before


def test_A2_only_the_directory_that_was_looked_at_is_imported(server, make):
    """The daemon is asked for a directory by its number: a user may have put another in its place."""
    repo, _ = server.has[USERS[0]][0]
    folder = hub_of(server.homes, USERS[0]) / f"models--{repo.id.replace('/', '--')}"
    alone = text(folder.name.encode()) + text(b"")
    ours = honest(folder)
    for inode, says in ((1, "another directory"), (os.stat(folder).st_ino, None)):
        lender = Lender(server.mount, folder, lambda what, place: ours(what, place) + (alone if what == BEGIN else b"")
                        if what != OPEN_FILE else ours(what, place), device=os.stat(folder).st_dev, inode=inode, confirmed_only=True)
        answer = eventually(lambda: (lambda found: found if not found.get("running") else None)(lender.look()), 10, "its end")
        lender.close()
        if says:
            assert answer["error"]["code"] == "refused" and says in answer["error"]["message"]
        else:
            assert "error" not in answer and answer["commits"][0]["files"] == 3, answer


@pytest.mark.limit(400)
def test_A3_killed_at_any_moment_no_original_is_lost(make, quick):
    """kill -9 of the command, again and again, during adoption and during undo; the next run goes on."""
    server = Server(make, common_size=300_000)
    before = server.pictures()
    chance = random.Random(11)
    command = [HFFS, "adopt", "--state-dir", str(server.mount.state)]

    def run_killed(*words):
        process = subprocess.Popen([*command, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=server.mount.env, cwd="/")
        try:
            process.wait(chance.uniform(0, 0.4))
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait() == -9

    killed, turns = 0, 2 if quick else 5
    for _ in range(turns):
        for _ in range(4):
            killed += run_killed("--home-root", server.homes)
            server.check_kept()
            server.check_loads()
        done = server.all()
        assert all(each["done"] for each in done.values()), done
        assert sum(path.is_symlink() for user in USERS for path in hub_of(server.homes, user).glob("models--*")) == 10
        for _ in range(4):
            killed += run_killed("--undo")
            server.check_kept()
            server.check_loads()
        server.adopt("--undo")
        assert server.pictures() == before
    assert killed > turns, "hardly any run was killed: this showed little"


def test_A3_each_step_that_a_kill_can_leave(server):
    """The states between the steps, made by hand; each is taken to an end by the next run."""
    before = server.pictures()
    server.all()
    journal = server.mount.state / "adopt.journal"
    whole = [json.loads(line) for line in journal.read_text().splitlines()]
    adopting = [line for line in whole if line["step"] == "adopting"]
    cut = json.dumps(whole[0])[:50]

    def again(line, text):
        journal.write_text(json.dumps(line) + "\n" + text)
        return server.adopt("--undo", "/nowhere")
    record = adopting[0]
    cache, name = Path(record["cache"]), record["name"]
    # Exchanged, and not written down: it is adopted. The last line was cut.
    again(record, cut)
    assert (cache / name).is_symlink() and (cache / (ASIDE + name)).is_dir()
    assert json.loads(journal.read_text().splitlines()[-1])["step"] == "adopted"
    # Undone half way: exchanged back, the link still beside it.
    os.rename(cache / name, cache / "link")
    os.rename(cache / (ASIDE + name), cache / name)
    os.rename(cache / "link", cache / (ASIDE + name))
    again({**record, "step": "undoing"}, "")
    assert not (cache / name).is_symlink() and not (cache / (ASIDE + name)).exists()
    assert not os.path.lexists(cache / (ASIDE + name))
    # The link was made, and nothing exchanged.
    os.symlink(record["target"], cache / (ASIDE + name))
    again(record, "")
    assert not os.path.lexists(cache / (ASIDE + name)) and not (cache / name).is_symlink()
    journal.write_text("".join(json.dumps({**line, "step": "adopted"}) + "\n" for line in adopting[1:]))
    server.adopt("--undo")
    assert server.pictures() == before


@pytest.mark.parametrize("user", ["1e99", "1.5", "-1", "true", str(2 ** 32)])
def test_A3_a_journal_of_nobody_is_damaged(server, user):
    """Nothing is done by it, and it says where."""
    server.all()
    before, journal = server.pictures(), server.mount.state / "adopt.journal"
    text = journal.read_text()
    line = json.dumps({**json.loads(text.splitlines()[0]), "user": None}).replace("null", user)
    journal.write_text(text + line + "\n")
    done = server.mount.hffs("adopt", "--undo", "--state-dir", server.mount.state)
    assert done.code != 0 and f"is damaged at byte {len(text)}" in done.err, done
    assert server.pictures() == before


def test_A3_a_journal_that_lay_in_the_store_is_gone_on_with(server):
    """A worker may write there: it is taken over once, and only if it is root's."""
    server.all()
    journal, before = server.mount.state / "adopt.journal", server.mount.state / "hffs-v1/adopt.journal"
    os.rename(journal, before)
    os.chown(before, USERS[0], USERS[0])
    assert server.adopt("--undo") == {}
    assert before.exists()
    journal.unlink()
    os.chown(before, 0, 0)
    assert all(each["done"] for each in server.adopt("--undo").values())
    assert not before.exists() and not any(path.is_symlink() for user in USERS for path in hub_of(server.homes, user).iterdir())


def test_A4_what_a_user_put_in_the_place_is_never_touched(server):
    server.all()
    repo, files = server.has[USERS[0]][0]
    folder = hub_of(server.homes, USERS[0]) / f"models--{repo.id.replace('/', '--')}"
    folder.unlink()
    folder.mkdir()
    (folder / "mine").write_text("mine")
    done = server.adopt("--undo", folder)
    assert not done[str(folder)]["done"] and "something else stands" in done[str(folder)]["note"]
    assert (folder / "mine").read_text() == "mine"
    assert (folder.parent / (ASIDE + folder.name) / "refs/main").read_text() == repo.commit
    # Nor does it hold up the others, not where a run was killed in its midst either.
    journal = server.mount.state / "adopt.journal"
    [record] = [each for each in map(json.loads, journal.read_text().splitlines())
                if each["step"] == "adopted" and each["cache"] + "/" + each["name"] == str(folder)]
    with journal.open("a") as file:
        file.write(json.dumps({**record, "step": "undoing"}) + "\n")
    assert "something else stands" in server.all("--dry-run")[str(folder)]["note"]
    assert (folder / "mine").read_text() == "mine"
    other, _ = server.has[USERS[1]][0]
    gone = hub_of(server.homes, USERS[1]) / f"models--{other.id.replace('/', '--')}"
    gone.unlink()  # the link alone
    assert server.adopt("--undo", gone)[str(gone)]["done"]
    assert (gone / "refs/main").read_text() == other.commit
    assert (folder / "mine").read_text() == "mine"
    # Once it is out of the way the original comes back.
    shutil.rmtree(folder)
    server.all("--dry-run")
    assert (folder / "refs/main").read_text() == repo.commit and not folder.is_symlink()


def test_A4_a_file_system_may_have_another_number_tomorrow(make, loop_disk):
    world, files = make.world(), {"config.json": (b"{}", False), "model.safetensors": (fresh_bytes(300_000), True)}
    repo = put_on_hub(world, files)
    disk = loop_disk(64 * MIB, "mkfs.ext4", "-q")
    folder = make_cache(disk / "hub", repo.id, repo.commit, files)
    give(disk, USERS[0])
    mount = make.mount(world, "--allow-other")

    def adopt(*words):
        done = mount.hffs("adopt", *words, disk / "hub", "--json", "--state-dir", mount.state)
        assert done.code == 0, done
        return json.loads(done.out)["folders"]
    assert [each["done"] for each in adopt()] == [True]
    before = os.stat(disk).st_dev
    subprocess.run(["umount", disk], check=True)
    image = make.folder() / "image"
    with open(image, "wb") as file:
        file.truncate(MIB)
    taken = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        subprocess.run(["mount", "-o", "loop", disk.parent / "image", disk], check=True)
    finally:
        subprocess.run(["losetup", "-d", taken], check=True)
    if os.stat(disk).st_dev == before:
        pytest.skip("it has the same number again")
    [undone] = adopt("--undo")
    assert undone["done"], undone
    assert not folder.is_symlink() and (folder / "refs/main").read_text() == repo.commit


def test_A5_finish_removes_originals_and_only_then(server):
    server.all()
    mine = hub_of(server.homes, USERS[0])
    repo, files = server.has[USERS[0]][0]
    name = f"models--{repo.id.replace('/', '--')}"
    # Writing to an original changes no blob; but it is not removed while the store lacks bytes.
    for blob in (mine / (ASIDE + name) / "blobs").iterdir():
        blob.write_bytes(b"overwritten!")
    assert (mine / name / "snapshots" / repo.commit / "model.safetensors").read_bytes() == files["model.safetensors"][0]
    other, its = server.has[USERS[0]][1]
    eventually(lambda: json.loads(server.mount.hffs("gc", other.id, "--json", "--state-dir", server.mount.state).out)
               ["open_bytes"] == 0, 10, "the end of all opens")
    done = server.adopt("--finish", mine / f"models--{other.id.replace('/', '--')}")
    [kept] = done.values()
    assert not kept["done"] and "not all of" in kept["note"] and (mine / (ASIDE + Path(kept["folder"]).name)).is_dir()
    done = server.adopt("--finish", server.homes / f"user{USERS[2]}")
    assert len(done) >= 1
    for path, each in done.items():
        beside = Path(path).parent / (ASIDE + Path(path).name)
        assert each["done"] is not beside.exists(), each
    assert any(each["done"] for each in done.values())
    assert server.mount.hffs("adopt", "--undo", server.homes / f"user{USERS[2]}", "--state-dir",
                             server.mount.state).code == 0
    server.check_loads()
