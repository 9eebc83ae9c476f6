# SPDX-License-Identifier: Apache-2.0
"""fsx's manner, for reading: every way of reading, in any order, of files that fill and are evicted under it."""
import pytest
from campaign import sound
from hub import File
from lab import MIB

SIZES = (0, 1, 4095, 4096, 4097, 9000, MIB - 1, MIB, MIB + 1, 3 * MIB + 5, 6 * MIB, 2 * MIB + 4096, 500_000, 7 * MIB + 123)
LIMIT = 26 * MIB  # of about 70


class Mounted:
    def __init__(self, make, shelf, config=None):
        self.world = make.world(bytes="hub")
        self.mount = make.mount(self.world, "--max-size", str(LIMIT), config=config)
        self.files = []
        for _ in range(3):
            made = {f"f{number}.bin": shelf.file(size) for number, size in enumerate(SIZES)}
            repo = self.world.add({name: File(each.source, lfs=True if each.size else None) for name, each in made.items()})
            self.files += [(self.mount.file(repo, name), each) for name, each in made.items()]
        self.list = shelf.list(self.files)

    def check(self, met, seed, report, name):
        report.note(**{name: {key: met[key] for key in ("ops", "bytes", "errors", "wrong", "short", "sigbus", "seconds", "slowest", "by_op")}},
                    evicted=self.mount.metric("blobs_evicted"), kept=self.mount.status()["store"]["used_bytes"])
        assert sound(met), f"--seed {seed}: {met['troubles'][:5]}"
        assert self.mount.status()["store"]["used_bytes"] <= LIMIT, f"--seed {seed}: L1"
        assert self.mount.metric("reads_waiting") == 0


@pytest.mark.limit(4 * 3600)
@pytest.mark.parametrize("features", ["all", "5.15"])
def test_reader(make, shelf, reader, report, seed, full, features):
    mounted = Mounted(make, shelf, f'fuse_features = "{features}"\n')
    ops = 500_000 if full else 10_000
    met = reader.begin("random", seed, mounted.list, ops, 0, 4).end(3 * 3600)
    mounted.check(met, seed, report, f"{ops} operations")
    assert met["ops"] >= ops
    assert mounted.mount.metric("blobs_evicted") > 10, "nothing was evicted: it shows nothing"
    assert len(met["by_op"]) >= 11, "a way of reading was left out"


@pytest.mark.limit(4 * 3600)
def test_many_readers(make, shelf, reader, report, seed, full):
    """200 threads, each with files, mappings and a place of its own. All files are open all the time: nothing may go, and what
    has no room is read all the same (L2, L4)."""
    mounted = Mounted(make, shelf)
    threads, seconds = (200, 600) if full else (200, 4)
    met = reader.begin("random", seed, mounted.list, 0, seconds, threads).end(seconds + 600)
    mounted.check(met, seed, report, f"{threads} threads for {seconds} s")
    assert mounted.mount.metric("content_bytes") > 2 * LIMIT, "all of it had room: it shows nothing"
