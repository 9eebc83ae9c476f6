# SPDX-License-Identifier: Apache-2.0
"""What files cost that are brought in by hand."""
import contextlib
import hashlib
import json
import shutil
import subprocess
import tempfile
import time

from . import machine
from .harness import GIB, MIB, Case, Skip, at_least, measure

SHARDS = 4
REPO, COMMIT = "acme/carried", "c" * 40


@measure("carry", "store")
def carry(stage):
    """`hffs import` of a cache of 2 GiB in 4 shards, until all of it is verified and durable: at least 0.8 of the speed
    of openssl dgst -sha256 on the same files where the file system shares their blocks (XFS, made for this in a
    file), and of cp and sync where the bytes must be written again. Then `hffs verify` of all that."""
    if not shutil.which("mkfs.xfs"):
        raise Skip("no mkfs.xfs: the package is xfsprogs")
    size = stage.size(2 * GIB, 64 * MIB) // SHARDS
    shards = [stage.random_file(size, seed=f"carry-{number}") for number in range(SHARDS)]
    with on_xfs(stage, SHARDS * size * 3 + GIB) as folder:
        cache = Cache(folder, shards)
        yield Case("import, blocks shared", "speed", at_least(0.8), cold=True, beside="openssl dgst",
                   ours=lambda: cache.imported(stage), reference=cache.hashed)
    cache = Cache(stage.folder("carry"), shards)
    yield Case("import, bytes copied", "speed", at_least(0.8), cold=True, beside="cp and sync",
               ours=lambda: cache.imported(stage), reference=cache.copied)
    yield Case("import, bytes copied", "speed", at_least(0.8), cold=True, beside="openssl dgst",
               ours=lambda: cache.imported(stage), reference=cache.hashed)
    with stage.mount(None, None, None, "--offline") as mount:
        cache.bring(stage, mount)
        yield Case("verify", "speed", at_least(0.8), cold=True, beside="openssl dgst",
                   ours=lambda: verified(mount), reference=cache.hashed)


@contextlib.contextmanager
def on_xfs(stage, size):
    """An empty folder on a file system that shares blocks between files."""
    folder = stage.folder("xfs")
    image, point = folder / "image", folder / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    before, tempfile.tempdir = tempfile.tempdir, str(point)
    try:
        yield point
    finally:
        tempfile.tempdir = before
        subprocess.run(["umount", point], check=True)
        shutil.rmtree(folder)


class Cache:
    """A cache as huggingface_hub writes it, in `folder`."""

    def __init__(self, folder, shards):
        self.folder = folder / "cache"
        repo = self.folder / f"models--{REPO.replace('/', '--')}"
        for each in ("blobs", "refs", f"snapshots/{COMMIT}"):
            (repo / each).mkdir(parents=True)
        (repo / "refs/main").write_text(COMMIT)
        self.blobs = []
        for number, shard in enumerate(shards):
            with shard.open("rb") as file:
                blob = repo / "blobs" / hashlib.file_digest(file, "sha256").hexdigest()
            shutil.copy(shard, blob)
            (repo / "snapshots" / COMMIT / f"shard-{number}.safetensors").symlink_to(f"../../blobs/{blob.name}")
            self.blobs.append(blob)
        self._copy = folder / "copy"

    def imported(self, stage):
        with stage.mount(None, None, None, "--offline") as mount:
            return self.bring(stage, mount)

    def bring(self, stage, mount):
        machine.drop_caches()
        begun = time.monotonic()
        done = mount.hffs("import", self.folder, "--state-dir", mount.state, "--json", timeout=600)
        seconds = time.monotonic() - begun
        [commit] = json.loads(done.out)["commits"]
        if commit["taken_files"] != SHARDS:
            raise RuntimeError(f"not all was imported: {done}")
        stage.wait_verified(mount, SHARDS)
        return {"seconds": seconds}

    def hashed(self):
        return timed(["openssl", "dgst", "-sha256", *self.blobs])

    def copied(self):
        try:
            return timed(["sh", "-c", 'cp -a "$1" "$2" && sync -f "$2"', "sh", self.folder, self._copy])
        finally:
            shutil.rmtree(self._copy)


def verified(mount):
    machine.drop_caches()
    begun = time.monotonic()
    done = mount.hffs("verify", REPO, "--state-dir", mount.state, "--json", timeout=600)
    seconds = time.monotonic() - begun
    report = json.loads(done.out)
    if report["files"] != SHARDS or report["findings"]:
        raise RuntimeError(f"not all was verified: {done}")
    return {"seconds": seconds}


def timed(words):
    machine.drop_caches()
    begun = time.monotonic()
    subprocess.run([*map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.monotonic() - begun}
