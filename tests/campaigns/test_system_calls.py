# SPDX-License-Identifier: Apache-2.0
"""H3: one of twenty system calls of the worker fails: opens, reads, writes and syncs of its disk, its connections. Never a wrong byte,
no end of a process, and all is well when the calls are."""
import errno
import shutil
import struct
import subprocess
import time

import pytest
from campaign import HERE, slack, sound
from hub import File
from lab import MIB

SIZES = (5 * MIB + 3, MIB, 2 * MIB + 77, 600_000, 9000, 3 * MIB)
LIMIT = 30 * MIB  # of about 50
SHARE = 50  # of 1,000
KINDS = ("open", "pread", "pwrite", "fdatasync", "connect", "recv")
# What a program may hear while the disk fails; reads do not fail for lack of space.
CLEAR = {errno.EIO, errno.EMFILE, errno.EINTR, errno.EAGAIN}


class Control:
    def __init__(self, folder):
        self.path = folder / "control"
        self.path.write_bytes(bytes(4 * (1 + len(KINDS))))
        self.path.chmod(0o666)

    def set(self, share):
        with open(self.path, "r+b") as file:
            file.write(struct.pack("I", share))

    def counts(self):
        return dict(zip(KINDS, struct.unpack(f"{1 + len(KINDS)}I", self.path.read_bytes())[1:]))


@pytest.fixture
def faulty(make):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = make.folder()
    library = folder / "faulty.so"
    subprocess.run([compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", library, HERE / "faulty_calls.c"], check=True)
    control = Control(folder)
    control.env = {"LD_PRELOAD": str(library), "HFFS_FAULTY": str(control.path)}
    return control


@pytest.mark.limit(3600)
def test_system_calls_that_fail(make, shelf, reader, faulty, report, seed, full):
    world = make.world(bytes="hub")
    mount = make.mount(world, "--max-size", str(LIMIT), "--read-deadline", "20", env=faulty.env, config="sync_interval = 0.2\n")
    made = {f"f{number}.bin": shelf.file(SIZES[number % len(SIZES)]) for number in range(24)}
    repo = world.add({name: File(each.source, lfs=True) for name, each in made.items()})
    files = [(mount.file(repo, name), each) for name, each in made.items()]
    listed = shelf.list(files)
    for path, _ in files:
        path.stat()
    worker = mount.worker
    seconds = (600 if full else 5) * (1 if full else slack())
    faulty.set(SHARE)
    running = [reader.begin("loop", how, seed + number, listed, 10) for number, how in enumerate(("sequential", "random", "mmap") * 2)]
    running.append(reader.begin("random", seed, listed, 0, seconds, 3))
    try:
        time.sleep(seconds)
        faulty.set(0)
        met = [each.end(120 * slack()) for each in running]
    finally:
        for each in running:
            each.kill()
    counts = faulty.counts()
    troubles = [trouble for each in met for trouble in each["troubles"]]
    report.note(seed=seed, seconds=round(seconds), faults=counts, passes=sum(each["passes"] for each in met),
                operations=sum(each["ops"] for each in met), errors=sum(each["errors"] + each["sigbus"] for each in met),
                errnos=sorted({errno.errorcode.get(each["errno"], "0") for each in troubles}), wrong=sum(each["wrong"] for each in met),
                quarantined=mount.metric("blobs_quarantined"), lost=mount.metric("blobs_lost"))
    assert all(counts[kind] for kind in KINDS), f"calls that never failed: {counts}"
    assert not any(each["wrong"] for each in met), f"--seed {seed}: wrong bytes: {[each for each in troubles if each['kind'] == 'wrong'][:3]}"
    assert {each["errno"] for each in troubles if each["kind"] == "error"} <= CLEAR, f"--seed {seed}: {troubles[:5]}"
    assert mount.worker == worker, f"--seed {seed}: the worker ended:\n{mount.log()[-3000:]}"
    until = time.monotonic() + 20 * slack()
    for path, each in files:
        while not sound(verdict := reader.once("sequential", path, each)):
            assert time.monotonic() < until, f"--seed {seed}: not right after the last failing call: {verdict['troubles']}"
            time.sleep(0.2)
    assert mount.metric("reads_waiting") == 0
