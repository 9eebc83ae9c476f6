# SPDX-License-Identifier: Apache-2.0
"""Everything at once, for long: clients of several users, evictions, workers that are killed, an origin that misbehaves and goes
away, commands. No error, no wrong byte; memory, descriptors and threads stay; in the end all gauges are at zero.

    scripts/soak --minutes 10 --seed 7 --report DIR
"""
import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "mount", HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import lab  # noqa: E402
from campaign import ROOT, Reader, Report, Shelf, sound  # noqa: E402
from hub import File  # noqa: E402
from lab import ALICE, BOB, MIB  # noqa: E402
from world import World  # noqa: E402

SIZES = (9 * MIB + 5, 700_000, 3 * MIB, 5 * MIB + 4097, 9000, MIB + 1)
REPOS = 8
LIMIT = 80 * MIB  # of about 150 that are read
CLIENT = ROOT / "build/venvs/hub-2.4.0/bin/python"
# Each passes within seconds, and may be tried again: none of them may be seen.
FAULTS = [
    dict(name="status", code=500), dict(name="status", code=502), dict(name="status", code=503), dict(name="status", code=408),
    dict(name="html"), dict(name="reset"), dict(name="reset", at=300_000), dict(name="short", at=500_000), dict(name="stall"),
    dict(name="stall", at=100_000), dict(name="gzip"), dict(name="drip", rate=400_000), dict(name="delay", seconds=0.2),
    dict(name="wrong_content_range"), dict(name="ignore_range"), dict(name="no_length"), dict(name="headers", drop=["Content-Range"]),
    dict(name="rate_limit", seconds=1), dict(name="redirect_loop"), dict(name="redirect", location="http://127.0.0.1:9/x", code=302)]
API_FAULTS = [dict(name="status", code=503), dict(name="bad_json"), dict(name="html"), dict(name="reset"), dict(name="stall"),
              dict(name="delay", seconds=0.2), dict(name="short")]


class Soak:
    """`kills_until`: workers are killed in that part of the time. `pace`: how much faster than usual everything happens."""

    def __init__(self, seconds, seed, report, kills_until=0.25, pace=1):
        self.seconds, self.seed, self.report, self.pace = seconds, seed, report, pace
        self.turns = random.Random(seed)
        self.box = tempfile.TemporaryDirectory(prefix="hffs-soak-")
        os.chmod(self.box.name, 0o755)
        self.kills_until = kills_until
        self.over = threading.Event()
        self.counts = {"faults": 0, "fault_hits": 0, "outages": 0, "kills": 0, "commands": 0, "refused_commands": 0}
        self.codes, self.problems, self.samples = {}, [], []
        self.running = {}
        self.over_since, self.most_over = None, 0
        self.began = time.monotonic()

    @property
    def now(self):
        return time.monotonic() - self.began

    def share(self):
        return self.now / self.seconds

    # What there is

    def build(self):
        folder = Path(self.box.name)
        for name in ("reader", "made"):
            (folder / name).mkdir(mode=0o755)
        self.reader = Reader.build(folder / "reader")
        shelf = Shelf(self.reader, folder / "made", first=self.seed * 1000)
        self.world = World(bytes="hub")
        root = os.geteuid() == 0
        self.mount = lab.Mount([self.world.endpoint], ["--max-size", str(LIMIT), *(["--allow-other"] if root else [])], self.world.env)
        self.mount.start()
        self.files, self.repos, told = [], [], {}
        for _ in range(REPOS):
            made = {f"f{number}.{'json' if size < 10_000 else 'bin'}": shelf.file(size) for number, size in enumerate(SIZES)}
            repo = self.world.add({name: File(each.source) for name, each in made.items()})
            self.repos.append(repo)
            self.files += [(self.mount.file(repo, name), each) for name, each in made.items()]
            told[repo.id] = {name: self._digest(each) for name, each in made.items()}
            # Known from now on: what the Hub says later, or does not say, changes no name.
            assert (self.mount.repo(repo.id) / "refs/main").read_text() == repo.commit
            assert len(os.listdir(self.mount.repo(repo.id) / "snapshots" / repo.commit)) == len(SIZES)
        self.told = folder / "told.json"
        self.told.write_text(json.dumps(told))
        self.list = shelf.list(self.files)
        for path in (self.told, self.list):
            path.chmod(0o644)
        self.users = [None, ALICE, BOB] if root else [None]

    @staticmethod
    def _digest(made):
        import hashlib
        return hashlib.sha256(made.source.read_bytes()).hexdigest()

    def start_clients(self):
        for number, (how, user) in enumerate((how, user) for how in ("sequential", "random", "mmap") for user in self.users):
            self.running[f"{how} {user}"] = self.reader.begin("loop", how, self.seed + number, self.list, 40, user=user)
        for user in self.users:
            self.running[f"every way {user}"] = self.reader.begin("random", self.seed + 50, self.list, 0, self.seconds, 3, user=user)
        if CLIENT.exists():
            from campaign import Reading
            for number, user in enumerate(self.users):
                home = Path(self.box.name) / f"home-{user}"
                home.mkdir()
                os.chown(home, user or os.geteuid(), user or os.getegid())
                env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home), "HF_HUB_CACHE": str(self.mount.point),
                       "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
                self.running[f"huggingface_hub {user}"] = Reading([CLIENT, HERE / "soak_client.py", self.told, str(self.seed + number)],
                                                                  user, env)

    # What happens to it

    def keep(self, action, least, most):
        """Does it again and again, at random distances, until the end."""
        def work():
            turns = random.Random(f"{self.seed} {action.__name__}")
            while not self.over.wait(turns.uniform(least, most) / self.pace):
                try:
                    action(turns)
                except Exception as error:  # noqa: BLE001: it is a finding like any other
                    self.problems.append(f"{action.__name__} at {self.now:.0f} s: {type(error).__name__}: {error}")
        thread = threading.Thread(target=work, daemon=True, name=action.__name__)
        thread.start()
        return thread

    def fault(self, turns):
        api = turns.random() < 0.2
        wanted = dict(turns.choice(API_FAULTS if api else FAULTS))
        with self.world.hub.faults.add(on="api" if api else ("content", "bytes"), **wanted) as fault:
            self.over.wait(turns.uniform(0.3, 2.5))
        self.counts["faults"] += 1
        self.counts["fault_hits"] += fault.hits

    def outage(self, turns):
        # In the instant between listening and keeping the port, a connection may get it: then it is down, too.
        with contextlib.suppress(OSError):
            self.world.hub.down(origin=True)
        self.over.wait(turns.uniform(0.5, 6) / self.pace)
        self._back()
        self.counts["outages"] += 1

    def _back(self):
        """On the same port, which some connection of ours may have for a moment."""
        until = time.monotonic() + 30
        while True:
            try:
                return self.world.hub.up()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def kill(self, _):
        if self.share() > self.kills_until:
            return
        done = self.hffs("status", "--json")
        if done.code == 0:
            os.kill(json.loads(done.out)["worker"]["pid"], signal.SIGKILL)
            self.counts["kills"] += 1

    def hffs(self, *words):
        return self.mount.hffs(*words, "--state-dir", self.mount.state, timeout=120)

    def command(self, turns):
        repo = turns.choice(self.repos)
        words = turns.choice([("prefetch", repo.id, "--background"), ("prefetch", repo.id, "--stop"), ("gc", repo.id), ("gc",),
                              ("gc", "--unreferenced"), ("pin", repo.id), ("unpin", repo.id), ("unpin", repo.id), ("ls",), ("status",),
                              ("verify", repo.id), ("pins",), ("top", "--json"), ("prefetch", repo.id, "--include", "*.json")])
        done = self.hffs(*words)
        self.counts["commands"] += 1
        self.codes[str(done.code)] = self.codes.get(str(done.code), 0) + 1
        if done.code not in (0, 3, 7, 13, 18):
            self.counts["refused_commands"] += 1
        if done.code in (10, 70) or done.code < 0:
            self.problems.append(f"{words} at {self.now:.0f} s: {done}")

    def sample(self, _):
        done = self.hffs("status", "--json")
        if done.code != 0:
            return
        status = json.loads(done.out)
        found = {"at": round(self.now, 1), "worker": status["worker"]["pid"], "restarts": status["worker"]["restarts"]}
        for name, pid in (("worker", status["worker"]["pid"]), ("keeper", status["pid"])):
            try:
                words = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                found |= {f"{name} RssAnon MiB": int(words["RssAnon"].split()[0]) / 1024, f"{name} threads": int(words["Threads"]),
                          f"{name} descriptors": len(os.listdir(f"/proc/{pid}/fd"))}
            except (OSError, KeyError):
                return
        found |= {"reads waiting": status["metrics"]["reads_waiting"], "used MiB": status["store"]["used_bytes"] / MIB,
                  "evicted": status["metrics"]["blobs_evicted"], "fetched MiB": status["metrics"]["content_bytes"] / MIB}
        self._look_at_limit(status["store"]["used_bytes"])
        self.samples.append(found)

    def _look_at_limit(self, used):
        """L1. Files that had become whole within the last two seconds of a worker that was killed count once they are opened
        again, and go when somebody lets go of something: that is over within moments, or a finding."""
        if used <= LIMIT:
            self.over_since = None
            return
        self.most_over = max(self.most_over, used - LIMIT)
        self.over_since = self.over_since or self.now
        if self.now - self.over_since > 60:
            self.problems.append(f"L1 at {self.now:.0f} s: {used} bytes are kept, {LIMIT} are allowed, since {self.over_since:.0f} s")

    # All of it

    def run(self):
        self.build()
        try:
            self.began = time.monotonic()
            self.start_clients()
            keepers = [self.keep(self.fault, 0.1, 2), self.keep(self.outage, 12, 40), self.keep(self.kill, 4, 12),
                       self.keep(self.command, 0.5, 4), self.keep(self.sample, 1, 1 + self.seconds / 400)]
            while self.now < self.seconds and not self.problems:
                time.sleep(0.5)
            self.over.set()
            for each in keepers:
                each.join(150)
            self._back()
            self.world.hub.faults.clear()
            self.end_clients()
            self.check_end()
            self.check_flat()
        finally:
            self.over.set()
            for each in self.running.values():
                each.kill()
            log = self.mount.log()
            try:
                self.mount.leave()
            except AssertionError as error:
                self.problems.append(str(error))
            self.world.stop()
            self.box.cleanup()
            self.tell(log)
        return self.problems

    def end_clients(self):
        self.clients = {}
        for name, each in self.running.items():
            try:
                met = self.clients[name] = each.end(150)
            except Exception as error:  # noqa: BLE001
                if self.now >= self.seconds:  # else it was told how long it goes on, and has the right to
                    self.problems.append(f"{name} did not end: {type(error).__name__}: {error}")
                each.kill()
                continue
            if met["errors"] or met["wrong"] or met.get("short") or met.get("sigbus"):
                self.problems.append(f"{name} met {met['troubles'][:5]}")
            if met["passes"] + met.get("ops", 0) == 0:
                self.problems.append(f"{name} read nothing: it shows nothing")

    def check_end(self):
        """Gauges at zero, every file right, nothing damaged."""
        def quiet():
            status = self.mount.status()
            return status["metrics"]["reads_waiting"] == 0 and not any(status["transfer"].values())
        for repo in self.repos:
            self.hffs("prefetch", repo.id, "--stop")
            self.hffs("unpin", repo.id)
        try:
            lab.eventually(quiet, 20, "gauges at zero")
        except AssertionError as error:
            self.problems.append(f"{error}: {self.mount.status()['transfer']} {self.mount.status()['metrics']}")
        for path, made in self.files:
            met = self.reader.once("sequential", path, made)
            if not sound(met):
                self.problems.append(f"in the end: {met['troubles']}")
        done = self.hffs("verify")
        if done.code != 0:
            self.problems.append(f"hffs verify: {done}")

    def quarter(self, number, name):
        return [each[name] for each in self.samples if number - 1 <= 4 * each["at"] / self.seconds < number and name in each]

    def check_flat(self):
        """The last quarter beside the second. Workers are killed in the first: one lives through all the rest."""
        self.flat = {}
        for name, slack in (("worker RssAnon MiB", 24), ("keeper RssAnon MiB", 2), ("worker descriptors", 30), ("keeper descriptors", 30),
                            ("worker threads", 6), ("keeper threads", 1)):
            before, after = self.quarter(2, name), self.quarter(4, name)
            if len(before) < 3 or len(after) < 3:
                continue
            self.flat[name] = [round(statistics.median(before), 2), round(statistics.median(after), 2)]
            if self.seconds >= 300 and statistics.median(after) > 1.15 * statistics.median(before) + slack:
                self.problems.append(f"{name} grew: {self.flat[name]}")

    def tell(self, log):
        for each in self.samples:
            for name, value in each.items():
                if name not in ("at", "worker"):
                    self.report.add(name, each["at"], value)
        clients = getattr(self, "clients", {})
        self.report.note(seed=self.seed, seconds=round(self.now), clients=len(clients), **self.counts, exit_codes=self.codes,
                         passes=sum(each["passes"] for each in clients.values()), ops=sum(each.get("ops", 0) for each in clients.values()),
                         read_mib=round(sum(each["bytes"] for each in clients.values()) / MIB),
                         slowest_read=max((each.get("slowest", 0) for each in clients.values()), default=None),
                         evicted=max((each["evicted"] for each in self.samples), default=0), flat=getattr(self, "flat", {}), most_over_limit=self.most_over,
                         workers=len({each["worker"] for each in self.samples}), problems=self.problems[:50],
                         log=log.splitlines()[-200:] if self.problems else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 20))
    parser.add_argument("--report", type=Path, help="a folder for soak.json and soak.png")
    parser.add_argument("--cores", type=int, default=2, help="for all of it")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.cores])
    copy = lab.let_others_run_it()
    report = Report(options.report, "soak")
    print(f"--seed {options.seed}", flush=True)
    try:
        problems = Soak(options.minutes * 60, options.seed, report).run()
        report.write()
    finally:
        if copy:
            subprocess.run(["rm", "-r", copy], check=False)
    for each in problems:
        print(f"FAILED {each}"[:2000])
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
