# SPDX-License-Identifier: Apache-2.0
"""Where measures run: the work folder with its fixtures, the test hub and the ways to it, mounts of hffs."""
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import machine, programs
from .harness import GIB, MIB
from .programs import ROOT, Client, Programs

for _folder in ("tests", "tests/mount"):
    sys.path.insert(0, str(ROOT / _folder))

import lab  # noqa: E402
from hub import File, models  # noqa: E402, F401
from hub.delay import DelayProxy  # noqa: E402
from world import World  # noqa: E402

WARM_ROUNDS, COLD_ROUNDS, QUICK_ROUNDS = 15, 5, 2


class Stage:
    def __init__(self, work, quick=False, rounds=None, config=None):
        self._config = config  # of mounts that bring none
        self.work, self.quick, self._rounds = Path(work), quick, rounds
        self.fixtures = self.work / "fixtures"
        self.fixtures.mkdir(parents=True, exist_ok=True)
        # Mounts and hubs make their folders below this one: on the disk that is measured.
        self._boxes = self.work / "run"
        shutil.rmtree(self._boxes, ignore_errors=True)
        self._boxes.mkdir()
        tempfile.tempdir = str(self._boxes)
        self.programs = Programs(self._boxes / "programs")
        self._reader = self.programs.reader()
        self._worlds, self._sources = {}, {}
        self.mode = "?"  # what the daemon said last of how warm reads are served

    # Sizes and rounds

    def size(self, full, quick):
        return quick if self.quick else full

    @property
    def big(self):
        """The one large file of cold measures."""
        return self.size(2 * GIB, 64 * MIB)

    def rounds(self, case):
        if self._rounds:
            return self._rounds
        if self.quick:
            return QUICK_ROUNDS
        return case.rounds or (COLD_ROUNDS if case.cold else WARM_ROUNDS)

    # Fixtures: made once for a work folder

    def fixture(self, name, make):
        """The file `name`, which `make(path)` writes where it is not there yet."""
        path = self.fixtures / name
        if not path.exists():
            side = path.with_name(f"{name}.new")
            make(side)
            side.rename(path)
        return path

    def random_file(self, size, seed=0, head=b""):
        """Bytes that no compression helps with, behind `head`."""
        def make(path):
            source = random.Random(f"hffs bench {seed}")
            with open(path, "wb") as out:
                out.write(head)
                for at in range(len(head), size, MIB):
                    out.write(source.randbytes(min(MIB, size - at)))
        return self.fixture(f"random-{size}-{seed}", make)

    def huge_file(self, size):
        """A file of the whole size that takes no disk. Nobody reads all of it, so its hash may be any."""
        def make(path):
            with open(path, "wb") as out:
                out.truncate(size)
        return File(self.fixture(f"sparse-{size}", make), lfs=True, sha256=f"{size:064x}")

    def torch_model(self, client, tensors, size):
        """A PyTorch checkpoint of so many float32 tensors."""
        return self.fixture(f"torch-{tensors}-{size}.bin", lambda path: client.ask(
            "make_torch_model", path=path, tensors=tensors, size=size))

    def safetensors(self, tensors, size, seed):
        """One shard of so many tensors of `size` bytes."""
        names = {f"layer.{number}.weight": size for number in range(tensors)}
        head = lab.safetensors_header(names)
        return self.random_file(len(head) + tensors * size, f"safetensors-{tensors}-{seed}", head)

    # The hub

    def world(self, tls=True):
        """The test hub; its byte origin is nginx, over TLS or not."""
        if tls not in self._worlds:
            self._worlds[tls] = World(nginx=True, origin_tls=tls, cache=self.fixtures)
        return self._worlds[tls]

    def add(self, world, files, **options):
        """A new repository; files that are paths are fixtures."""
        repo = world.add(files, **options)
        self._sources[repo.id] = [each for each in files.values() if isinstance(each, Path)]
        return repo

    def clean(self):
        """After a measure: the next one's hub knows nothing of this one's."""
        for each in self._worlds.values():
            each.stop()
        self._worlds.clear()
        self._sources.clear()
        for mount in list(lab.Mount.alive):
            mount.abandon()

    def url(self, world, repo, path, endpoint=None):
        return f"{endpoint or world.endpoint}/{repo.name}/resolve/{repo.commit}/{path}"

    @contextlib.contextmanager
    def distant(self, world, rtt):
        """The endpoint of the hub at a round trip time of `rtt` seconds, its byte origin likewise."""
        origin = world.hub.origin_endpoint
        with DelayProxy(world.endpoint, rtt=rtt) as api, DelayProxy(origin, rtt=rtt) as data:
            with self._linked(world, f"{origin.partition(':')[0]}://{data.address}", f"http://{api.address}"):
                yield f"http://{api.address}"

    @contextlib.contextmanager
    def behind(self, world, **options):
        """Its byte origin alone behind a proxy that behaves as `options` say."""
        origin = world.hub.origin_endpoint
        with DelayProxy(origin, **options) as data:
            with self._linked(world, f"{origin.partition(':')[0]}://{data.address}", ""):
                yield world.endpoint

    @staticmethod
    @contextlib.contextmanager
    def _linked(world, data, api):
        world.hub.settings.bytes_link, world.hub.settings.link_origin = data, api
        try:
            yield
        finally:
            world.hub.settings.bytes_link = world.hub.settings.link_origin = ""

    # hffs

    @contextlib.contextmanager
    def mount(self, world, endpoint=None, config=None, *words):
        """A mount with a store of its own, empty at first, of no hub where there is no world; nothing of it is left."""
        made = lab.Mount([endpoint or world.endpoint] if world else [], words, world.env if world else None,
                         config=config or self._config)
        try:
            yield made.start()
            self.mode = made.status()["mode"]
        finally:
            made.leave()

    def wait_verified(self, mount, blobs=1, seconds=300):
        lab.eventually(lambda: mount.status()["store"]["verified_blobs"] >= blobs, seconds, "verification")

    def wait_durable(self, mount, seconds=300):
        lab.eventually(lambda: mount.status()["store"]["unclaimed_bytes"] == 0, seconds, "durability")

    # Reading

    def read(self, mode, path, input=None, timeout=600, **words):
        """What the reader says; see reader.c."""
        command = [self._reader, mode, *([path] if path else []), *(f"{name}={value}" for name, value in words.items())]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=timeout, input=input,
                              stdin=None if input is not None else subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command[1:]))}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def fresh(self, repo=None):
        """The machine before a cold round: nothing to write back, no page but the origin's in memory."""
        machine.drop_caches(self._sources.get(repo.id, ()) if repo else ())

    def cold(self, world, repo, path, mode="seq", endpoint=None, **words):
        """A file read through a new mount by the reader: its figures, and when all of it was durable."""
        self.fresh(repo)
        with self.mount(world, endpoint) as mount:
            before = world.content_bytes()
            began = time.monotonic()
            figures = self.read(mode, mount.file(repo, path), **words)
            self.wait_durable(mount)
            figures["durable"] = time.monotonic() - began
            figures["fetched"] = world.content_bytes() - before
        return figures

    def aria2(self, world, repo, path, endpoint=None, **options):
        """The same file by aria2c into the same file system."""
        self.fresh(repo)
        return programs.aria2(self.url(world, repo, path, endpoint), self.work / "run/aria2",
                              authority=world.hub.ca_file, **options)

    def client(self, venv, world=None, endpoint=None):
        env = {"PATH": os.environ["PATH"], "HOME": str(self._boxes), "LANG": "C.UTF-8", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        if world:
            env |= world.hub.env() | {"HF_ENDPOINT": endpoint or world.endpoint}
        return Client(venv, env)

    def folder(self, name):
        """An empty folder."""
        path = self._boxes / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def close(self):
        self.clean()
        shutil.rmtree(self._boxes, ignore_errors=True)
