# SPDX-License-Identifier: Apache-2.0
"""The command line of scripts/bench."""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import harness, machine, report
from .programs import BUILD, ROOT

ABOUT = """\
Measures hffs beside what it must be compared with, in one run and in turn (A B A B …), and says for each measure how
the pairs compare: min, median and max, beside the bar that the median has to pass.

It sets up its own origin on loopback (the test hub, nginx with TLS), in a network of its own: nothing reaches another
host, and nothing is left behind. Needs root, /dev/fuse, and about 12 GB on a real disk."""
EXAMPLES = """\
examples:
  scripts/bench --quick                      every measure at a tenth of its size: does it run?
  scripts/bench --list                       what there is, and which bars
  scripts/bench --only cold model --out /tmp/x
  scripts/bench --only warm --rounds 31      more rounds for a closer look
  HFFS=/usr/bin/hffs scripts/bench           another binary

reading it:
  speed   hffs's speed, the reference's being 1: 0.97 is 3 % slower
  time    hffs's time (or processor time), the reference's being 1
  cold    ends at the reader's last byte; `durable` is when all of it could have survived a power cut
  Ratios of pairs hold on a busy machine better than seconds do, but not well: let it be quiet for figures to quote.
docs/BENCHMARKS.md has the method, and figures."""


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=ABOUT, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="these measures (--list has their names)")
    parser.add_argument("--list", action="store_true", help="say what is measured, and stop")
    parser.add_argument("--quick", action="store_true", help="small files, two rounds: to see that all of it runs")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each case (default: 15 warm, 5 cold)")
    parser.add_argument("--fuse-features", metavar="VERSION", choices=["5.15"],
                        help="all mounts use nothing newer of FUSE than this version of Linux has (5.15)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=BUILD / "bench",
                        help="where results.json, results.md and the plots go (default: build/bench)")
    parser.add_argument("--work", type=Path, metavar="DIR",
                        help="where stores and files of the run lie, on a real disk; its fixtures are kept for the next "
                             "run (default: a folder in /var/tmp that is removed)")
    parser.add_argument("--no-setup", action="store_true", help="everything is built and installed already")
    found = parser.parse_args()
    unknown = set(found.only) - harness.MEASURES.keys()
    if unknown:
        parser.error(f"no measure is called {', '.join(sorted(unknown))}; there are {', '.join(harness.MEASURES)}")
    if found.rounds is not None and found.rounds < 1:
        parser.error("--rounds wants at least 1")
    return found


def say(text=""):
    print(text, flush=True)


def list_measures():
    for each in harness.MEASURES.values():
        say(f"{each.name:12} {each.about}")


def set_up():
    """The binary, unless HFFS names one, the environments of the clients, and the plots'."""
    words = ["--no-build"] if "HFFS" in os.environ else []
    for name in ("bench", "transformers-5", "opensora-1.2"):
        if subprocess.run([ROOT / "scripts/setup", "--client", name, *words]).returncode != 0:
            sys.exit("bench: scripts/setup failed; --no-setup goes on without it")


def work_folder(wanted):
    folder = wanted or Path(tempfile.mkdtemp(prefix="hffs-bench-", dir="/var/tmp"))
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if machine.file_system_of(folder)[0] in machine.ON_NO_DISK:
        sys.exit(f"bench: {folder} is not on a disk: name another with --work")
    return folder


def main():
    # The modules register what they measure, in this order.
    from . import stage, warm, masked, small_files, cold, bounded, carry, congestion, laziness, model, index  # noqa: E401, F401
    found = options()
    if found.list:
        list_measures()
        return 0
    work = os.environ.get(machine.INSIDE)
    if work:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return run(found, stage.Stage(Path(work), found.quick, found.rounds, masked.config_of(found.fuse_features)))
    prepare(found)
    work = work_folder(found.work)
    try:
        return machine.run_in_own_world(work)
    finally:
        shutil.rmtree(work / "run" if found.work else work, ignore_errors=True)


def prepare(found):
    """Everything that can be missing, before the first measure takes its minutes."""
    if os.geteuid() != 0:
        sys.exit("bench: needs root: it drops the page cache, shapes a link and mounts")
    if not found.no_setup:
        set_up()
    missing = machine.missing_programs()
    if missing:
        sys.exit(f"bench: install {', '.join(missing)}")
    hffs = Path(os.environ.setdefault("HFFS", str(BUILD / "src/cli/hffs")))
    if not hffs.exists():
        sys.exit(f"bench: {hffs} is not there: build it, or name it in HFFS")


def run(found, stage):
    about = machine.describe(ROOT, os.environ["HFFS"], stage.work) | {"quick": found.quick}
    results = []
    try:
        for name in found.only or harness.MEASURES:
            which = harness.MEASURES[name]
            began = time.monotonic()
            say(f"{name}: {which.about}")
            results += harness.run_measure(which, stage, say)
            say(f"  {time.monotonic() - began:.0f} s\n")
    except KeyboardInterrupt:
        say("interrupted: what follows is what was measured before")
    stage.close()
    about |= {"load_after": os.getloadavg()[0], "mode": stage.mode}
    report.write(found.out.absolute(), results, about, say)
    say(report.table(results, about))
    say(f"\n{found.out}/results.json has every sample; results.md and the plots lie beside it")
    return 1 if any(each.get("failed") for each in results) else 0
