# SPDX-License-Identifier: Apache-2.0
"""`hf download` through a mount returns at once; the bytes come behind it (Q8 of docs/SEMANTICS.md)."""
import json
import os
import random
import subprocess
import time

import mounted
import pytest

BIN = {"hub-0.36.0": "hf", "hub-2.4.0": "hf", "hub-0.23.4": "huggingface-cli"}


@pytest.fixture(scope="module")
def repo(hub):
    files = {"config.json": b'{"model_type": "acme"}', "model.bin": random.Random("downloads").randbytes(3 << 20),
             "other.bin": random.Random("others").randbytes(2 << 20), "data/rows.txt": b"rows"}
    hub.add_repo("model", "acme/downloaded", files)
    return files


def download(client, mount, *words):
    program = os.path.join(os.path.dirname(client.command[0]), BIN[client.name])
    env = client._environment(str(mount.box / "home"), {"HF_HUB_CACHE": str(mount.point)}, False)
    done = subprocess.run([program, "download", "acme/downloaded", *words], env=env, capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done
    return done


def prefetches(mount):
    return json.loads(mount._hffs("top", mount.point, "--json").stdout)["prefetches"]


def the_end_of(mount):
    deadline = time.monotonic() + 30
    while True:
        [order] = prefetches(mount) or [None]
        if order and not order["running"]:
            return order
        assert time.monotonic() < deadline, order
        time.sleep(0.1)


@pytest.mark.parametrize("name", BIN)
def test_Q8_hf_download_brings_the_bytes(name, client, mount, hub, repo):
    made = mount()
    download(client(name), made)
    order = the_end_of(made)
    assert (order["repo"], order["files_done"], order["files"]) == ("acme/downloaded", 4, 4)
    hub.clear_log()
    snapshot = made.repo("acme/downloaded") / "snapshots/main"
    for path, data in repo.items():
        assert (snapshot / path).read_bytes() == data
    assert not hub.content_requests()


@pytest.mark.parametrize("name", BIN)
def test_Q8_only_the_names_that_it_was_told(name, client, mount, hub, repo):
    made = mount()
    hub.clear_log()
    download(client(name), made, "--include", "*.json", "--exclude", "other*")
    assert the_end_of(made)["files"] == 1
    assert len({each.blob for each in hub.content_requests()}) <= 1


def test_Q8_other_programs_bring_nothing_by_looking(client, mount, repo):
    made = mount()
    for _, _, names in os.walk(made.repo("acme/downloaded")):
        assert names is not None
    assert prefetches(made) == []
