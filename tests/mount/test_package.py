# SPDX-License-Identifier: Apache-2.0
"""D: the package, from installing it to purging it, in clean roots of the distributions. A suite of its own: it runs
where this file is named."""
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from lab import MIB, ROOT, eventually, is_gone
from machine import Machine, Roots
from test_service import Manager
from test_takeover import digest_of, read_for_ever
from world import fresh_bytes

STRANGER = 4711
UPDATEDB = '# plocate\nPRUNEFS="NFS proc fuse.sshfs"\nPRUNENAMES=".git"\n'


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Two packages of this tree, the second newer. Whose scripts are another tree's has this one's program."""
    out = tmp_path_factory.mktemp("packages")

    def made(*words):
        done = subprocess.run([Path(os.environ.get("HFFS_SOURCE_ROOT", ROOT)) / "scripts/package", "--out", out,
                               "--build-dir", ROOT / "build-package", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return Path(done.stdout.splitlines()[-1])
    first = made()
    return first, made("--version", f"{first.name.split('_')[1]}+1")


@pytest.fixture(params=["bookworm", "trixie"])
def machine(make, root, request):
    roots = Roots(ROOT / "build/roots")
    made = Machine(make.folder() / "root", roots.get(request.param), roots)
    yield made
    made.end()


@pytest.fixture
def manager(machine):
    made = Manager(machine.path("/run"), False)
    yield made
    made.socket.close()


class Service:
    """hffs.service as it stands on the machine, run as its manager would."""

    def __init__(self, machine, manager):
        self.machine, self.manager = machine, manager
        text = machine.path("/usr/lib/systemd/system/hffs.service").read_text()
        self.words = dict(re.findall(r"^(ExecStartPre|ExecStart|ExecReload|EnvironmentFile)=-?(.*)$", text, re.M))
        self.process = None

    def start(self):
        self.machine.does(*self.words["ExecStartPre"].split())
        settings = [line for line in self.machine.path(self.words["EnvironmentFile"]).read_text().splitlines()
                    if line and not line.startswith("#")]
        self.process = subprocess.Popen(self.machine.command("env", "NOTIFY_SOCKET=/run/notify", *settings,
                                                             *self.words["ExecStart"].split()), cwd="/", stdin=subprocess.DEVNULL)
        assert self.manager.next()["READY"] == "1"
        [self.pid] = self.manager.senders
        return self

    def reload(self):
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as file:
            inside = re.search(r"^NSpid:.*\s(\d+)$", file.read(), re.M)[1]
        words = [word.replace("$$", "$") for word in shlex.split(self.words["ExecReload"])]
        self.machine.does("env", f"MAINPID={inside}", *words)
        assert self.manager.next()["RELOADING"] == "1"
        assert self.manager.next()["READY"] == "1"

    def worker(self):
        return next(int(child) for child in open(f"/proc/{self.pid}/task/{self.pid}/children").read().split())


def program_of(pid):
    return os.readlink(f"/proc/{pid}/exe")


@pytest.mark.limit(400)
def test_D7_from_install_to_purge(make, machine, manager, packages):
    first, second = packages
    world = make.world()
    repo = world.add({"model.safetensors": fresh_bytes(3 * MIB)})
    machine.path("/etc/updatedb.conf").write_text(UPDATEDB)

    # Installed: it is there, and nothing runs.
    machine.install(first)
    assert not machine.is_mounted()
    assert machine.path("/etc/systemd/system/multi-user.target.wants/hffs.service").is_symlink()
    assert machine.does("getent", "passwd", "hffs")
    assert 'fuse.sshfs fuse.hffs"' in machine.path("/etc/updatedb.conf").read_text()
    assert machine.path("/var/lib/hffs").is_dir()
    assert "complete -F _hffs hffs" in machine.path("/usr/share/bash-completion/completions/hffs").read_text()
    assert machine.path("/usr/share/man/man1/hffs.1.gz").exists() and machine.path("/usr/share/man/man1/hffs-mount.1.gz").exists()
    with open(machine.path("/etc/default/hffs"), "a", encoding="utf-8") as file:
        file.write(f"HF_ENDPOINT={world.endpoint}\n")
    assert machine.does("stat", "-c", "%a", "/etc/default/hffs") == "600\n"
    untouched = machine.path("/etc/default/hffs").read_bytes()

    # Started: everybody reads.
    service = Service(machine, manager).start()
    path = f"/mnt/hf/models--{repo.id.replace('/', '--')}/snapshots/main/model.safetensors"
    digest = digest_of(repo.content["model.safetensors"])
    assert machine.does("sha256sum", path, user=STRANGER).split()[0] == digest
    assert machine.does("sh", "-c", ". /etc/profile.d/hffs.sh; echo $HF_HUB_CACHE", user=STRANGER) == "/mnt/hf\n"
    assert machine.does("stat", "-c", "%U:%G", "/var/lib/hffs/hffs-v1", "/var/lib/hffs") == "hffs:hffs\nroot:root\n"

    # Reloaded, by what a clean machine has.
    before = service.worker()
    service.reload()
    assert service.worker() != before

    # Upgraded: who reads goes on, and the new program serves.
    reader = make.child(read_for_ever, str(machine.path(path)), digest, "random")
    assert reader.heard() == "reads"
    before = service.worker()
    assert program_of(before) == "/usr/bin/hffs"
    machine.does("dpkg", "-i", machine.put(second))
    assert manager.next()["RELOADING"] == "1"
    assert manager.next()["READY"] == "1"
    eventually(lambda: is_gone(before), 10)
    assert program_of(service.worker()) == "/usr/bin/hffs" and program_of(service.pid) == "/usr/bin/hffs (deleted)"
    reader.tell("stop")
    assert reader.result(60)[0] > 0
    assert machine.path("/etc/default/hffs").read_bytes() == untouched
    assert machine.path("/etc/updatedb.conf").read_text().count("fuse.hffs") == 1

    # In use: it is not taken away.
    with open(machine.path(path), "rb") as held:
        done = machine.run("dpkg", "-r", "hffs")
        assert done.code != 0 and "in use" in done.err, done
        assert machine.is_mounted() and held.read() == repo.content["model.safetensors"]

    # Removed: the mount has ended, content and settings stay.
    machine.does("dpkg", "-r", "hffs")
    assert manager.next()["STOPPING"] == "1"
    assert service.process.wait(20) == 0
    assert not machine.is_mounted()
    assert machine.path("/var/lib/hffs/hffs-v1").is_dir() and machine.path("/etc/hffs/config.toml").exists()

    # Purged: nothing of it is left.
    machine.does("dpkg", "-P", "hffs")
    left = machine.does("find", "/", "-xdev", "-name", "*hffs*", "-not", "-path", "/root/*").split()
    assert not left
    assert not machine.path("/mnt/hf").exists()
    assert machine.run("getent", "passwd", "hffs").code == 2
    assert machine.path("/etc/updatedb.conf").read_text() == UPDATEDB


@pytest.mark.limit(400)
@pytest.mark.parametrize("machine", ["bookworm"], indirect=True)
def test_D7_a_purge_leaves_what_is_served(make, machine, packages):
    """By root, though not from the package's unit: its directory is not taken away from below."""
    machine.install(packages[0])
    machine.does("mkdir", "/mnt/other")
    machine.does("sh", "-c", "HF_HUB_OFFLINE=1 hffs mount /mnt/other")
    # As if its removal had been forced.
    machine.path("/var/lib/dpkg/info/hffs.prerm").unlink()
    machine.does("dpkg", "-P", "hffs")
    assert machine.path("/var/lib/hffs/hffs-v1").is_dir()
    assert machine.does("cat", "/mnt/other/version.txt") == "1"
    machine.does("umount", "/mnt/other")


@pytest.mark.limit(400)
def test_D7_mounted_by_fstab(make, machine, packages):
    """mount(8) as the distribution has it."""
    world = make.world()
    repo = world.add({"a.txt": b"a"})
    machine.install(packages[0])
    machine.does("mkdir", "-p", "/mnt/hf")
    with open(machine.path("/etc/fstab"), "a", encoding="utf-8") as file:
        file.write(f"{world.endpoint} /mnt/hf hffs allow_other,_netdev,nofail,x-systemd.automount 0 0\n")
    for _ in range(2):
        machine.does("mount", "-a")
        machine.does("mount", "-a")
        name = f"/mnt/hf/models--{repo.id.replace('/', '--')}/snapshots/main/a.txt"
        assert machine.does("cat", name, user=STRANGER) == "a"
        machine.does("umount", "/mnt/hf")
    machine.does("mount", "/mnt/hf")
    machine.does("dpkg", "-P", "hffs")
    assert not machine.is_mounted() and not machine.path("/var/lib/hffs").exists()


def stage_that_runs():
    """What scripts/packaging/Dockerfile does after its last FROM."""
    text = re.sub(r"\\\n", " ", (Path(os.environ.get("HFFS_SOURCE_ROOT", ROOT)) / "scripts/packaging/Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    last = max(number for number, (word, _) in enumerate(lines) if word == "FROM")
    return lines[last + 1:]


@pytest.mark.limit(400)
@pytest.mark.parametrize("machine", ["bookworm"], indirect=True)
def test_D7_the_image(make, machine, packages):
    """The recipe's last stage in a clean root, with a package of this tree: what it starts serves, and ends in order."""
    world = make.world()
    repo = world.add({"a.txt": b"a"})
    machine.path("/etc/apt/apt.conf.d/here").write_text('APT::Sandbox::User "root"; APT::Keep-Downloaded-Packages "true";\n')
    words = []
    for word, rest in stage_that_runs():
        if word == "COPY":
            machine.does("mkdir", rest.split()[-1])
            machine.path(rest.split()[-1]).joinpath(packages[0].name).write_bytes(packages[0].read_bytes())
        elif word == "RUN":
            done = machine.run("sh", "-c", rest, timeout=240)
            if "Failed to fetch" in done.err or "Unable to fetch" in done.err:
                pytest.skip(f"what the image needs cannot be had: {done.err[-300:]}")
            assert done.code == 0, done
        elif word in ("ENTRYPOINT", "CMD"):
            words += json.loads(rest)
        else:
            assert word in ("VOLUME", "STOPSIGNAL"), word
    # What Docker gives it: the first process, with an environment and no terminal.
    process = subprocess.Popen(machine.command("env", f"HF_ENDPOINT={world.endpoint}", *words), cwd="/", stdin=subprocess.DEVNULL)
    eventually(machine.is_mounted, 20)
    name = f"/mnt/hf/models--{repo.id.replace('/', '--')}/snapshots/main/a.txt"
    assert machine.does("cat", name, user=STRANGER) == "a"
    keeper = json.loads(machine.does("hffs", "status", "/mnt/hf", "--json"))["pid"]
    machine.does("sh", "-c", f"kill -TERM {keeper}")
    assert process.wait(30) == 0
    assert not machine.is_mounted() and machine.path("/var/lib/hffs/hffs-v1").is_dir()
