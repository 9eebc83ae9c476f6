# SPDX-License-Identifier: Apache-2.0
"""K13, O10: whom the worker becomes, and what it may read then."""
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import lab
import pytest
from lab import ALICE, HFFS, eventually, exists
from test_carry import check, fetched_nothing, make_cache, put_on_hub, some_files
from test_lending import owners, private_home
from test_passthrough import verified
from test_takeover import check_rights, kill, serving
from world import quiet

pytestmark = pytest.mark.usefixtures("root")


def ids_of(pid):
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return [set(map(int, status["Uid"].split())), set(map(int, status["Gid"].split())), status["Groups"].split()]


def test_K13_the_worker_is_the_system_user(make, system_user):
    them = (system_user.UID, system_user.GID)
    world = make.world()
    mount = make.mount(world, "--allow-other", system_user=system_user)
    for _ in range(2):
        assert ids_of(mount.worker) == [{them[0]}, {them[1]}, []]
        check_rights(mount)
        kill(mount)
    assert ids_of(mount.pid)[0] == {0}
    repo = verified(world, mount)
    assert owners(mount.state / "hffs-v1") == {them}
    # What is seen is the daemon's user's still, who decides.
    assert os.stat(mount.point).st_uid == 0 and os.stat(mount.blob(repo, "model.safetensors")).st_uid == 0
    assert mount.hffs("pin", repo.id, "--state-dir", mount.state).code == 0
    done = mount.hffs("import", mount.home, "--state-dir", mount.state, user=system_user.UID)
    assert done.code == 4 and "only root" in done.err, done
    # It owns nothing but the store.
    assert os.stat(mount.state).st_uid == 0
    mount.kill9()
    mount.start()
    assert ids_of(mount.worker)[0] == {them[0]}
    with quiet(world):
        assert mount.file(repo, "model.safetensors").read_bytes() == repo.content["model.safetensors"]


def test_K13_what_root_had_is_handed_over(make, system_user):
    them = (system_user.UID, system_user.GID)
    world = make.world()
    mount = make.mount(world, "--allow-other", system_user=system_user)
    mount.prefix, prefix = [], mount.prefix
    mount.umount()
    shutil.rmtree(mount.state)
    mount.start()
    assert ids_of(mount.worker)[0] == {0}
    check_rights(mount)
    repo = verified(world, mount)
    assert owners(mount.state / "hffs-v1") == {(0, 0)}
    mount.umount()
    store, outside = mount.state / "hffs-v1", make.folder()
    (outside / "file").write_text("root's")
    (store / "overlay/link").symlink_to(outside)
    (store / "overlay/far").symlink_to(outside / "file")
    (store / "adopt.journal").write_text("")
    mount.prefix = prefix
    mount.start()
    assert ids_of(mount.worker)[0] == {them[0]}
    assert owners(store) == {them}
    assert owners(outside) == {(0, 0)} and os.stat(mount.state / "adopt.journal").st_uid == 0
    assert not (store / "adopt.journal").exists()
    opens = mount.metric("passthrough_opens")
    with quiet(world):
        assert mount.file(repo, "model.safetensors").read_bytes() == repo.content["model.safetensors"]
    status = mount.status()
    assert status["mode"] == "passthrough", status["mode_reason"]
    assert mount.metric("passthrough_opens") == opens + 1
    other = verified(world, mount)
    kill(mount)
    with quiet(world):
        for each in (repo, other):
            assert mount.file(each, "model.safetensors").read_bytes() == each.content["model.safetensors"]
    before = mount.worker
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: serving(mount) not in (None, before), 10, "another worker")
    assert ids_of(mount.worker)[0] == {them[0]}
    assert mount.file(repo, "model.safetensors").read_bytes() == repo.content["model.safetensors"]
    # Where there is no such user any more, it is root's again; what a ghost has root's worker could not write.
    mount.umount()
    mount.state.chmod(0o700)
    mount.start()
    assert "cannot get to" in mount.log() and ids_of(mount.worker)[0] == {0}
    assert owners(store) == {(0, 0)}
    assert mount.file(other, "model.safetensors").read_bytes() == other.content["model.safetensors"]


def test_K13_root_leaves_no_file_of_its_own_in_the_store(make, system_user):
    """Where no daemon runs the command is the system user itself; what it imports it was lent."""
    world = make.world()
    files = some_files()
    repo = put_on_hub(world, files)
    hub = private_home(make, repo, files)
    mount = make.mount(world, system_user=system_user)
    mount.umount()
    done = subprocess.run([*system_user.prefix(), HFFS, "import", hub, "--state-dir", mount.state, "--endpoint", world.endpoint],
                          env=mount.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    assert owners(mount.state / "hffs-v1") == {(system_user.UID, system_user.GID)}
    mount.start()
    check(mount, repo.id, repo.commit, files)
    fetched_nothing(world)


def test_K13_what_a_worker_puts_in_the_logs_place_is_not_written_to(make, system_user):
    mount = make.mount(make.world(), system_user=system_user)
    mount.umount()
    victim = mount.box / "victim"
    victim.write_text("")
    log = mount.state / "hffs-v1/hffs.log"
    log.unlink(missing_ok=True)
    for put in (log.symlink_to, log.hardlink_to):
        put(victim)
        done = subprocess.run([*mount.prefix, *mount.command()], env=mount.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0 and "log file" in done.stderr, done
        assert victim.read_text() == ""
        log.unlink()


# A folder as origin has the worker's


def test_O11_a_folder_that_is_mounted_later_and_again(root, make):
    """The rules that a worker has entered are about the directory that was there then."""
    folder = make.folder() / "nas"
    folder.mkdir()
    mount = make.mount(None, endpoints=[f"file://{folder}"])
    workers = [mount.worker]
    for round in range(2):
        id, files = f"acme/of-{round}", some_files()
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        try:
            make_cache(folder, id, "b" * 40, files)
            eventually(lambda: exists(mount.repo(id) / "refs/main"), 30, "the folder")
            check(mount, id, "b" * 40, files)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        assert mount.worker not in workers, "the rules let it read anything"
        workers.append(mount.worker)
    assert mount.log().count("another one is asked for") >= 2


def test_K12_a_bundle_that_is_replaced_is_read_by_the_next_worker(make):
    bundle = make.folder() / "ca.pem"
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", bundle)
    mount = make.mount(make.world(), config=f'ca_bundle = "{bundle}"\n')
    before = mount.worker
    shutil.copy(bundle, bundle.with_suffix(".new"))
    os.replace(bundle.with_suffix(".new"), bundle)
    eventually(lambda: mount.worker != before, 30, "a worker that may read it")
    assert f"{bundle} came after this worker" in mount.log()


@pytest.mark.parametrize("own", [False, True], ids=["root", "hffs"])
def test_O10_a_folder_that_the_worker_may_not_read(make, request, own):
    files = some_files()
    hub = make.folder() / "hub"
    make_cache(hub, "acme/private", "a" * 40, files)
    for path in (hub, hub / "models--acme--private"):
        os.chown(path, ALICE, ALICE)
    user = request.getfixturevalue("system_user") if own else None
    hub.chmod(0o700)
    mount = make.mount(None, endpoints=[f"file://{hub}"], **({"system_user": user} if own else {}))
    who = f"user hffs ({user.UID}" if own else "user root (0"

    def health():
        with lab.refuses(2):
            os.stat(mount.repo("acme/private") / "refs/main")
        [found] = mount.status()["endpoints"]
        return found
    down = eventually(lambda: (lambda found: found if not found["up"] else None)(health()), 10, "the folder's end")
    assert who in down["last_error"] and "setfacl" in down["last_error"], down
    assert who in mount.log()
    hub.chmod(0o755)
    eventually(lambda: (mount.repo("acme/private") / "refs/main").exists(), 10, "the folder")
    # A part of it.
    (hub / "models--acme--private").chmod(0o700)
    make_cache(hub, "acme/open", "b" * 40, files)
    found = eventually(lambda: (lambda found: found if found["last_error"] else None)(
        (os.path.exists(mount.repo("acme/private") / "refs/v2"), *mount.status()["endpoints"])[1]), 10, "the reason")
    assert found["up"] and who in found["last_error"] and "models--acme--private" in found["last_error"], found
    check(mount, "acme/open", "b" * 40, files)
