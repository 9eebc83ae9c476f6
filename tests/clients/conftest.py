# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the client tests. See README.md."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

pytest.register_assert_rewrite("client", "mounted", "opensora", "pair")
import mounted  # noqa: E402
import opensora  # noqa: E402
from client import Client  # noqa: E402
from hub import Hub  # noqa: E402

REASON = pytest.StashKey()


def why_no_mount():
    """Why no mount is possible here, or None."""
    if not Path(mounted.HFFS).exists():
        return f"{mounted.HFFS} is not there: scripts/setup builds it, or name it in HFFS"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is not there, or may not be opened by this user"
    if os.geteuid() == 0:
        made = subprocess.run(["unshare", "-m", "true"], capture_output=True)
        return None if made.returncode == 0 else "mounting is not permitted here (no CAP_SYS_ADMIN)"
    return None if shutil.which("fusermount3") else "there is no fusermount3, and we are not root"


def pytest_collection_modifyitems(config, items):
    reason = why_no_mount()
    if reason:
        config.stash[REASON] = reason
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"NO MOUNT POSSIBLE: {reason}"))


def pytest_terminal_summary(terminalreporter, config):
    if REASON in config.stash:
        terminalreporter.section("NOTHING WAS TESTED", sep="!", red=True)
        terminalreporter.line(f"The client tests were skipped: {config.stash[REASON]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for mount in mounted.Mount.alive:
            tail = "\n".join(mount.log().splitlines()[-40:])
            report.sections.append((f"log of {mount.point}", tail))


def pytest_addoption(parser):
    parser.addoption("--fuse-features", choices=["all", "5.15"], default="all", help="what the mounts may use")


@pytest.fixture(scope="session", autouse=True)
def fuse_features(request):
    mounted.Mount.features = request.config.getoption("--fuse-features")


@pytest.fixture(scope="session")
def hub():
    with Hub() as made:
        yield made


@pytest.fixture(scope="session")
def folder():
    """Where plain caches, homes and models of this run lie."""
    with tempfile.TemporaryDirectory(prefix="hffs-plain-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def client(hub, folder):
    """client(NAME): the unmodified programs of environment NAME; the test skips where that is missing."""
    def make(name):
        python = mounted.VENVS / name / "bin/python"
        if not python.exists():
            pytest.skip(f"NO CLIENT: {python} is not there: scripts/setup --clients makes it")
        return Client(hub, name, [str(python)], folder)
    return make


def _mounts():
    made = []

    def make(hub, *args):
        made.append(mounted.Mount(hub, *args).start())
        return made[-1]
    yield make
    problems = []
    for mount in made:
        try:
            mount.leave()
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, "\n".join(problems)


@pytest.fixture
def mount_of():
    """mount_of(HUB, *ARGS): a fresh mount of that hub, gone after the test."""
    yield from _mounts()


@pytest.fixture
def mount(hub, mount_of):
    """mount(*ARGS): a fresh mount of the hub, gone after the test."""
    return lambda *args: mount_of(hub, *args)


@pytest.fixture(scope="module")
def module_mount(hub):
    """The same, gone after the module."""
    for make in _mounts():
        yield lambda *args: make(hub, *args)


@pytest.fixture(scope="session")
def stack(client, hub, folder):
    """The client of Open-Sora 1.2, with its models on the hub."""
    opensora.publish(hub, folder)
    return client("opensora-1.2")
