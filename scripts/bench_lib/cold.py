# SPDX-License-Identifier: Apache-2.0
"""Reading what is not here. A figure ends at the reader's last byte; when all was durable stands beside it."""
import contextlib

from . import machine
from .harness import GIB, MIB, Case, at_least, at_most, in_words, measure
from .machine import PeakMemory

GIGABIT = 1_000_000_000


def big_repo(stage, tls=True):
    world = stage.world(tls)
    return world, stage.add(world, {"model.safetensors": stage.random_file(stage.big, seed="cold")})


def beside_aria2(stage, name, bar, world, repo, endpoint=None):
    return Case(name, "speed", at_least(bar), cold=True, beside="aria2c, 16 connections",
                ours=lambda: stage.cold(world, repo, "model.safetensors", endpoint=endpoint),
                reference=lambda: stage.aria2(world, repo, "model.safetensors", endpoint))


@measure("cold", "cold")
def cold(stage):
    """A 2 GiB file read in order for the first time, from TLS on loopback: at least 0.85 of the speed of aria2c with
    16 connections into the same file system."""
    world, repo = big_repo(stage)
    yield beside_aria2(stage, f"{in_words(stage.big)} in order, TLS, loopback", 0.85, world, repo)


@measure("cold-link", "cold")
def cold_link(stage):
    """The same on a link of 1 Gbit/s: at least 0.97; and at a round trip time of 30 ms: at least 0.90."""
    world, repo = big_repo(stage)
    with machine.shaped(GIGABIT):
        yield beside_aria2(stage, "1 Gbit/s", 0.97, world, repo)
    with stage.distant(world, 0.03) as endpoint:
        yield beside_aria2(stage, "30 ms round trip", 0.90, world, repo, endpoint)


@measure("interleaved", "cold")
def interleaved(stage):
    """Eight processes that map one cold file and touch every eighth stripe of it: at least 0.8 of the speed of one
    that reads it in order. And 64 threads that touch pages anywhere in it are done within a minute."""
    world, repo = big_repo(stage)
    name = "model.safetensors"
    yield Case("8 processes, stripes of a map", "speed", at_least(0.8), cold=True, beside="hffs, one reader in order",
               ours=lambda: stage.cold(world, repo, name, "map", procs=8, stripe=stage.size(16, 2) * MIB),
               reference=lambda: stage.cold(world, repo, name))
    yield Case("64 threads, pages anywhere", "value", at_most(60, "s"), cold=True,
               ours=lambda: stage.cold(world, repo, name, "touch", procs=64, count=stage.size(100, 10), timeout=120))


@measure("economy", "cold")
def economy(stage):
    """Reading a whole file fetches at most 1.01 of its size."""
    world = stage.world()
    size = stage.size(512 * MIB, 64 * MIB) + 4321
    repo = stage.add(world, {"model.safetensors": stage.random_file(size, seed="economy")})
    for name, mode in (("in order", "seq"), ("by map", "map")):
        yield Case(f"whole file, {name}", "value", at_most(1.01, "of its size"), of="fetched", scale=1 / size,
                   cold=True, ours=lambda mode=mode: stage.cold(world, repo, "model.safetensors", mode))


@measure("memory", "cold")
def memory(stage):
    """The daemon's anonymous memory while 2 GiB are read in order: at most 64 MiB. While 32 readers read in a 100 GiB
    file: at most 192 MiB, and they are together as fast as one alone."""
    world, repo = big_repo(stage)
    yield Case(f"{in_words(stage.big)}, one reader", "value", at_most(64, "MiB"), of="memory", scale=1 / MIB, cold=True,
               ours=lambda: watched(stage, world, repo, "model.safetensors"))
    each = stage.size(64, 4) * MIB
    # Nobody reads all of it, so its hash is never asked for, and 100 GiB need not be hashed.
    made = stage.huge_file(100 * GIB)
    repo = stage.add(world, {"huge.bin": made})

    def read(readers):
        return watched(stage, world, repo, "huge.bin", procs=readers, each=each * 32 // readers)
    yield Case("32 readers in 100 GiB", "value", at_most(192, "MiB"), of="memory", scale=1 / MIB, cold=True,
               ours=lambda: read(32))
    yield Case("32 readers in 100 GiB, speed", "speed", at_least(1), cold=True, beside="hffs, one reader",
               ours=lambda: read(32), reference=lambda: read(1))


def watched(stage, world, repo, path, **words):
    """A cold read, and the most anonymous memory that the daemon had."""
    stage.fresh(repo)
    with stage.mount(world) as mount, PeakMemory(mount.worker) as memory:
        figures = stage.read("seq", mount.file(repo, path), **words)
        stage.wait_durable(mount)
        figures["memory"] = memory.peak
    return figures


@measure("processor", "cold")
def processor(stage):
    """The daemon's processor time for a cold GiB, until it is verified: at most 1.5 of aria2c's that checks the same
    SHA-256, from plain HTTP and from TLS."""
    for tls in (False, True):
        world, repo = big_repo(stage, tls)
        digest = repo.etags["model.safetensors"]
        per_gib = GIB / stage.big
        yield Case(f"{in_words(stage.big)}, {'TLS' if tls else 'plain HTTP'}", "time", at_most(1.5), of="cpu", cold=True,
                   beside="aria2c --checksum=sha-256",
                   ours=lambda: spent(stage, world, repo, per_gib),
                   reference=lambda: per_gib_of(stage.aria2(world, repo, "model.safetensors", sha256=digest), per_gib))


def per_gib_of(figures, per_gib):
    return figures | {"cpu": figures["cpu"] * per_gib}


def spent(stage, world, repo, per_gib):
    stage.fresh(repo)
    with stage.mount(world) as mount:
        before = machine.cpu_seconds(mount.worker)
        figures = stage.read("seq", mount.file(repo, "model.safetensors"))
        stage.wait_verified(mount)
        with contextlib.suppress(FileNotFoundError):
            figures["cpu"] = (machine.cpu_seconds(mount.worker) - before) * per_gib
    return figures
