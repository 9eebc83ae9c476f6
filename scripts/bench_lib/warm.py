# SPDX-License-Identifier: Apache-2.0
"""Reading what is here, beside the same bytes in a plain file of the same file system."""
import contextlib
import os
import shutil

from . import machine
from .harness import GIB, MIB, Case, at_least, at_most, measure

WAYS = [("sequential, 1 MiB", "seq", {"piece": MIB}), ("sequential, 128 KiB", "seq", {"piece": 128 << 10}),
        ("mmap, every page", "map", {}), ("O_DIRECT, 1 MiB", "seq", {"piece": MIB, "direct": 1})]


@contextlib.contextmanager
def pair(stage, config=None):
    """(mount, the file on it, the same bytes beside it): wholly here, verified, opened anew from now on."""
    world = stage.world()
    source = stage.random_file(stage.size(GIB, 64 * MIB), seed="warm")
    plain = stage.folder("plain") / "model.safetensors"
    shutil.copyfile(source, plain)
    repo = stage.add(world, {"model.safetensors": source})
    with stage.mount(world, config=config) as mount:
        path = mount.file(repo, "model.safetensors")
        stage.read("seq", path)
        stage.wait_verified(mount)
        stage.wait_durable(mount)
        yield mount, path, plain
    plain.unlink()


def reading(stage, mount, mode, words, dropped):
    """A function of a path that reads it once; on the mount it counts what reached the daemon."""
    def read(path, counted):
        if dropped:
            machine.drop_caches()
        before = mount.metric("fuse_reads") if counted else 0
        figures = stage.read(mode, path, **words)
        if counted:
            figures["FUSE READs"] = mount.metric("fuse_reads") - before
        return figures
    return read


def fill_page_cache(stage, path):
    """With pages that lie in a row where they can: which lie scattered, and are read at half the speed, is chance, and
    falls on whoever reads first. Twice, so that a mount's pages do not lie between those of the file behind it."""
    stage.read("seq", path)
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    machine.compact_memory()
    stage.read("seq", path)


def both(stage, mount, path, plain, mode, words, dropped):
    if not dropped:
        # Pages of both that came the same way: what wrote a file leaves them in other sizes than a reader does.
        machine.drop_caches()
        for each in (path, plain):
            fill_page_cache(stage, each)
    read = reading(stage, mount, mode, words, dropped)
    return {"ours": lambda: read(path, True), "reference": lambda: read(plain, False), "beside": "plain file"}


@measure("warm", "warm")
def warm(stage):
    """A file that is here, whole: 1 MiB and 128 KiB reads in order, every page of a map, O_DIRECT, with the page cache
    kept and dropped. At least 0.95 of a plain file's speed, and no READ reaches the daemon."""
    with pair(stage) as (mount, path, plain):
        for name, mode, words in WAYS:
            for dropped in (False, True):
                state = "dropped" if dropped else "kept"
                yield Case(f"{name}, page cache {state}", "speed", at_least(0.95),
                           also={"FUSE READs": at_most(0)},
                           **both(stage, mount, path, plain, mode, words, dropped))


@measure("warm-random", "warm")
def warm_random(stage):
    """4 KiB reads anywhere in such a file, by one process and by eight. At least 0.78 of a plain file's speed from the
    page cache, 0.95 with it dropped."""
    with pair(stage) as (mount, path, plain):
        for processes in (1, 8):
            for dropped in (False, True):
                count = stage.size(3_000, 300) if dropped else stage.size(400_000, 20_000)
                words = {"piece": 4096, "procs": processes, "count": count // processes}
                yield Case(f"{processes} process{'es' * (processes > 1)}, page cache {'dropped' if dropped else 'kept'}",
                           "speed", at_least(0.95 if dropped else 0.78),
                           **both(stage, mount, path, plain, "random", words, dropped))
