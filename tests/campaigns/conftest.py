# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the mount tests, and what campaigns need beside them. See README.md."""
import importlib.util
import os
import random
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "mount", HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

_spec = importlib.util.spec_from_file_location("mount_conftest", HERE.parent / "mount/conftest.py")
mount_conftest = importlib.util.module_from_spec(_spec)
sys.modules["mount_conftest"] = mount_conftest
_spec.loader.exec_module(mount_conftest)

# Fixtures and hooks, by the names under which pytest looks for them.
from mount_conftest import *  # noqa: E402,F401,F403
pytest_configure = mount_conftest.pytest_configure
pytest_unconfigure = mount_conftest.pytest_unconfigure
pytest_collection_modifyitems = mount_conftest.pytest_collection_modifyitems
pytest_terminal_summary = mount_conftest.pytest_terminal_summary

import campaign  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the long edition: minutes and hours")
    parser.addoption("--seed", type=int, help="what was printed with a failure (a fresh one for each run)")
    parser.addoption("--report", type=Path, help="a folder for report.json of each campaign, and its plots")


@pytest.fixture(scope="session")
def full(request):
    return request.config.getoption("--full") or os.environ.get("HFFS_CAMPAIGN") == "full"


@pytest.fixture
def seed(request):
    given = request.config.getoption("--seed") or os.environ.get("HFFS_CAMPAIGN_SEED")
    chosen = int(given) if given else random.SystemRandom().randrange(1, 1 << 31)
    print(f"--seed {chosen}")  # pytest shows it with a failure
    return chosen


@pytest.fixture
def report(request):
    made = campaign.Report(request.config.getoption("--report"), request.node.name)
    yield made
    made.write()


@pytest.fixture(scope="session")
def reader():
    with tempfile.TemporaryDirectory(prefix="hffs-reader-") as folder:
        yield campaign.Reader.build(Path(folder))


@pytest.fixture
def shelf(reader, make):
    return campaign.Shelf(reader, make.folder())
