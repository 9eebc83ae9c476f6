# SPDX-License-Identifier: Apache-2.0
"""Thousands of faults of the connection itself, drawn by lot, under readers that judge each byte."""
import time

import pytest
from campaign import slack, sound
from hub import File
from lab import MIB
from toxics import KINDS, Toxics

SIZES = (5 * MIB + 3, MIB, 2 * MIB + 77, 600_000, 3 * MIB, 40_000)
FILES, READERS = 30, 18
LIMIT = 40 * MIB  # of about 60 that are read: everything comes again and again


def soak(make, shelf, reader, report, seed, kinds, wanted, *args):
    world = make.world(bytes="hub")
    mount = make.mount(world, "--max-size", str(LIMIT), *args)
    made = {f"f{number}.bin": shelf.file(SIZES[number % len(SIZES)]) for number in range(FILES)}
    repo = world.add({name: File(each.source, lfs=True) for name, each in made.items()})
    files = [(mount.file(repo, name), each) for name, each in made.items()]
    listed = shelf.list(files)
    for path, _ in files:
        path.stat()
    began = time.monotonic()
    with Toxics(world.hub._bytes.port, seed, kinds) as toxics:
        world.hub.settings.bytes_link = toxics.origin
        running = [reader.begin("loop", ("sequential", "random", "mmap")[number % 3], seed + number, listed) for number in range(READERS)]
        try:
            while toxics.total() < wanted:
                time.sleep(0.2)
                report.add("faults", round(time.monotonic() - began, 1), toxics.total())
                report.add("reads waiting", round(time.monotonic() - began, 1), mount.metric("reads_waiting"))
                assert time.monotonic() - began < (60 + wanted) * slack(), "the faults do not come: nobody reads any more"
            met = [each.end(300) for each in running]
        finally:
            for each in running:
                each.kill()
        counts = toxics.counts()
        world.hub.settings.bytes_link = ""
        # The kept addresses lead to the relay still, for as long as it is there.
        world.hub.expire_urls()
    report.note(seed=seed, faults=sum(counts.values()), by_kind=counts, seconds=round(time.monotonic() - began),
                passes=sum(each["passes"] for each in met), mib=round(sum(each["bytes"] for each in met) / MIB),
                slowest=max(each["slowest"] for each in met), errors=sum(each["errors"] + each["sigbus"] for each in met),
                wrong=sum(each["wrong"] for each in met), quarantined=mount.metric("blobs_quarantined"))
    assert not any(each["wrong"] or each["short"] for each in met), \
        f"--seed {seed}: wrong bytes: {[each['troubles'] for each in met if each['wrong'] or each['short']][:3]}"
    assert all(each["passes"] for each in met), f"--seed {seed}: a reader read no file to its end"
    assert mount.metric("blobs_evicted") > 0, "everything was kept: it shows nothing"
    return mount, files, met


def heals(mount, files, reader, seed, seconds):
    """Each file right again, without a restart."""
    until = time.monotonic() + seconds * slack()
    for path, each in files:
        while not sound(verdict := reader.once("sequential", path, each)):
            assert time.monotonic() < until, f"--seed {seed}: not right {seconds} s after the last fault: {verdict['troubles']}"
            time.sleep(0.2)


@pytest.mark.limit(3600)
def test_fault_soak(make, shelf, reader, report, seed, full):
    """Nothing of it is seen: right bytes, and no error."""
    kinds = [each for each in KINDS if each != "flip"]
    mount, files, met = soak(make, shelf, reader, report, seed, kinds, 9000 if full else 200)
    assert all(sound(each) for each in met), f"--seed {seed}: {[each['troubles'] for each in met if not sound(each)][:3]}"
    heals(mount, files, reader, seed, 5)


@pytest.mark.limit(3600)
def test_fault_soak_with_flipped_bits(make, shelf, reader, report, seed, full):
    """V4: whose bytes were wrong again and again is EIO, for a minute; a wrong byte is never seen."""
    mount, files, met = soak(make, shelf, reader, report, seed, KINDS, 3000 if full else 100, "--verify", "strict")
    errors = {trouble["errno"] for each in met for trouble in each["troubles"]}
    assert errors <= {5}, f"--seed {seed}: {errors}"
    if full:
        assert mount.metric("blobs_quarantined") > 0, "no bit reached a file: it shows nothing"
        heals(mount, files, reader, seed, 75)
