# SPDX-License-Identifier: Apache-2.0
"""What a limit costs those who read more than it lets be kept."""
import random
import time
from concurrent.futures import ThreadPoolExecutor

from .harness import MIB, Case, at_least, measure

READERS, FILES = 8, 64


@measure("bounded", "limits")
def bounded(stage):
    """Eight readers of a set four times as large as max_size, each of all its files in an order of its own, so that three
    of four reads find nothing: bytes come from the origin at 0.8 of the pace at least at which the eight read the set
    once without a limit."""
    size = stage.size(16 * MIB, 2 * MIB)
    world = stage.world()
    files = {f"part-{number:02}": stage.random_file(size, seed=f"bounded-{number}") for number in range(FILES)}
    repo = stage.add(world, files)
    names = sorted(repo.sizes)

    def all_of_them(reader):
        return random.Random(reader).sample(names, FILES)
    yield Case(f"{READERS} readers, max_size a quarter", "speed", at_least(0.8), cold=True, beside="the set once",
               of="per_byte",
               ours=lambda: read_by_all(stage, world, repo, all_of_them, "--max-size", FILES * size // 4),
               reference=lambda: read_by_all(stage, world, repo, lambda reader: names[reader::READERS]))


def read_by_all(stage, world, repo, files_of, *words):
    def read(reader):
        for name in files_of(reader):
            stage.read("seq", mount.file(repo, name))
    stage.fresh(repo)
    with stage.mount(world, None, None, *words) as mount, ThreadPoolExecutor(READERS) as readers:
        before, begun = world.content_bytes(), time.monotonic()
        list(readers.map(read, range(READERS)))
        seconds, fetched = time.monotonic() - begun, world.content_bytes() - before
        return {"per_byte": seconds / fetched, "seconds": seconds, "fetched": fetched,
                "used": mount.status()["store"]["used_bytes"]}
