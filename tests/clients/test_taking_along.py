# SPDX-License-Identifier: Apache-2.0
"""What unmodified clients have downloaded is taken in, and what hffs has written is a cache to them."""
import hashlib
import json
import os
import subprocess

import pytest
from client import by_clients

VERSIONS = ["0.17.3", "0.23.4", "0.36.0", "1.0.1", "2.4.0"]
LOCAL = {"local_files_only": True}


def contents(version, way):
    """Bytes that no other test has."""
    seed = f"{way} {version} ".encode()
    return {"config.json": b'{"model_type": "' + seed + b'"}\n', "model.safetensors": seed * 100_000,
            "sub/dir/vocab.txt": seed + b"a\nb\n", "empty.txt": b""}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def read_back(client, repo, cache, files):
    """By its own ways, and without a request."""
    before = len(by_clients(client.hub.requests()))
    steps = [{"step": path, "do": "file", "repo": repo, "file": path} for path in files]
    steps += [{"step": "snapshot", "do": "snapshot", "repo": repo}]
    outcome = client.run("hub_steps.py", {"options": {"cache_dir": str(cache), **LOCAL}, "steps": steps}, cache)
    for path, data in files.items():
        assert outcome[path].get("sha256") == sha256(data), outcome[path]
    assert outcome["snapshot"].get("files") == {path: sha256(data) for path, data in files.items()}, outcome["snapshot"]
    assert len(by_clients(client.hub.requests())) == before


def download(client, repo, cache):
    step = {"step": "download", "do": "snapshot", "repo": repo}
    outcome = client.run("hub_steps.py", {"options": {"cache_dir": str(cache)}, "steps": [step]}, cache)
    assert "files" in outcome["download"], outcome["download"]


def take_in(mount, cache):
    done = mount._hffs("import", cache, "--state-dir", mount.state, "--json")
    assert done.returncode == 0, done.stderr + mount.log()
    return json.loads(done.stdout)


def publish(client, repo, cache):
    """Moves the weights into the cache-wide store by the client's own code, which does it after a Xet download."""
    blob = next(path for path in (cache / f"models--{repo.replace('/', '--')}" / "blobs").iterdir()
                if len(path.name) == 64 and not path.is_symlink())
    program = ("import sys; from huggingface_hub.utils._shared_blobs import publish_blob_to_shared_store as publish\n"
               "path, hash, cache, size = sys.argv[1:]\n"
               "assert publish(blob_path=path, xet_hash=hash, cache_dir=cache, expected_size=int(size))")
    subprocess.run([*client.command, "-c", program, str(blob), "7" * 64, str(cache), str(blob.stat().st_size)],
                   check=True, timeout=60)
    assert blob.is_symlink() and "blobs/77/" in os.readlink(blob)


@pytest.mark.parametrize("version", [*VERSIONS, "2.4.0 shared store"])
def test_what_a_client_downloaded_is_taken_in(hub, client, mount, folder, version):
    plain = client(f"hub-{version.split()[0]}")
    files = contents(version, "in")
    repo = f"acme/in-{version.replace(' ', '-')}"
    hub.add_repo("model", repo, files)
    cache = folder / f"in {version}"
    download(plain, repo, cache)
    if "shared" in version:
        publish(plain, repo, cache)
    before = len(hub.content_requests())
    online, offline = mount("--ref-ttl", "3600"), mount("--offline")
    for each in (online, offline):
        [commit] = take_in(each, cache)["commits"]
        assert commit["self_attested"] is (each is offline)
        assert commit["taken_bytes"] == sum(map(len, files.values()))
        read_back(plain, repo, each.point, files)
    assert len(hub.content_requests()) == before, "content was fetched though it had been imported"


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_exported_is_a_cache(hub, client, mount, folder, version):
    plain = client(f"hub-{version}")
    files = contents(version, "out")
    repo = f"acme/out-{version}"
    hub.add_repo("model", repo, files)
    cache = folder / f"out {version}"
    cache.mkdir()
    made = mount()
    done = made._hffs("export", repo, cache, "--mount", made.point)
    assert done.returncode == 0, done.stderr + made.log()
    read_back(plain, repo, cache, files)
