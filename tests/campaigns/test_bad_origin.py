# SPDX-License-Identifier: Apache-2.0
"""Every kind of misbehaviour of the origin, at each place of a file, under each kind of reader. Right bytes or a clear errno
within the deadline; right within 5 s of the end of the trouble; and nobody else is held up."""
import errno
import itertools
import os
import random
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from campaign import slack, sound
from hub import File, Sparse
from kinds import Links, all_kinds
from lab import MIB, errno_of
from store import Store

DEADLINE, LONG_DEADLINE = 1, 3  # of a reader: in the short edition, and in the long one, for which a busy machine has time
SIZE = 3 * MIB + 11
PLACES = {"first": 0, "middle": MIB, "last": 3 * MIB}
READERS = ("sequential", "random", "mmap")
TOPICS = ("name", "listing", "ref")  # of the API, in place of places
AT_ONCE = 32
HEALS = 5.0


class Place:
    """A hub whose bytes come from a store of ours, and a mount of it. `strict`: nothing is served before its hash is right."""

    def __init__(self, make, shelf, full, strict=False, links=True):
        self.slack = slack()
        self.shelf, self.strict, self.deadline = shelf, strict, (LONG_DEADLINE if full else DEADLINE) * self.slack
        self.files = {}  # sha256 → Made
        self.store = Store(self.files)
        self.links = Links(make.folder(), self.files) if links else None
        self.world = make.world(bytes="hub")
        self.hub = self.world.hub
        self.leads = {}  # sha256 → an origin instead of the store's
        right = self.hub.sign
        self.hub.settings.bytes_link = self.store.origin

        def sign(blob, name):
            address = right(blob, name)
            lead = self.leads.get(blob.sha256)
            return address if lead is None else address.replace(self.store.origin, lead, 1)
        self.hub.sign = sign
        env = {"SSL_CERT_FILE": str(self.links.authority)} if links else {}
        self.mount = make.mount(self.world, "--read-deadline", str(self.deadline), "--verify", "strict" if strict else "complete", env=env)

    def add(self, known=True):
        """(repository, Made, path, sha256), its names known already."""
        made = self.shelf.file(SIZE)
        repo = self.world.add({"model.bin": File(made.source, lfs=True), "a.txt": b"a"})
        path = self.mount.file(repo, "model.bin")
        self.files[repo.etags["model.bin"]] = made
        if known:
            os.stat(path)
        return repo, made, path, repo.etags["model.bin"]

    def close(self):
        self.store.close()
        if self.links:
            self.links.close()


class Healthy(threading.Thread):
    """Reads a block of another repository that is not here yet, again and again, and one that is."""

    def __init__(self, place, seed, pause):
        super().__init__(daemon=True)
        self.pause = pause
        self.content = Sparse(1500 * MIB, seed=seed, every=MIB)
        repo = place.world.add({"model.bin": self.content, "here.bin": Sparse(4 * MIB, seed=seed + 1, every=MIB)})
        # Its bytes come from the hub's own port, as those of everybody who is well.
        place.leads[repo.etags["model.bin"]] = place.leads[repo.etags["here.bin"]] = place.hub._bytes.origin
        self.path, here = place.mount.file(repo, "model.bin"), place.mount.file(repo, "here.bin")
        self.here = open(here, "rb", buffering=0)
        assert len(self.here.read()) == 4 * MIB
        self.cold, self.resident, self.troubles = [], [], []
        self._over, self._block = threading.Event(), 0

    def run(self):
        with open(self.path, "rb", buffering=0) as file, self.here:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            while not self._over.wait(self.pause) and self._block < 1500:
                self._look(self.cold, file, self._block * MIB, self.content)
                self._block += 1
                os.posix_fadvise(self.here.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                self._look(self.resident, self.here, self._block % 4 * MIB, None)

    def _look(self, times, file, at, content):
        began = time.monotonic()
        try:
            got = os.pread(file.fileno(), 4096, at)
            if len(got) != 4096 or (content and got != content.read(at, 4096)):
                self.troubles.append(f"wrong bytes at {at}")
        except OSError as error:
            self.troubles.append(f"{error} at {at}")
        times.append(time.monotonic() - began)

    def take(self):
        """What was measured since the last time."""
        cold, self.cold = self.cold, []
        resident, self.resident = self.resident, []
        return cold, resident

    def end(self):
        self._over.set()
        self.join(LONG_DEADLINE * 10 + 10)


class Case:
    """`long`: there is time for what heals late by design."""

    def __init__(self, place, reader, kind, at, how, long=False):
        self.place, self.reader, self.kind, self.at, self.how, self.long = place, reader, kind, at, how, long
        self.name = f"{kind.name}, {at}, {how}"
        self.problems, self.outcome, self.slowest, self.healed, self.hits = [], None, 0.0, None, 0

    def run(self):
        try:
            self._of_api() if self.kind.where == "api" else self._of_bytes()
        except Exception as error:  # noqa: BLE001: a campaign goes on, and tells in the end
            self.problems.append(f"{type(error).__name__}: {error}")
        return self

    # Bytes

    def _of_bytes(self):
        kind, (repo, made, path, sha) = self.kind, self.place.add()
        first = PLACES[self.at]
        fault = None
        if kind.where == "store":
            self.place.store.spoil(sha, kind.fault, first + 5)
        elif kind.where == "link":
            self.place.leads[sha] = self.place.links.where[kind.fault]
        else:
            fault = self.place.hub.faults.add(on=("redirect", "content"), path=f"*{repo.id}/*", **kind.fault)
        # An address is asked for once for a file: its first reader must be the one at that place.
        part = () if kind.where == "store" else (first, min(MIB, SIZE - first))
        try:
            verdict = self.reader.once(self.how, path, made, part)
        finally:
            if kind.where == "store":
                self.hits = self.place.store.heal(sha)
            elif kind.where == "link":
                self.hits = 1
                self.place.links.heal(kind.fault)
                del self.place.leads[sha]
            else:
                self.hits = fault.hits
                fault.remove()
        self._judge(verdict)
        limit = kind.heals * self.place.slack if self.long or kind.heals <= HEALS else 0
        began = time.monotonic()
        while limit and not sound(self.reader.once(self.how, path, made)):
            if time.monotonic() - began > limit:
                return self.problems.append(f"not right {limit} s after the end of the trouble")
            time.sleep(0.05)
        self.healed = time.monotonic() - began

    def _judge(self, verdict):
        self.slowest = verdict["slowest"]
        self.outcome = "right" if sound(verdict) else "wrong" if verdict["wrong"] else \
            "sigbus" if verdict["sigbus"] else errno.errorcode.get(verdict["errno"], "short")
        allowed = {"right", "EIO", "EACCES", "sigbus" if self.how == "mmap" else "EIO"}
        if self.kind.lies and not self.place.strict:
            allowed.add("wrong")  # B7: only the hash tells, and it comes with the last byte
        if self.outcome not in allowed:
            self.problems.append(f"a reader met {self.outcome}: {verdict['troubles'][:2]}")
        if self.kind.right is not None and self.kind.right != (self.outcome == "right"):
            self.problems.append(f"a reader met {self.outcome}")
        # V4: as long as bytes come, and for as often as they are fetched again.
        if self.slowest > self.place.deadline + (2 + (self.place.strict and self.kind.lies) * 8) * self.place.slack:
            self.problems.append(f"a read took {self.slowest:.2f} s")
        if not self.hits:
            self.problems.append("the fault was never met: it shows nothing")

    # Names

    def _of_api(self):
        place, kind, topic = self.place, self.kind, self.at
        known, fresh = place.add(known=False)[0], place.add(known=False)[0]
        top = place.mount.repo(known.id)
        assert (top / "refs/main").read_text() == known.commit
        fault = place.hub.faults.add(on="api", path=f"*{fresh.id if topic == 'name' else known.id}*", **kind.fault)
        ask = {"name": lambda: os.stat(place.mount.repo(fresh.id)), "listing": lambda: os.listdir(top / "snapshots" / known.commit),
               "ref": lambda: os.stat(top / "refs/nope")}[topic]
        began = time.monotonic()
        try:
            code = errno_of(ask)
        finally:
            self.hits = fault.hits
            fault.remove()
        self.slowest = time.monotonic() - began
        self.outcome = errno.errorcode.get(code, "right")
        if code not in (0, errno.ENOENT, errno.EACCES, *([errno.EIO] if topic == "listing" else [])):
            self.problems.append(f"{topic}: {self.outcome}")
        if self.slowest > 11 * self.place.slack:
            self.problems.append(f"{topic}: it took {self.slowest:.2f} s")
        if not self.hits:
            self.problems.append("the fault was never met: it shows nothing")
        self._heals(fresh if topic == "name" else known, top, topic)

    def _heals(self, repo, top, topic):
        """N3: a no of the Hub's is believed for 30 s; a tree that it gave, for ever."""
        if topic == "listing" and self.outcome == "right" and self.kind.fault["name"] == "bad_json":
            return
        began = time.monotonic()
        limit = (35 if self.kind.believed else HEALS) * self.place.slack
        path = self.place.mount.file(repo, "a.txt")
        while errno_of(path.read_bytes) or path.read_bytes() != b"a":
            if time.monotonic() - began > limit:
                return self.problems.append(f"{topic}: not right {limit} s after the end of the trouble")
            time.sleep(0.05)
        self.healed = time.monotonic() - began


def choose(kinds, full, seed):
    """(kind, place or topic, how): all of them, or each kind once, the rest by rotation."""
    product = [(kind, at, how) for kind in kinds
               for at in (TOPICS if kind.where == "api" else PLACES) for how in (("stat",) if kind.where == "api" else READERS)]
    if full:
        return product
    turns, chosen = random.Random(seed), []
    for kind in kinds:
        chosen.append(turns.choice([each for each in product if each[0] is kind]))
    return chosen


def run_all(cases, workers):
    # Those that are believed for long begin first, and the others pass the time.
    cases.sort(key=lambda case: not case.kind.believed)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(Case.run, cases))


def tell(report, seed, cases, **more):
    by_outcome = {}
    for case in cases:
        by_outcome[case.outcome] = by_outcome.get(case.outcome, 0) + 1
    healed = [case.healed for case in cases if case.healed is not None and not case.kind.believed]
    report.note(seed=seed, kinds=len({case.kind.name for case in cases}), cases=len(cases), outcomes=by_outcome,
                slowest_read=round(max((case.slowest for case in cases if case.kind.where != "api"), default=0), 2),
                slowest_healing=round(max(healed, default=0), 2),
                table=[[case.name, case.outcome, round(case.slowest, 2), case.healed and round(case.healed, 2)] for case in cases], **more)
    problems = [f"{case.name}: {'; '.join(case.problems)}" for case in cases if case.problems]
    assert not problems, f"--seed {seed}: {len(problems)} of {len(cases)}\n" + "\n".join(problems[:200])


def high(times):
    """All but the slowest twentieth are below."""
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else max(times, default=0)


@pytest.mark.limit(4 * 3600)
def test_bad_origin(make, shelf, reader, report, seed, full):
    """Of one repository, beside another that is well."""
    place = Place(make, shelf, full)
    healthy = Healthy(place, seed % 1000, 0.15 if full else 0.02)
    try:
        kinds = [kind for kind in all_kinds() if not kind.alone and (full or not kind.believed)]
        cases = [Case(place, reader, *each, long=full) for each in choose(kinds, full, seed)]
        healthy.start()
        # The same number of readers, and nothing wrong.
        well = [Case(place, reader, kind, at, how) for kind in kinds[:1] for at, how in itertools.product(PLACES, READERS)]
        run_all(well * (1 if not full else 4), AT_ONCE)
        before = healthy.take()
        run_all(cases, AT_ONCE)
        after = healthy.take()
    finally:
        healthy.end()
        place.close()
    latency = {f"{what}_{when}": [round(statistics.median(times), 4), round(high(times), 4), round(max(times), 4)]
               for what, pair in (("cold", (before[0], after[0])), ("resident", (before[1], after[1])))
               for when, times in zip(("without", "with"), pair)}
    tell(report, seed, cases, latency=latency)
    assert not healthy.troubles, f"--seed {seed}: who reads what is well met {healthy.troubles[:5]}"
    for what, (well, ill) in {"cold": (before[0], after[0]), "resident": (before[1], after[1])}.items():
        assert high(ill) <= 5 * high(well) + 0.1 * place.slack, f"--seed {seed}: {what} reads of what is well: {latency}"
        assert max(ill) < place.deadline, f"--seed {seed}: {what} reads of what is well: {latency}"


@pytest.mark.limit(4 * 3600)
def test_bad_endpoint(make, shelf, reader, report, seed, full):
    """What is about the whole endpoint: each on a hub and a mount of its own. What is here is read on."""
    chosen = choose([kind for kind in all_kinds() if kind.alone], full, seed)

    def run(each):
        place = Place(make, shelf, full, links=False)
        try:
            return Case(place, reader, *each, long=full).run()
        finally:
            place.close()
    with ThreadPoolExecutor(14) as pool:
        cases = list(pool.map(run, chosen))
    tell(report, seed, cases)


@pytest.mark.limit(4 * 3600)
def test_bad_bytes_strict(make, shelf, reader, report, seed, full):
    """V4: who lies in all but the hash is believed by nobody."""
    place = Place(make, shelf, full, strict=True)
    try:
        kinds = [kind for kind in all_kinds() if kind.lies or (full and kind.where == "store")]
        cases = run_all([Case(place, reader, *each, long=full) for each in choose(kinds, full, seed)], AT_ONCE)
    finally:
        place.close()
    tell(report, seed, cases)
