# SPDX-License-Identifier: Apache-2.0
"""What the project began with: Open-Sora's text encoder and autoencoders, downloaded by an ordinary client elsewhere, on a
machine that has no hub: imported, half of a shard missing, and from a folder where they lie."""
import json
import os
import shutil
from types import SimpleNamespace

import pytest
from client import by_clients
from opensora import REPOS
from pair import fill

ENCODERS = {"text encoder": "DeepFloyd/t5-v1_1-xxl", "text encoder in safetensors": "acme/t5-safetensors"}


def as_hub(folder):
    """What a mount of a folder alone has for a hub."""
    return SimpleNamespace(endpoint=f"file://{folder}", env=dict)


def run(stack, cache, by):
    asked = {"cache_dir": str(cache)} if by == "cache_dir" else {}
    done = stack.run("opensora.py", asked, cache, {} if asked else {"HF_HUB_CACHE": str(cache)}, offline=True)
    return done.results


def content_of_all(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def carried(stack, folder):
    """The cache that an ordinary client made, and what its models say."""
    cache = fill(stack, "opensora.py", folder / "plain-opensora-variable")
    return cache, {by: run(stack, cache, by) for by in ("variable", "cache_dir")}


def take_in(mount, cache):
    done = mount._hffs("import", cache, "--state-dir", mount.state, "--json")
    assert done.returncode == 0, done.stderr + mount.log()
    return json.loads(done.stdout)


@pytest.mark.parametrize("by", ["variable", "cache_dir"])
@pytest.mark.parametrize("way", ["downloaded", "exported"])
def test_imported_where_there_is_no_hub(stack, carried, mount, folder, way, by):
    cache, wanted = carried
    if way == "exported":
        there, cache = mount(), folder / f"exported-{by}"
        cache.mkdir()
        for id in REPOS:
            done = there._hffs("export", id, cache, "--mount", there.point)
            assert done.returncode == 0, done.stderr + there.log()
    made = mount("--offline")
    report = take_in(made, cache)
    assert len(report["commits"]) == len(REPOS) and all(each["self_attested"] for each in report["commits"])
    assert run(stack, made.point, by) == wanted[by]


def test_half_of_a_shard_is_missing(stack, carried, hub, mount):
    """Offline a model that is not wholly here is an error that names the file: a page fault on bytes that nobody can
    bring would be SIGBUS, and no program survives that."""
    made = mount("--prefetch", "off")
    halved = {}
    for step, id in ENCODERS.items():
        files = sorted(path for path in hub.repo(id).commit.files if path.endswith((".bin", ".safetensors")))
        top = made.repo(id)
        snapshot = top / "snapshots" / (top / "refs/main").read_text()
        for path in hub.repo(id).commit.files:
            size = (snapshot / path).stat().st_size
            with open(snapshot / path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                file.read(size if path != files[1] else (size // 2) >> 20 << 20)
        halved[step] = files[1]
    made.restart("--offline")
    results = run(stack, made.point, "cache_dir")
    for step, shard in halved.items():
        said = results[step]
        assert said.get("error") in ("OSError", "FileNotFoundError"), said
        assert shard in said["text"], said
        assert shard in made.log()


@pytest.mark.parametrize("by", ["variable", "cache_dir"])
def test_from_a_folder_where_they_lie(stack, carried, hub, mount_of, folder, by):
    cache, wanted = carried
    served = folder / f"served-{by}"
    shutil.copytree(cache, served, symlinks=True)
    for path in sorted(served.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = content_of_all(served)
    requests, fetched = len(hub.requests()), len(hub.content_requests())
    made = mount_of(as_hub(served), "--offline")
    assert run(stack, made.point, by) == wanted[by]
    assert made.status()["metrics"]["folder_bytes"] > 0
    assert content_of_all(served) == before
    # The client may ask whether there is a safetensors of a .bin; bytes come from the folder alone.
    assert len(hub.content_requests()) == fetched
    asked = hub.requests()[requests:]
    assert by_clients(asked) == asked
