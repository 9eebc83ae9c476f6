# SPDX-License-Identifier: Apache-2.0
"""What programs read: docs/JSON.md names each key of `hffs status|ls|prefetch|explain --json`, and no other."""
import json
import re
from pathlib import Path

import pytest
from lab import MIB, ROOT, errno_of
from world import fresh_bytes


def keys_of(value, before=""):
    """`store.bytes`, `endpoints[].up` … of an answer."""
    if isinstance(value, dict):
        return {key for name, each in value.items() for key in keys_of(each, f"{before}.{name}" if before else name)}
    if isinstance(value, list):
        found = {key for each in value for key in keys_of(each, f"{before}[]")}
        return found or {f"{before}[]"}
    return {before}


def documented(command):
    """Of the table under the heading `## hffs COMMAND`. A key that ends in `.*` stands for all below it."""
    text = (Path(ROOT) / "docs/JSON.md").read_text()
    section = re.search(rf"^## hffs {command}$(.*?)(?=^## |\Z)", text, re.M | re.S)[1]
    return {key for row in re.findall(r"^\| (`[^|]*) \|", section, re.M) for key in re.findall(r"`([^`]+)`", row)}


def compare(command, *answers):
    seen = {key for answer in answers for key in keys_of(answer)}
    told = documented(command)
    whole = {key[:-2] for key in told if key.endswith(".*")}
    bare = {key for key in seen if not any(key.startswith(each) for each in whole)}
    # An empty list, and null in the place of an object, say nothing of what may be in it.
    bare = {key for key in bare if not any(other.startswith((key + ".", key if key.endswith("[]") else key + "[")) and other != key
                                           for other in told | whole)}
    assert bare - told == set(), f"docs/JSON.md does not tell of them in `hffs {command}`"
    assert {key for key in told - bare if not key.endswith(".*")} == set(), f"`hffs {command}` says nothing of them"


@pytest.fixture
def lively(make):
    """A mount in which something was read, and something failed."""
    world = make.world()
    mount = make.mount(world, "--read-deadline", "1", "--prefetch", "off")
    repo = world.add({"config.json": fresh_bytes(300), "model.bin": fresh_bytes(4 * MIB)})
    with open(mount.file(repo, "model.bin"), "rb") as file:
        file.read(10)
    (mount.repo(repo.id) / "refs/main").read_text()
    return world, mount, repo


def said(mount, *words, codes=(0,)):
    done = mount.hffs(*words, "--json", "--state-dir", mount.state)
    assert done.code in codes, done
    return json.loads(done.out)


def failing(world, mount, repo):
    world.hub.down(origin=True)
    assert errno_of(lambda: open(mount.file(repo, "config.json"), "rb").read(10)) is not None


def test_P1_each_key_of_ls_is_documented(lively):
    _, mount, repo = lively
    compare("ls", said(mount, "ls"), said(mount, "ls", repo.id))


def test_E2_each_key_of_status_is_documented(lively):
    world, mount, repo = lively
    failing(world, mount, repo)
    compare("status", said(mount, "status"))


def test_E3_each_key_of_explain_is_documented(lively):
    world, mount, repo = lively
    path = mount.file(repo, "model.bin")
    with open(path, "rb") as held:
        held.read(10)
        answers = [said(mount, "explain", path), said(mount, "explain", repo.id),
                   said(mount, "explain", mount.repo(repo.id) / "snapshots/main/model.bin"),
                   said(mount, "explain", "acme/nothing-of-this-name", codes=(0, 3))]
    failing(world, mount, repo)
    answers.append(said(mount, "explain", mount.file(repo, "config.json"), codes=range(20)))
    compare("explain", *answers)


def test_Q1_each_key_of_prefetch_is_documented(lively):
    world, mount, repo = lively
    other = world.add({"a.bin": fresh_bytes(2 * MIB)})
    answers = [said(mount, "prefetch", repo.id), said(mount, "prefetch", other.id, "--background"), {"stopped": 1}]
    gone = world.add({"b.bin": fresh_bytes(2 * MIB)})
    world.hub.faults.add("corrupt", on="content")
    answers.append(said(mount, "prefetch", gone.id, codes=range(1, 20)))
    assert answers[-1]["failed"], answers[-1]
    compare("prefetch", *answers)
