# SPDX-License-Identifier: Apache-2.0
"""hf-hub of the Rust programs, old and new, and @huggingface/hub."""
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import mounted
import pytest
from client import Outcome, by_clients
from hub import Random

REPO = "acme/tiny-other"
WEIGHTS = Random(2 << 20, 11)


@pytest.fixture(scope="module")
def world(hub):
    repo = hub.add_repo("model", REPO, {"config.json": b"{}\n", "model.safetensors": WEIGHTS})
    old = repo.head
    new = hub.push(REPO, {"config.json": b'{"new": true}\n'})
    return {"old": old, "new": new}


def run(hub, command, env):
    with tempfile.TemporaryDirectory(prefix="hffs-home-") as home:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/bin:/bin", "HOME": home, **hub.env(), **env})


def program(name):
    found = mounted.OTHERS / "rust/debug" / name
    if not found.exists():
        pytest.skip(f"NO CLIENT: {found} is not there: scripts/setup --clients builds it where cargo is")
    return str(found)


def expect(hub, made, done, path, content):
    assert done.returncode == 0, done.stderr
    found = Path(done.stdout.strip())
    assert found == made.repo(REPO) / path
    assert found.read_bytes() == content
    assert done.stderr == ""
    assert by_clients(hub.content_requests()) == []


FILES = [("config.json", b'{"new": true}\n'), ("model.safetensors", WEIGHTS.read(0, WEIGHTS.size))]


@pytest.mark.parametrize("by", ["variable", "cache_dir"])
@pytest.mark.parametrize("state", ["online", "down"])
def test_rust_hf_hub_04(hub, world, mount, by, state):
    """It asks nobody when the cache has the file: the mount must have what was never asked for."""
    client = program("client-hf-hub-04")
    made = mount()
    home = made.box / "hf"
    home.mkdir()
    (home / "hub").symlink_to(made.point)  # it knows HF_HOME only
    if state == "down":
        made.warm(REPO)
        hub.down(origin=True)
    hub.clear_log()
    try:
        for file, content in FILES:
            command, env = [client, REPO, "main", file], {}
            if by == "cache_dir":
                command.append(str(made.point))
            else:
                env = {"HF_HOME": str(home)}
            done = run(hub, command, env)
            done.stdout = done.stdout.replace(str(home / "hub"), str(made.point))
            expect(hub, made, done, f"snapshots/{world['new']}/{file}", content)
    finally:
        hub.up()
    assert by_clients(hub.requests()) == []


@pytest.mark.parametrize("by", ["variable", "cache_dir"])
def test_rust_hf_hub_10(hub, world, mount, by):
    """Online it writes the ref, and removes and makes the symlink again, though it has the file."""
    client = program("client-hf-hub-10")
    made = mount()
    hub.clear_log()
    words = [str(made.point)] if by == "cache_dir" else []
    env = {} if by == "cache_dir" else {"HF_HUB_CACHE": str(made.point)}
    for _ in range(2):
        for file, content in FILES:
            done = run(hub, [client, REPO, "main", file, *words], env)
            expect(hub, made, done, f"snapshots/{world['new']}/{file}", content)
    done = run(hub, [client, REPO, world["old"], "config.json", *words], env)
    expect(hub, made, done, f"snapshots/{world['old']}/config.json", b"{}\n")
    done = run(hub, [client, REPO, "main", ".", *words], env)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == made.repo(REPO) / "snapshots" / world["new"]
    assert by_clients(hub.content_requests()) == []


def test_rust_hf_hub_10_with_the_hub_down(hub, world, mount):
    """It takes what the cache has, after 3 s for each file."""
    client = program("client-hf-hub-10")
    made = mount()
    made.warm(REPO)
    hub.down(origin=True)
    hub.clear_log()
    try:
        for file, content in FILES:
            done = run(hub, [client, REPO, "main", file, str(made.point)], {})
            expect(hub, made, done, f"snapshots/{world['new']}/{file}", content)
    finally:
        hub.up()


@pytest.mark.parametrize("by", ["variable", "cache_dir"])
def test_javascript(hub, world, mount, by):
    """It names snapshots by the commit that last changed a file, which no ref may hold. Without a Hub it does
    nothing but scan, on a plain cache too."""
    node, place = shutil.which("node"), mounted.OTHERS / "js"
    if not node or not (place / "node_modules").exists():
        pytest.skip("NO CLIENT: no node, or scripts/setup --clients has not been run")
    script = shutil.copy(Path(__file__).with_name("js") / "client.mjs", place)  # beside its node_modules
    made = mount()
    hub.clear_log()
    for file, content in FILES:
        command = [node, script, str(made.point) if by == "cache_dir" else "", REPO, "main", file]
        done = run(hub, command, {"HF_HUB_CACHE": str(made.point)} if by == "variable" else {})
        assert "Downloading" not in done.stdout
        said = Outcome(done, made.point)
        assert {step: said.said(step) for step in said.results} == dict.fromkeys(said.results, "")
        assert {step: each.get("text") for step, each in said.results.items()} == dict.fromkeys(said.results)
        last = world["new"] if file == "config.json" else world["old"]
        assert said.relative("file") == f"models--acme--tiny-other/snapshots/{last}/{file}"
        assert Path(said["file"]["path"]).read_bytes() == content
        assert said.relative("snapshot") == f"models--acme--tiny-other/snapshots/{world['new']}"
        assert said["file"]["sha256"] == said["snapshot"]["sha256"], json.dumps(said.results)
        assert REPO in said["scan"]["repos"]
        assert said["scan"]["warnings"] == []
    assert by_clients(hub.content_requests()) == []
