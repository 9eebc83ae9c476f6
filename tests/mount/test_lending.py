# SPDX-License-Identifier: Apache-2.0
"""C6: whose rights an import has, and what a daemon takes from who lends it a folder."""
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time

import lab
import pytest
from lab import ALICE, HFFS, eventually
from lender import BEGIN, LIST, OPEN_FILE, READ_LINK, Lender, fine, honest, text
from test_carry import check, fetched_nothing, make_cache, put_on_hub, some_files, take_in
from world import fresh_bytes

pytestmark = pytest.mark.usefixtures("root")


def owners(folder):
    return {(os.lstat(path).st_uid, os.lstat(path).st_gid) for path in [folder, *folder.rglob("*")]}


def private_home(make, repo, files, user=ALICE):
    """Nobody but its user, and root, gets in."""
    home = make.folder()
    make_cache(home / "hub", repo.id, repo.commit, files)
    for path in [home, *home.rglob("*")]:
        os.chown(path, user, user, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    return home / "hub"


def job_ends(lender):
    return eventually(lambda: (lambda found: found if not found.get("running") else None)(lender.look()), 10, "its end")


@pytest.mark.parametrize("own", [False, True], ids=["root", "hffs"])
def test_C6_what_a_home_has_is_lent(make, request, own):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    hub = private_home(make, repo, files)
    secret = make.folder() / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    (hub / f"models--{repo.id.replace('/', '--')}" / "snapshots" / repo.commit / "out.json").symlink_to(secret)
    mount = make.mount(world, "--allow-other", **({"system_user": request.getfixturevalue("system_user")} if own else {}))
    report = take_in(mount, hub)
    assert [each["why"] for each in report["skipped"]] == ["outside"], report
    check(mount, repo.id, repo.commit, files)
    fetched_nothing(world)
    # The daemon's own rights do not do: it is asked without a folder that is lent.
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(mount.state / "hffs-v1/control.sock"))
        control.sendall(json.dumps({"command": "import", "path": str(hub)}).encode() + b"\n")
        answer = json.loads(control.makefile().readline())
    assert answer["error"]["code"] == "invalid" and "lent" in answer["error"]["message"]


def test_C6_the_command_has_its_user_s_rights(make):
    """And no others."""
    state, hub = make.folder(), make.folder() / "hub"
    os.chown(state, ALICE, ALICE)
    make_cache(hub, "acme/of-root", "a" * 40, some_files())
    hub.parent.chmod(0o700)
    done = lab.hffs("import", hub, "--state-dir", state, "--offline", user=ALICE)
    assert done.code == 4 and "ermission denied" in done.err, done
    hub.parent.chmod(0o755)
    assert lab.hffs("import", hub, "--state-dir", state, "--offline", user=ALICE).code == 0
    assert owners(state / "hffs-v1") == {(ALICE, ALICE)}


def test_C6_adopting_private_homes(make, system_user):
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    homes = make.folder()
    hub = private_home(make, repo, files)
    home = homes / "alice/.cache/huggingface"
    home.parent.mkdir(parents=True)
    shutil.move(hub.parent, home)
    for each in (homes / "alice", home.parent):
        os.chown(each, ALICE, ALICE)
        each.chmod(0o700)
    mount = make.mount(world, "--allow-other", system_user=system_user)
    done = mount.hffs("adopt", "--home-root", homes, "--json", "--state-dir", mount.state)
    assert done.code == 0 and [each["done"] for each in json.loads(done.out)["folders"]] == [True], (done, mount.log())
    fetched_nothing(world)
    folder = home / "hub" / f"models--{repo.id.replace('/', '--')}"
    assert os.readlink(folder) == str(mount.repo(repo.id))
    check(mount, repo.id, repo.commit, files)


def test_C6_a_command_that_is_killed_ends_the_import(make):
    """What it took stays; nothing is believed of a folder that was not seen as a whole; the next one goes on."""
    files = {f"part-{number}.bin": (fresh_bytes(200_000), True) for number in range(120)}
    hub, commit = make.folder(), "b" * 40
    make_cache(hub, "acme/large", commit, files)
    mount = make.mount(None, "--offline")
    killed = 0
    for wait in (0.05, 0.1, 0.2, 0.3, 0.5):
        process = subprocess.Popen([HFFS, "import", str(hub), "--state-dir", str(mount.state)], env=mount.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        eventually(lambda: not lab.processes_with(str(hub)), 5, "the end of who lends")
        if (mount.point / "models--acme--large").is_dir():
            assert len(os.listdir(mount.repo("acme/large") / "snapshots" / commit)) == len(files)
        # Long before a job that nobody looks at is given up.
        began = time.monotonic()
        small = make.folder()
        make_cache(small, f"acme/small-{wait}", "c" * 40, {"a.txt": (b"%f" % wait, False)})
        eventually(lambda: mount.hffs("import", small, "--state-dir", mount.state).code == 0, 5, "another import")
        assert time.monotonic() - began < 5
    assert killed, "none was killed: this showed nothing"
    report = take_in(mount, hub)
    assert report["commits"][0]["taken_files"] + report["commits"][0]["present_files"] == len(files)
    check(mount, "acme/large", commit, files)


def test_C6_who_lends_and_goes_away_while_it_is_read(make):
    mount = make.mount(None, "--offline")
    hub = make.folder()
    make_cache(hub, "acme/half", "d" * 40, some_files())
    ours = honest(hub)
    for most in range(1, 12):
        left = iter(range(most))
        lender = Lender(mount, hub, lambda what, place: None if next(left, None) is None else ours(what, place))
        answer = job_ends(lender)
        lender.close()
        assert answer["error"]["code"] == "cancelled", (most, answer)
        assert mount.status()["catalog"]["self_attested"] == 0, most
    assert take_in(mount, hub)["commits"][0]["taken_files"] == 3


def test_C6_nothing_else_is_taken_from_who_lends(make):
    """A daemon believes a lender no more than a folder."""
    mount = make.mount(None, "--offline")
    hub = make.folder()
    make_cache(hub, "acme/lies", "e" * 40, {"a.bin": (fresh_bytes(1000), True)})
    ours = honest(hub)
    os.mkfifo(hub / "pipe")
    pipe = os.open(hub / "pipe", os.O_RDWR)
    folder = os.open(hub, os.O_RDONLY)

    def lie(at, said):
        return lambda what, place: said if what == at else ours(what, place)
    for said in (b"", b"?", fine(), b"\1\xc8" + text(b""), fine(text(b"/x") + text(b"no repo") + text(b"")), bytes(60_000)):
        lender = Lender(mount, hub, lie(BEGIN, said or b"\0"))
        assert job_ends(lender)["error"]["code"] in ("corrupt", "invalid", "cancelled"), said
        lender.close()
    for name in (b"..", b"a/b", b"", b"."):
        lender = Lender(mount, hub, lie(LIST, fine(b"\0" + text(struct.pack("<I", stat.S_IFDIR) + text(name)))))
        assert job_ends(lender)["error"]["code"] in ("corrupt", "cancelled"), name
        lender.close()
    for descriptor in (pipe, folder):
        lender = Lender(mount, hub, lie(OPEN_FILE, (fine(), descriptor)))
        report = job_ends(lender)
        assert not any(each["taken_files"] for each in report.get("commits", [])), report
        lender.close()
    lender = Lender(mount, hub, lie(READ_LINK, fine(text(b"../../blobs/" + b"f" * 64))))
    report = job_ends(lender)
    assert [each["why"] for each in report["skipped"] if each["path"].endswith("a.bin")] == ["wrong_bytes"], report
    lender.close()
    for each in (pipe, folder):
        os.close(each)
    # What it lies in is the mount itself.
    lender = Lender(mount, hub, lie(BEGIN, fine(text(os.fsencode(mount.point)))))
    assert "in the mount itself" in job_ends(lender)["error"]["message"]
    lender.close()
    assert mount.status()["worker"]["restarts"] == 0
    assert len(os.listdir(f"/proc/{mount.worker}/fd")) < 100
