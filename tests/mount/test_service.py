# SPDX-License-Identifier: Apache-2.0
"""D: hffs as a service of the machine. The service manager is a stand-in; mount(8), sh and the unit's checker are real."""
import contextlib
import os
import signal
import socket
import struct
import time
import uuid

import pytest
from lab import MIB, eventually, is_mounted, later
from test_passthrough import OLD, verified
from test_takeover import digest_of, kill, read_for_ever
from world import fresh_bytes


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
