# SPDX-License-Identifier: Apache-2.0
"""D: hffs as a service of the machine. The service manager is a stand-in; mount(8), sh and the unit's checker are real."""
import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid
from pathlib import Path

import lab
import pytest
from lab import MIB, eventually, is_mounted, later
from test_passthrough import verified
from test_takeover import digest_of, kill, read_for_ever
from world import fresh_bytes

SCRIPTS = Path(os.environ.get("HFFS_SOURCE_ROOT", lab.ROOT)) / "scripts/packaging"


class Manager:
    """What a unit of type notify has at the other end."""

    def __init__(self, folder, abstract):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"hffs-test-{uuid.uuid4()}"
        self.address = f"@{name}" if abstract else str(folder / "notify")
        self.socket.bind(f"\0{name}" if abstract else self.address)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.senders = set()

    def next(self, timeout=20):
        """The next message, as a dict."""
        self.socket.settimeout(timeout)
        text, ancillary, _, _ = self.socket.recvmsg(65536, 256)
        self.senders.update(struct.unpack("3i", data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS)
        lines = text.decode().split("\n")
        assert all("=" in line for line in lines), lines
        return dict(line.split("=", 1) for line in lines)

    def wait_for(self, key, timeout=20):
        """The next message that has it; those before are left out."""
        deadline = time.monotonic() + timeout
        while True:
            said = self.next(max(0.01, deadline - time.monotonic()))
            if key in said:
                return said

    def silent(self):
        with contextlib.suppress(BlockingIOError):
            self.socket.setblocking(False)
            return self.socket.recv(65536) is None
        return True


@pytest.fixture(params=["path", "abstract"])
def manager(make, request):
    made = Manager(make.folder(), request.param == "abstract")
    yield made
    made.socket.close()


@pytest.fixture
def service(make):
    """A world, its mount as a service, and the manager, which has heard that it is ready."""
    world, manager = make.world(), Manager(make.folder(), False)

    def start(*args, **options):
        mount = make.mount(world, *args, env={"NOTIFY_SOCKET": manager.address}, **options)
        assert manager.next()["READY"] == "1"
        return world, mount, manager
    yield start
    manager.socket.close()


def test_D1_ready_is_said_when_the_mount_answers(make, manager):
    world = make.world()
    repo = world.add({"a.txt": b"a"})
    mount = make.mount(world, env={"NOTIFY_SOCKET": manager.address}, start=False)

    def look():
        said = manager.next()
        return said, is_mounted(mount.point) and mount.file(repo, "a.txt").read_bytes()
    looking = later(look)
    mount.start()
    (said, found), = looking.join()
    assert said["READY"] == "1" and str(mount.point) in said["STATUS"]
    assert found == b"a"
    # By the process that was started: a manager hears no other.
    assert manager.senders == {mount.pid}
    with open(f"/proc/{mount.worker}/environ", "rb") as file:
        assert b"NOTIFY_SOCKET" not in file.read(), "the worker is not the service"


def test_D1_a_start_that_fails_says_why(make, manager):
    mount = make.mount(make.world(), "--config", "/dev/null", env={"NOTIFY_SOCKET": manager.address}, start=False)
    (mount.point / "in-the-way").write_text("x")
    done = mount.hffs(*mount.command("--foreground")[1:])
    assert done.code == 21, done
    said = manager.next()
    assert "READY" not in said and "is not empty" in said["STATUS"]


def test_D1_who_goes_into_the_background_is_no_service(make, manager):
    """Or another service, that runs us, would be ready when we are."""
    mount = make.mount(make.world(), env={"NOTIFY_SOCKET": manager.address}, background=True)
    mount.umount()
    assert manager.silent()


def test_D1_the_end_of_a_worker_is_told(service):
    world, mount, manager = service()
    kill(mount)
    assert "another one goes on" in manager.next()["STATUS"]
    assert manager.next()["READY"] == "1"


def test_D2_a_reload_replaces_the_worker(make, service):
    world, mount, manager = service()
    repo = verified(world, mount, {"a.bin": fresh_bytes(2 * MIB)})
    reader = make.child(read_for_ever, str(mount.file(repo, "a.bin")), digest_of(repo.content["a.bin"]), "random")
    assert reader.heard() == "reads"
    for _ in range(3):
        before = mount.worker
        asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        os.kill(mount.pid, signal.SIGUSR1)
        said = manager.next()
        assert said["RELOADING"] == "1"
        assert asked <= int(said["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        said = manager.next()
        assert said["READY"] == "1" and "RELOADING" not in said
        # The new one serves by then.
        assert mount.worker != before and str(mount.worker) in said["STATUS"]
    reader.tell("stop")
    assert reader.result(60)[0] > 0
    assert manager.senders == {mount.pid}


@pytest.mark.parametrize("settings", ["nonsense = 1\n", "", '"a\\nMAINPID=1\\n\\tb" = "ü"\n'])
def test_D2_a_reload_that_is_refused_says_why(service, settings):
    world, mount, manager = service(config="sync_interval = 0.05\n")
    repo = world.add({"a.txt": b"a"})
    before, words = mount.worker, mount.config.read_text()
    if settings:
        mount.config.write_text(words + settings)
    else:
        mount.config.unlink()
    os.kill(mount.pid, signal.SIGUSR1)
    assert manager.next()["RELOADING"] == "1"
    said = manager.next()
    assert said["READY"] == "1" and "the old one goes on" in said["STATUS"]
    assert str(mount.config) in said["STATUS"]
    assert set(said) == {"READY", "STATUS"}, "what stands in a file became an assignment"
    assert mount.worker == before
    assert mount.file(repo, "a.txt").read_bytes() == b"a"
    # And is possible again.
    mount.config.write_text(words)
    os.kill(mount.pid, signal.SIGUSR1)
    assert manager.next()["RELOADING"] == "1"
    assert manager.next()["READY"] == "1"
    assert mount.worker != before


@pytest.mark.parametrize("how", ["signal", "umount", "signal while reloading"])
def test_D3_the_end_is_told(service, how):
    world, mount, manager = service()
    if how == "umount":
        mount.umount()
    else:
        if "reloading" in how:
            os.kill(mount.pid, signal.SIGUSR1)
            assert manager.next()["RELOADING"] == "1"
        os.kill(mount.pid, signal.SIGTERM)
        assert mount.wait_gone() == 0
    assert manager.wait_for("STOPPING")["STOPPING"] == "1"
    assert manager.silent(), "said more than once, or taken back"
    assert not is_mounted(mount.point)


# mount(8)

class Machine:
    """A mount namespace in which the package's files are installed; else it is this machine."""

    def __init__(self, folder):
        self.folder, self.point, self.state = folder, folder / "mnt", folder / "state"
        commands = []
        for where, links in (("/usr/sbin", {name: SCRIPTS / "mount.hffs" for name in
                                            ("mount.hffs", "mount.fuse.hffs")}),
                             ("/usr/bin", {"hffs": lab.HFFS})):
            layer = folder / where.replace("/", "-")
            layer.mkdir()
            for name, target in links.items():
                shutil.copy(target, layer / name)
            commands.append(f"mount -t overlay -o lowerdir={layer}:{where} overlay {where}")
        self.point.mkdir()
        self.holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c",
                                        " && ".join([*commands, "echo ready", "exec cat"])],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            self.end()
            pytest.skip("nothing can be laid over /usr/sbin here")

    def run(self, *words, **options):
        options = {"timeout": 60, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "cwd": "/"} | options
        return lab.Run(subprocess.run(["nsenter", "-t", str(self.holder.pid), "-m", "--", *map(str, words)], **options))

    def mount(self, *words):
        return self.run("mount", *words)

    def mounts(self):
        """Source, options."""
        lines = [line.split() for line in Path(f"/proc/{self.holder.pid}/mounts").read_text().splitlines()]
        return [(fields[0], fields[3].split(",")) for fields in lines if fields[1:3] == [str(self.point), lab.FS_TYPE]]

    def daemons(self):
        return lab.processes_with(str(self.state))

    def path(self, path):
        return Path(f"/proc/{self.holder.pid}/root{path}")

    def end(self):
        while self.mounts():
            self.run("umount", "-i", "-l", self.point)
        eventually(lambda: not self.daemons(), 20, "the end of the daemons")
        self.holder.stdin.close()
        self.holder.wait(10)
        self.holder.stdout.close()


@pytest.fixture
def machine(make, root):
    made = Machine(make.folder())
    yield made
    made.end()


def test_D4_mounted_by_mount(make, machine):
    world = make.world()
    repo = world.add({"a.txt": b"a"})
    options = f"state_dir={machine.state},endpoint={world.endpoint},allow_other"
    for number in range(3):
        done = machine.mount("-t", "hffs", "hffs", machine.point, "-o", options)
        assert done.code == 0, done
        [(source, said)] = machine.mounts()
        assert source == "hffs" and "allow_other" in said and "rw" in said
        name = f"models--{repo.id.replace('/', '--')}/snapshots/main/a.txt"
        assert machine.path(machine.point / name).read_bytes() == b"a"
        # umount(8) does not wait for the daemon; the next one does.
        assert machine.run("umount", machine.point).code == 0
        assert not machine.mounts()


def test_D4_a_daemon_that_ends_is_waited_for(machine):
    """Its mount and its socket are gone, and it still has the store: here it is the test that has it."""
    options = f"offline,state_dir={machine.state}"
    assert machine.mount("-t", "hffs", "hffs", machine.point, "-o", options).code == 0
    assert machine.run("umount", machine.point).code == 0
    eventually(lambda: not machine.daemons(), 20)
    with open(machine.state / "hffs-v1/LOCK", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = later(lambda: machine.mount("-t", "hffs", "hffs", machine.point, "-o", options))
        with pytest.raises(AssertionError, match="still waiting"):
            waiting.join(2)
    assert waiting.join(20)[0].code == 0
    assert machine.mounts()


def test_D4_a_state_directory_in_use_is_told_at_once(make, machine):
    options = f"offline,state_dir={machine.state}"
    assert machine.mount("-t", "hffs", "hffs", machine.point, "-o", options).code == 0
    other = machine.folder / "other"
    other.mkdir()
    began = time.monotonic()
    for point in (machine.point, other):
        done = machine.mount("-t", "hffs", "hffs", point, "-o", options)
        assert done.code == 32 and "in use" in done.err, done
    assert time.monotonic() - began < 15


def test_D4_lines_of_fstab(make, machine):
    """Words for others are others', and a second `mount -a` finds it mounted."""
    world = make.world()
    config = machine.folder / "config.toml"
    config.write_text("ref_ttl = 7\n")
    for source, options in (("hffs", f"defaults,endpoint={world.endpoint},config={config}"),
                            (world.endpoint, "rw,noatime,_netdev,nofail,noauto,user=bob,exec,x-systemd.automount,x-hffs=1"),
                            ("file:///usr/share", "offline,ro,noexec"), ("none", "offline,nouser,group,comment=hub")):
        table = machine.folder / "fstab"
        table.write_text(f"{source} {machine.point} hffs state_dir={machine.state},{options} 0 0\n")
        for _ in range(2):
            done = machine.mount("-T", table, machine.point) if "noauto" in options and not machine.mounts() else \
                machine.mount("-a", "-T", table)
            assert done.code == 0, done
        [(found, said)] = machine.mounts()
        assert found == source and "allow_other" not in said
        for each in ("ro", "noexec"):
            assert (each in said) == (each in options.split(",")), said
        assert {"nosuid", "nodev"} <= set(said)
        words = Path(f"/proc/{min(machine.daemons())}/cmdline").read_text().split("\0")
        assert ("--offline" in words) == ("offline" in options)
        assert ("--config" in words) == ("config" in options) and ("--endpoint" in words) == ("://" in source + options)
        assert machine.run("umount", machine.point).code == 0


@pytest.mark.parametrize("words, code, says", [
    (["hffs", "-o", "nonsense"], 1, "unknown option 'nonsense'"), (["hffs", "-o", "config="], 1, "unknown option 'config='"),
    (["nonsense"], 1, "neither hffs nor"), (["ftp://a/b"], 1, "neither hffs nor"),
    (["hffs", "-o", "endpoint=nonsense"], 1, "must begin with"), (["hffs", "-o", "config=/nonexistent"], 1, "not usable"),
    (["hffs", "-o", "state_dir=/dev/null/a"], 32, "state directory")])
def test_D4_what_is_wrong_is_told_as_mount_does(machine, words, code, says):
    options = [f"state_dir={machine.state},{word}" if words[index - 1] == "-o" else word
               for index, word in enumerate(words)]
    done = machine.mount("-t", "hffs", options[0], machine.point, *options[1:])
    assert done.code == code and says in done.err, done
    assert not machine.mounts() and not machine.daemons()


def test_D4_what_is_not_known_passes_where_that_is_asked(machine):
    assert machine.mount("-s", "-t", "hffs", "hffs", machine.point, "-o", f"state_dir={machine.state},offline,new").code == 0
    assert machine.mounts()


def test_D4_a_dead_mount_is_replaced_and_ended(machine):
    options = f"state_dir={machine.state},offline"
    for _ in range(2):
        assert machine.mount("-t", "hffs", "hffs", machine.point, "-o", options).code == 0
        for pid in machine.daemons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not machine.daemons(), 10)
    assert machine.run("umount", machine.point).code == 0
    assert not machine.mounts()


# What is installed

def login(folder, mounts, *shell, **variables):
    """What a login shell makes of HF_HUB_CACHE where these are the kernel's mounts."""
    (folder / "mounts").write_text("".join(f"{line}\n" for line in mounts))
    script = (SCRIPTS / "hffs.sh").read_text()
    assert script.count("/proc/self/mounts") == 1
    (folder / "hffs.sh").write_text(script.replace("/proc/self/mounts", str(folder / "mounts")))
    done = subprocess.run([*shell, f". {folder}/hffs.sh; echo \"${{HF_HUB_CACHE-unset}}\"; env"], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], **variables}, check=True, timeout=10)
    assert not done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "unset" or f"HF_HUB_CACHE={first}" in rest, "it is not exported"
    return first


@pytest.mark.parametrize("shell", [["sh", "-euc"], ["bash", "-euc"], ["zsh", "-euc"]], ids=lambda words: words[0])
def test_D5_a_login_finds_the_mount(make, shell):
    if shutil.which(shell[0]) is None:
        pytest.skip(f"needs {shell[0]}")
    folder = make.folder()
    others = ["proc /proc proc rw 0 0", "/dev/sda1 /mnt ext4 rw 0 0", "hffs /home/a/hf fuse.hffs rw 0 0",
              "hffs /mnt/hf2 fuse.hffs rw 0 0", "x /mnt/hf fuse.sshfs rw 0 0"]
    here = [*others, "hffs /mnt/hf fuse.hffs rw,nosuid,nodev 0 0"]
    assert login(folder, here, *shell) == "/mnt/hf"
    assert login(folder, others, *shell) == "unset"
    assert login(folder, [], *shell) == "unset"
    assert login(folder, ["http://127.0.0.1:9 /mnt/hf fuse.hffs rw 0 0"], *shell) == "/mnt/hf"
    # Who has said where it is, if nowhere, is not contradicted.
    assert login(folder, here, *shell, HF_HUB_CACHE="/mine") == "/mine"
    assert login(folder, here, *shell, HF_HUB_CACHE="") == ""
    assert login(folder, here, *shell, HF_HOME="/mine") == "unset"
    assert login(folder, here, *shell, HUGGINGFACE_HUB_CACHE="/mine") == "unset"


def test_D5_a_login_does_not_wait_for_the_mount(make, root):
    """The daemon is stopped, and so is whoever asks it."""
    mount = make.mount(make.world())
    keeper, worker = mount.pid, mount.worker
    script = (SCRIPTS / "hffs.sh").read_text().replace("/mnt/hf", str(mount.point))
    for pid in (keeper, worker):
        os.kill(pid, signal.SIGSTOP)
    # Nobody who waits for it could be ended before that.
    again = threading.Timer(4, lambda: [os.kill(pid, signal.SIGCONT) for pid in (worker, keeper)])
    again.start()
    began = time.monotonic()
    try:
        done = subprocess.run(["sh", "-c", f"{script}\necho $HF_HUB_CACHE"], capture_output=True, text=True, timeout=60,
                              env={"PATH": os.environ["PATH"]}, cwd="/", check=True)
        assert time.monotonic() - began < 3
    finally:
        again.join()
    assert done.stdout.strip() == str(mount.point)


def unit():
    """(section, key, value) of hffs.service."""
    section, found = "", []
    for line in (SCRIPTS / "hffs.service").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;":
            found.append((section, *line.split("=", 1)))
    return found


# systemd.exec(5): whatever gives the service a mount namespace.
NAMESPACING = re.compile(r"Protect|Private|(Read|Write|Exec|NoExec|Inaccessible|Bind|Temporary).*(Path|FileSystem)|Root|Mount|DynamicUser|"
                         r"ExtensionImages|ExtensionDirectories|(State|Cache|Logs|Runtime|Configuration)Directory|JoinsNamespaceOf|"
                         r"NetworkNamespacePath|LoadCredential|SetCredential|ImportCredential|PAMName|RestrictNamespaces|User$|Group$")


def test_D6_everybody_sees_what_the_service_mounts():
    keys = [key for section, key, value in unit() if section == "Service"]
    assert not [key for key in keys if NAMESPACING.match(key)]
    values = {key: value for section, key, value in unit()}
    assert values["Type"] == "notify" and values["KillMode"] == "mixed" and values["OOMPolicy"] == "continue"
    assert "--foreground" in values["ExecStart"] and "--allow-other" in values["ExecStart"]


def test_D6_the_unit_is_understood(make):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    folder = make.folder()
    words = (SCRIPTS / "hffs.service").read_text().replace("/usr/bin/hffs", lab.HFFS)
    (folder / "hffs.service").write_text(words.replace("file:///usr/share/doc/hffs/README.md", "https://example.org"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", folder / "hffs.service"], capture_output=True, text=True,
                          timeout=60, check=False)
    assert "hffs.service" not in done.stderr and str(folder) not in done.stderr, done.stderr


def test_D6_every_setting_stands_in_the_example(make):
    """The README's table has them, and each may be uncommented as it stands."""
    text = (SCRIPTS / "config.toml").read_text()
    keys = re.findall(r"^#([a-z_]+) = ", text, re.M)
    refused = make.mount(config="nonsense = 1\n", start=False)
    known = refused.hffs(*refused.command()[1:]).err.split("the keys are: ")[1].split(";")[0].split(", ")
    assert sorted(keys) == sorted(known)
    folder = make.folder()
    (folder / "token").write_text("hf_x")
    text = re.sub(r"^#([a-z_]+ = )", r"\1", text, flags=re.M)
    (folder / "config.toml").write_text(text.replace("/etc/hffs/token", str(folder / "token")))
    done = lab.hffs("mount", folder / "nowhere", "--config", folder / "config.toml", "--state-dir", folder / "state",
                    "--log-file", folder / "log")
    assert done.code == 3 and "does not exist" in done.err, done
