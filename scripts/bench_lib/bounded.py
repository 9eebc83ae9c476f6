# SPDX-License-Identifier: Apache-2.0
"""What a limit costs those who read more than it lets be kept."""
import random
import time
from concurrent.futures import ThreadPoolExecutor

from .harness import MIB, Case, at_least, measure

READERS, FILES = 8, 64


@measure("bounded", "limits")
def bounded(stage):
    """Eight readers of a set four times as large as max_size, each of all its files in an order of its own: at least 0.5
    of their speed without a limit, where three of four reads are served from the disk."""
    size = stage.size(16 * MIB, 2 * MIB)
    world = stage.world()
    files = {f"part-{number:02}": stage.random_file(size, seed=f"bounded-{number}") for number in range(FILES)}
    repo = stage.add(world, files)
    limit = FILES * size // 4
    yield Case(f"{READERS} readers, max_size a quarter", "speed", at_least(0.5), cold=True, beside="no limit",
               ours=lambda: read_all(stage, world, repo, "--max-size", limit),
               reference=lambda: read_all(stage, world, repo))


def read_all(stage, world, repo, *words):
    def read(reader):
        names = sorted(repo.sizes)
        random.Random(reader).shuffle(names)
        for name in names:
            stage.read("seq", mount.file(repo, name))
    with stage.mount(world, None, None, *words) as mount, ThreadPoolExecutor(READERS) as readers:
        begun = time.monotonic()
        list(readers.map(read, range(READERS)))
        seconds = time.monotonic() - begun
        return {"seconds": seconds, "fetched": world.content_bytes(), "used": mount.status()["store"]["used_bytes"]}
