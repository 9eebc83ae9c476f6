# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the mount tests. See README.md for what they need and what they leave out without it."""
import faulthandler
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import lab  # noqa: E402
from world import World  # noqa: E402

TEST_LIMIT = 120  # seconds, after which whatever waits on a mount is let go with an error


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="few rounds, small files")
    parser.addoption("--rounds", type=int, help="rounds of kill and remount (100)")


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): how long a test may take")
    config.addinivalue_line("markers", "waits: sits out deadlines and measures nothing finer; may run beside many others")
    config.stash[COPY] = lab.let_others_run_it()


COPY = pytest.StashKey()


def pytest_unconfigure(config):
    if config.stash.get(COPY, None):
        shutil.rmtree(config.stash[COPY])


def why_not():
    """Why no mount is possible here, or None."""
    if not Path(lab.HFFS).exists():
        return f"{lab.HFFS} is not there: build it, or name it in HFFS"
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse may not be opened by this user"
    if os.geteuid() == 0:
        made = subprocess.run(["unshare", "-m", "true"], capture_output=True)
        return None if made.returncode == 0 else "mounting is not permitted here (no CAP_SYS_ADMIN)"
    return None if shutil.which("fusermount3") else "there is no fusermount3, and we are not root"


def pytest_collection_modifyitems(config, items):
    # Minutes, and a build: a suite of its own.
    if not any("test_package" in word for word in config.args):
        items[:] = [item for item in items if item.path.name != "test_package.py"]
    reason = why_not()
    if reason:
        config.stash[REASON] = reason
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"NO MOUNT POSSIBLE: {reason}"))


REASON = pytest.StashKey()


def pytest_terminal_summary(terminalreporter, config):
    if REASON in config.stash:
        terminalreporter.section("NOTHING WAS TESTED", sep="!", red=True)
        terminalreporter.line(f"The mount tests were skipped: {config.stash[REASON]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for number, mount in enumerate(lab.Mount.alive):
            tail = "\n".join(mount.log().splitlines()[-40:])
            report.sections.append((f"log of mount {number} ({mount.point})", tail))


@pytest.fixture(autouse=True)
def limit(request):
    """A test that hangs on a mount ends: the daemons are killed, and the waiting calls with them."""
    mark = request.node.get_closest_marker("limit")
    seconds = mark.args[0] if mark else TEST_LIMIT

    def let_go():
        sys.stderr.write(f"\n{request.node.nodeid} takes more than {seconds} s; its mounts are killed\n")
        faulthandler.dump_traceback(all_threads=True)
        for mount in list(lab.Mount.alive):
            mount.abandon()
    timer = threading.Timer(seconds, let_go)
    timer.daemon = True
    timer.start()
    yield
    timer.cancel()


@pytest.fixture(scope="session")
def quick(request):
    return request.config.getoption("--quick") or bool(os.environ.get("HFFS_MOUNT_QUICK"))


@pytest.fixture(scope="session")
def rounds(request, quick):
    given = request.config.getoption("--rounds") or os.environ.get("HFFS_MOUNT_ROUNDS")
    return int(given) if given else (10 if quick else 100)


class Maker:
    """Makes hubs and mounts for one test (or one module), and takes them down with a look for leftovers."""

    def __init__(self):
        self._mounts, self._worlds, self._children, self._folders = [], [], [], []

    def world(self, **options):
        made = World(**options)
        self._worlds.append(made)
        return made

    def mount(self, world=None, *args, env=None, start=True, endpoints=None, **options):
        env = {**(world.env if world else {}), **(env or {})}
        if endpoints is None:
            endpoints = [world.endpoint] if world else ["http://127.0.0.1:9"]
        made = lab.Mount(endpoints, args, env, **options)
        self._mounts.append(made)
        return made.start() if start else made

    def child(self, function, *args, **options):
        made = lab.Child(function, *args, **options)
        self._children.append(made)
        return made

    def folder(self):
        made = Path(tempfile.mkdtemp(prefix="hffs-test-"))
        self._folders.append(made)
        made.chmod(0o755)
        return made

    def clean(self):
        problems = []
        for world in self._worlds:
            world.hub.faults.clear()
        for child in self._children:
            child.stop()
        for mount in self._mounts:
            try:
                mount.leave()
            except AssertionError as error:
                problems.append(str(error))
        for world in self._worlds:
            world.stop()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        assert not problems, "\n".join(problems)


@pytest.fixture
def make():
    maker = Maker()
    yield maker
    maker.clean()


@pytest.fixture
def pages_kept():
    """For tests that count on what is in the page cache."""
    with lab.pages_kept():
        yield


@pytest.fixture
def system_user(make, root):
    return lab.SystemUser(make.folder())


@pytest.fixture
def loop_disk(make, root):
    """Makes a file system of so many bytes in a file, and mounts it."""
    points = []

    def made(size, *mkfs):
        if shutil.which(mkfs[0]) is None:
            pytest.skip(f"needs {mkfs[0]}")
        folder = make.folder()
        image, point = folder / "image", folder / "disk"
        point.mkdir()
        with open(image, "wb") as file:
            file.truncate(size)
        subprocess.run([*mkfs, str(image)], check=True)
        if subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True).returncode != 0:
            pytest.skip("no loop device can be mounted here")
        points.append(point)
        return point
    yield made
    for point in points:
        subprocess.run(["umount", "-l", str(point)], check=False)


class Common:
    """A hub and a mount for tests that neither break the hub nor mind each other."""

    def __init__(self, maker):
        self.world = maker.world()
        self.mount = maker.mount(self.world, "--allow-other") if os.geteuid() == 0 else maker.mount(self.world)
        self.hub = self.world.hub


@pytest.fixture(scope="session")
def common():
    maker = Maker()
    yield Common(maker)
    maker.clean()


@pytest.fixture
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root: several users, namespaces or the page cache")
