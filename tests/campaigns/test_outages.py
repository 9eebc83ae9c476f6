# SPDX-License-Identifier: Apache-2.0
"""The origin away for seconds and for minutes, under every kind of reader at once: a pause, and no error. Who reads what is here
does not notice. The deadline is the default, 15 minutes."""
import time

import pytest
from campaign import slack, sound
from hub import File
from lab import MIB

COLD = ("sequential", "random", "mmap")
FILES, SIZE = 6, 6 * MIB + 77
# What is kept is less than what one reader goes round: it always comes anew.
LIMIT = (FILES - 2) * SIZE + 24 * MIB
# After the end of an outage: the longest wait between two attempts is 4 s, and everybody asks at once.
AFTER = 7.0
RESIDENT = 1.0  # of a read of what is here; a processor may be taken away for a while


class Outages:
    def __init__(self, make, shelf, reader, report):
        self.reader, self.report, self.began = reader, report, time.monotonic()
        self.world = make.world(bytes="hub")
        self.mount = make.mount(self.world, "--max-size", str(LIMIT))
        self.lists = {}
        here = shelf.file(12 * MIB + 5)
        repo = self.world.add({"here.bin": File(here.source, lfs=True)})
        path = self.mount.file(repo, "here.bin")
        assert sound(reader.once("sequential", path, here))
        done = self.mount.hffs("pin", repo.id, "--state-dir", self.mount.state)
        assert done.code == 0, done
        self.lists["resident"] = shelf.list([(path, here)])
        for how in COLD:
            made = {f"f{number}.bin": shelf.file(SIZE) for number in range(FILES)}
            repo = self.world.add({name: File(each.source, lfs=True) for name, each in made.items()})
            self.lists[how] = shelf.list([(self.mount.file(repo, name), each) for name, each in made.items()])

    def away(self, how):
        if how == "refused":
            self.world.hub.down(origin=True)
            return self.world.hub.up
        return self.world.hub.faults.add("stall").remove

    def one(self, how, seconds, seed):
        """What each reader met."""
        running = {kind: self.reader.begin("loop", kind, seed, path, 20) for kind, path in self.lists.items()}
        try:
            time.sleep(1.5 * slack())
            back = self.away(how)
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                time.sleep(min(left, 5))
                status = self.mount.status()
                assert status["pid"] == self.mount.pid
                self.report.add("reads waiting", round(time.monotonic() - self.began, 1), status["metrics"]["reads_waiting"])
            back()
            time.sleep((AFTER + 1 if seconds > 2 else 4) * slack())
            met = {kind: each.end() for kind, each in running.items()}
        finally:
            for each in running.values():
                each.kill()
        return met

    def check(self, how, seconds, seed):
        met = self.one(how, seconds, seed)
        name = f"{how} for {seconds} s"
        self.report.note(**{name: {kind: {key: each[key] for key in ("slowest", "passes", "errors", "wrong", "sigbus")}
                                   for kind, each in met.items()}})
        for kind, each in met.items():
            assert sound(each), f"{name}, --seed {seed}: {kind} met {each['troubles'][:3]}"
            assert each["passes"] >= 2, f"{name}, --seed {seed}: {kind} did not go on: {each}"
        more = slack()
        for kind in COLD:
            assert met[kind]["slowest"] > seconds - 1, f"{name}: {kind} did not notice, and shows nothing"
            assert met[kind]["slowest"] < seconds + AFTER * more, f"{name}, --seed {seed}: {kind} waited {met[kind]['slowest']} s"
        assert met["resident"]["slowest"] < RESIDENT * more, f"{name}: what is here took {met['resident']['slowest']} s"


@pytest.mark.limit(3600)
def test_outages(make, shelf, reader, report, seed, full):
    outages = Outages(make, shelf, reader, report)
    plan = [("refused", 2)]
    if full:
        plan = [("refused", 2), ("silent", 2), ("refused", 8), ("silent", 8), ("refused", 180), ("refused", 600)]
    for how, seconds in plan:
        outages.check(how, seconds, seed)
    assert outages.mount.metric("blobs_evicted") > 0, "everything was kept: it shows nothing"
