# SPDX-License-Identifier: Apache-2.0
"""The mount outlives who serves it: killed, hung, without memory, replaced, a hundred and twenty times, under everything that reads."""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import lab
import pytest
from campaign import HERE, ROOT, slack
from hub import File
from lab import MIB, eventually, is_gone, other_build
from test_passthrough import OLD, verified
from test_takeover import digest_of, many, memory_group, read_for_ever, serving
from world import fresh_bytes

CLIENT = ROOT / "build/venvs/opensora-1.2/bin/python"
FULL = {"killed": 60, "crashed": 25, "without memory": 10, "hung": 5, "upgraded": 20, "refused": 2}
SHORT = {"killed": 6, "crashed": 3, "without memory": 1, "hung": 1, "upgraded": 2, "refused": 1}
# Seconds that a reader may wait for it.
LIMITS = {"killed": 1, "crashed": 1, "without memory": 1, "hung": 6, "upgraded": 2, "refused": 1}


class Disasters:
    """What may happen to a worker; each is over once another one serves (or the same, where that is refused)."""

    def __init__(self, make, world, mount, folder, program, group):
        self.make, self.world, self.mount, self.folder, self.program, self.group = make, world, mount, folder, program, group
        self.builds = [other_build(program, folder / f"of-{version}", version) for version in ("0.1.0", "0.1.7")]
        self.upgrades = 0
        self.times = []  # (kind, began, ended)

    def happens(self, kind):
        before, began = serving(self.mount), time.monotonic()
        getattr(self, kind.replace(" ", "_"))(before)
        self.times.append((kind, began, time.monotonic()))

    def another(self, before, seconds=20):
        eventually(lambda: serving(self.mount) not in (None, before), seconds, "another worker")
        assert is_gone(before)

    def killed(self, before):
        os.kill(before, signal.SIGKILL)
        self.another(before)

    def crashed(self, before):
        os.kill(before, signal.SIGSEGV)
        self.another(before)

    def hung(self, before):
        os.kill(before, signal.SIGSTOP)
        self.another(before)

    def without_memory(self, before):
        """In the midst of fetching: that is what needs some."""
        cold = self.world.add({"cold.bin": fresh_bytes(20 * MIB)})
        (self.group / "cgroup.procs").write_text(str(before))
        reader = self.make.child(read_for_ever, str(self.mount.file(cold, "cold.bin")), digest_of(cold.content["cold.bin"]), "sequential")
        self.another(before, 60)
        assert reader.heard() == "reads"
        reader.tell("stop")
        assert reader.result(120)[0] > 0

    def upgraded(self, before):
        self.upgrades += 1
        shutil.copy(self.builds[self.upgrades % 2], self.folder / "next")
        os.replace(self.folder / "next", self.program)
        os.kill(self.mount.pid, signal.SIGUSR1)
        self.another(before)
        assert self.mount.status()["version"] == ("0.1.0", "0.1.7")[self.upgrades % 2]

    def refused(self, before):
        """One that wants another session of the kernel: the old one goes on."""
        words, refusals = self.mount.config.read_text(), self.mount.log().count("wants another session")
        self.mount.config.write_text(words + OLD)
        os.kill(self.mount.pid, signal.SIGUSR1)
        eventually(lambda: self.mount.log().count("wants another session") > refusals, 20, "a refusal")
        self.mount.config.write_text(words)
        assert serving(self.mount) == before


def waits_of(times, waits):
    """kind → the longest that anybody waited while it happened, and just after; what was waited for at other times."""
    longest, other = {}, 0.0
    for began, waited in waits:
        kinds = [kind for kind, first, last in times if began < last + 0.5 and began + waited > first]
        if not kinds:
            other = max(other, waited)
        # Where two overlap it was the one that may take longer.
        for kind in sorted(kinds, key=LIMITS.get)[-1:]:
            longest[kind] = max(longest.get(kind, 0.0), waited)
    return longest, other


@contextlib.contextmanager
def from_pretrained(mount, world, folder):
    """A client that loads a model all the time; where it is not installed, none."""
    if not CLIENT.exists():
        yield None
        return
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_HUB_CACHE": str(mount.point), "HF_HUB_OFFLINE": "1",
           "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8", "TRANSFORMERS_VERBOSITY": "error"}
    made = subprocess.run([CLIENT, HERE / "pretrained.py", "make", folder / "model"], env=env, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    repo = world.add({each.name: File(each) for each in (folder / "model").iterdir()})
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    client = subprocess.Popen([CLIENT, HERE / "pretrained.py", "load", repo.id, made.stdout.strip()], env=env, cwd="/", text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert client.stdout.readline() == "loads\n"
        yield client
    finally:
        client.kill()
        client.communicate(timeout=30)


@pytest.mark.limit(3600)
def test_survival(make, root, report, seed, full, monkeypatch):
    group = memory_group(f"hffs-survival-{os.getpid()}")
    try:
        survive(make, report, random.Random(seed), FULL if full else SHORT, group, monkeypatch)
    finally:
        if group is not None:
            eventually(lambda: lab.errno_of(group.rmdir) == 0, 10, "the end of the memory cgroup")


def survive(make, report, turns, wanted, group, monkeypatch):
    folder = make.folder()
    program = folder / "hffs"
    shutil.copy(lab.HFFS, program)
    monkeypatch.setattr(lab, "HFFS", str(program))
    world = make.world()
    mount = make.mount(world, config="sync_interval = 0.05\n")
    happen = [kind for kind, times in wanted.items() for _ in range(times)]
    if group is None:
        happen = [kind for kind in happen if kind != "without memory"]
    if mount.status()["mode"] != "passthrough":
        happen = [kind for kind in happen if kind != "refused"]
    turns.shuffle(happen)
    disasters = Disasters(make, world, mount, folder, program, group)
    big = verified(world, mount, {"model.safetensors": fresh_bytes(12 * MIB + 4321)})
    small = verified(world, mount, {"config.json": fresh_bytes(300_000)})
    readers = [many(make, mount, world)]
    for repo, path in ((big, "model.safetensors"), (small, "config.json")):
        for how in ("sequential", "random", "mmap"):
            readers.append(make.child(read_for_ever, str(mount.file(repo, path)), digest_of(repo.content[path]), how))
            assert readers[-1].heard() == "reads"
    with from_pretrained(mount, world, folder) as client:
        for number, kind in enumerate(happen):
            if number % 10 == 0:  # one more that is fetched while all of this happens
                cold = world.add({"cold.bin": fresh_bytes(6 * MIB + number)})
                readers.append(make.child(read_for_ever, str(mount.file(cold, "cold.bin")), digest_of(cold.content["cold.bin"]), "random"))
                assert readers[-1].heard() == "reads"
            disasters.happens(kind)
            time.sleep(turns.uniform(0, 0.3))
        for each in readers:
            each.tell("stop")
        waits = []
        for each in readers:
            rounds, _, met = each.result(120)
            assert rounds > 0
            waits += met
        longest, other = waits_of(disasters.times, waits)
        loaded = None
        if client is not None:
            loaded = json.loads(client.communicate(timeout=120)[0])
            assert loaded["passes"] > 0 and not loaded["troubles"], loaded
    report.note(happened={kind: happen.count(kind) for kind in wanted}, readers=len(readers) + 63, longest_wait=longest,
                longest_wait_otherwise=other, from_pretrained=loaded and loaded["passes"], slack=round(slack(), 2))
    late = {kind: waited for kind, waited in longest.items() if waited > LIMITS[kind] * slack()}
    assert not late, f"waited too long: {late}"
    assert mount.status()["worker"]["restarts"] == sum(kind != "refused" for kind in happen)
