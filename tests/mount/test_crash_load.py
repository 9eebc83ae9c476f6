# SPDX-License-Identifier: Apache-2.0
"""B8: kill -9 while everything happens at once: readers fill, blobs make room, an import and `hffs gc` run."""
import errno
import json
import os
import random
import statistics
import subprocess
import threading
import time

import pytest
from index_rows import blobs_of, is_readable
from lab import HFFS, MIB
from test_carry import make_cache, put_on_hub
from world import fresh_bytes

LIMIT = 12 * MIB
READERS = 4
CONFIG = f"sync_interval = 0.02\nmax_size = {LIMIT}\n"


class Campaign:
    """One store, and what happens to it in each round."""

    def __init__(self, make, turns):
        self.turns = turns
        self.world = make.world()
        self.mount = make.mount(self.world, config=CONFIG, start=False)
        sizes = [3 * MIB + 7, 2 * MIB, MIB, MIB + 1, 700, 5 * MIB, 4 * MIB + 99, 300_000, 2 * MIB + 5, 3 * MIB, 90, 0]
        self.repos = [self.world.add({f"f{i}": fresh_bytes(size) for i, size in enumerate(sizes)}) for _ in range(2)]
        taken = {f"i{i}": (fresh_bytes(size), size > MIB // 2) for i, size in enumerate([2 * MIB + 3, 800, MIB])}
        imported = put_on_hub(self.world, taken)
        self.folder = make.folder()
        make_cache(self.folder, imported.id, imported.commit, taken)
        self.files = [(repo, path, data) for repo in self.repos for path, data in repo.content.items()]
        self.content = {repo.etags[path]: data for repo, path, data in self.files}
        self.content |= {imported.etags[path]: data for path, (data, _) in taken.items()}
        self.homes = {etag: repo for repo in [*self.repos, imported] for etag in repo.etags.values()}
        self.compared = self.evicted = self.imported = self.collected = self.kept = 0
        self.dead, self.wrong, self.errors = threading.Event(), [], []

    def read(self, seed):
        """Whole files and pieces, one after the other, until the daemon dies."""
        turns = random.Random(seed)
        while not self.dead.is_set():
            repo, path, data = turns.choice(self.files)
            at, most = 0, len(data)
            if turns.random() < 0.4 and data:
                at = turns.randrange(len(data))
                most = turns.randrange(1, len(data))
            try:
                with open(self.mount.file(repo, path), "rb", buffering=0) as file:
                    piece = os.pread(file.fileno(), most, at)
                    # The kernel ends a read early when the daemon dies in its midst.
                    short = len(piece) < min(most, len(data) - at)
            except OSError as error:
                if not self.dead.is_set():
                    self.errors.append(f"{path}: {error}")
                return
            if piece != data[at:at + len(piece)] or (short and not self.dead.is_set()):
                self.wrong.append((path, at, len(piece)))
            self.compared += len(piece)

    def command(self, *words):
        return subprocess.Popen([HFFS, *map(str, words), "--state-dir", str(self.mount.state)], env=self.mount.env,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd="/")

    def load_and_kill(self):
        self.dead.clear()
        readers = [threading.Thread(target=self.read, args=(self.turns.random(),), daemon=True) for _ in range(READERS)]
        for each in readers:
            each.start()
        time.sleep(self.turns.uniform(0, 0.1))
        importing = self.command("import", self.folder)
        collecting = self.command("gc", self.turns.choice(self.repos).id)
        time.sleep(self.turns.uniform(0, 0.8))
        # Who reads now hears an error, and is not to be blamed for it.
        self.dead.set()
        self.mount.kill9()
        for each in readers:
            each.join(20)
            assert not each.is_alive(), "a reader waits for a daemon that is dead"
        self.imported += importing.wait(20) == 0
        self.collected += collecting.wait(20) == 0
        importing.stdout.close()
        collecting.stdout.close()

    def check_store(self):
        """What the index calls verified is there, whole and right."""
        verified = [row for row in blobs_of(self.mount.state) if row.verified and row.size]
        for row in verified:
            path = self.mount.state / "hffs-v1/blobs" / row.hash[:2] / row.hash
            assert path.exists(), f"blob {row.hash} is verified in the index, and its file is gone"
            assert path.read_bytes() == self.content[row.hash], f"blob {row.hash} is verified and wrong"
            self.compared += row.size
        return verified

    def check_served(self, verified):
        """Through the mount, without the Hub: nothing else can be read. A start may find the limit passed."""
        gone = []
        for row in verified:
            try:
                with open(self.mount.repo(self.homes[row.hash].id) / "blobs" / row.hash, "rb") as file:
                    assert file.read() == self.content[row.hash], f"blob {row.hash} is served wrong"
            except OSError as error:
                assert error.errno == errno.EIO
                gone.append(row)
                continue
            self.compared += row.size
            self.kept += 1
        evicted = self.mount.metric("blobs_evicted")
        assert len(gone) <= evicted, f"verified blobs are lost, {evicted} were evicted: {gone}\n{self.mount.log()}"
        self.evicted += evicted

    def start(self, *words):
        """How long that takes, from exec to the first answer of the mount."""
        begun = time.monotonic()
        self.mount.remount(*words)
        return time.monotonic() - begun


@pytest.mark.limit(4 * 3600)
def test_B8_killed_under_mixed_load(make, request):
    if not is_readable():
        pytest.skip("needs liblmdb, to read the index without the code under test")
    rounds = request.config.getoption("--rounds") or int(os.environ.get("HFFS_MOUNT_ROUNDS", 15))
    seed = int(os.environ.get("HFFS_MOUNT_SEED", 24))
    campaign = Campaign(make, random.Random(seed))
    mount, starts, verified = campaign.mount, [], []
    for number in range(rounds):
        starts.append(campaign.start("--offline"))
        campaign.check_served(verified)
        mount.kill9()
        mount.remount()
        assert mount.status()["store"]["used_bytes"] <= LIMIT
        campaign.load_and_kill()
        assert not campaign.wrong, f"round {number}, seed {seed}: wrong bytes: {campaign.wrong}\n{mount.log()}"
        assert not campaign.errors, f"round {number}, seed {seed}: {campaign.errors}\n{mount.log()}"
        verified = campaign.check_store()
    mount.remount()
    for repo, path, data in campaign.files:
        assert mount.file(repo, path).read_bytes() == data
    report = {"rounds": rounds, "compared_bytes": campaign.compared, "verified_kept": campaign.kept, "evicted_at_starts": campaign.evicted,
              "imports": campaign.imported, "collections": campaign.collected,
              "start_median_s": round(statistics.median(starts), 3), "start_slowest_s": round(max(starts), 3)}
    print(json.dumps(report))
    assert campaign.kept and campaign.imported and campaign.collected, f"it shows nothing: {report}"
    assert statistics.median(starts) < 1, report
