# SPDX-License-Identifier: Apache-2.0
"""fsx, in the overlay: files that a user writes below .locks and beside blobs (W2, W3), under workers that are killed (K9)."""
import json
import os
import signal
import threading
import time

import pytest
from lab import ALICE


def write_at_random(folder, beside, seed, most, seconds):
    """Keeps a copy of each file in memory, and compares. Returns how often it did what."""
    turns, began = random.Random(seed), time.monotonic()
    files, done, serial = {}, {}, 0

    def differs(path, at, got, want):
        raise RuntimeError(f"wrong bytes: {path} at {at}: {len(got)} bytes, {len(want)} are wanted; after {sum(done.values())} operations")

    def check(path, data):
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != len(data):
                raise RuntimeError(f"{path} has {os.fstat(file.fileno()).st_size} bytes, {len(data)} are wanted")
            got = file.read()
            if got != bytes(data):
                differs(path, next(i for i in range(len(data)) if got[i] != data[i]), got, data)
    while sum(done.values()) < most and time.monotonic() - began < seconds:
        op = turns.choice(["create", "write", "write", "write", "append", "read", "read", "truncate", "grow", "rename", "replace", "unlink",
                           "map", "map write", "sync", "whole", "list"])
        if len(files) < 3:
            op = "create"
        path = turns.choice(list(files)) if files else None
        data = files.get(path)
        at = turns.randrange(len(data) + 1) if data is not None else 0
        some = turns.randbytes(turns.choice([1, 10, 4096, turns.randrange(1, 70_000)]))
        if op == "create":
            if len(files) > 20:
                continue
            serial += 1
            path = os.path.join(turns.choice([folder, beside]), f"tmp{serial}-{seed}")
            with open(path, "wb") as file:
                file.write(some)
            files[path] = bytearray(some)
        elif op in ("write", "append"):
            at = len(data) if op == "append" else at
            if at + len(some) > 1 << 20:
                continue
            with open(path, "r+b", buffering=0) as file:
                if os.pwrite(file.fileno(), some, at) != len(some):
                    raise RuntimeError(f"a short write to {path}")
            data[at:at + len(some)] = some
        elif op == "read":
            with open(path, "rb", buffering=0) as file:
                got = os.pread(file.fileno(), len(some), at)
            if got != bytes(data[at:at + len(some)]):
                differs(path, at, got, data[at:at + len(some)])
        elif op == "truncate":
            os.truncate(path, at)
            del data[at:]
        elif op == "grow":
            size = min(1 << 20, len(data) + turns.randrange(9000))
            os.truncate(path, size)
            data.extend(bytes(size - len(data)))
        elif op in ("rename", "replace"):
            other = turns.choice(list(files))
            new = other if op == "replace" else os.path.join(os.path.dirname(path), f"tmp-new{sum(done.values())}-{seed}")
            if os.path.dirname(new) != os.path.dirname(path) or new == path:
                continue
            os.rename(path, new)
            files[new] = files.pop(path)
        elif op == "unlink":
            with open(path, "rb") as file:
                os.unlink(path)
                if file.read() != bytes(files.pop(path)):
                    raise RuntimeError(f"{path} was removed while it was open, and reads otherwise")
        elif op in ("map", "map write") and len(data) > 0:
            with open(path, "r+b") as file:
                try:
                    memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | (mmap.PROT_WRITE if op == "map write" else 0),
                                       flags=mmap.MAP_SHARED)
                except OSError as error:
                    if error.errno != errno.ENODEV:
                        raise
                    op = f"{op}: ENODEV"
                else:
                    with memory:
                        if op == "map write":
                            some = some[:len(data) - at]
                            memory[at:at + len(some)] = some
                            memory.flush()
                            data[at:at + len(some)] = some
                        if memory[:] != bytes(data):
                            differs(path, 0, memory[:], data)
        elif op == "sync":
            with open(path, "r+b") as file:
                os.fsync(file.fileno())
        elif op == "whole":
            check(path, data)
        elif op == "list":
            for each in (folder, beside):
                mine = {name for name in os.listdir(each) if name.endswith(f"-{seed}")}
                if each == folder and mine != {os.path.basename(path) for path in files if os.path.dirname(path) == each}:
                    raise RuntimeError(f"{each} lists {sorted(mine)}")
        done[op] = done.get(op, 0) + 1
    for path, data in files.items():
        check(path, data)
    return done


@pytest.mark.limit(3600)
@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
def test_writer(make, report, seed, full, killed):
    root = os.geteuid() == 0
    world = make.world()
    mount = make.mount(world, *(["--allow-other"] if root else []))
    repo = world.add()
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    ops, seconds = (100_000, 1200) if full else (1500, 10)
    children = []
    for number, user in enumerate([None, ALICE, None] if root else [None, None]):
        # .locks and blobs have one name for everybody, and other files for each user.
        folder = mount.point / ".locks" / f"models--acme--w{number}"
        made = make.child(make_folders, str(folder), user=user)
        made.result()
        children.append(make.child(write_at_random, str(folder), str(mount.repo(repo.id) / "blobs"), seed + number, ops, seconds, user=user))
    over, kills = threading.Event(), [0]

    def kill():
        while killed and not over.wait(1.5):
            done = mount.hffs("status", "--state-dir", mount.state, "--json")
            if done.code == 0:
                os.kill(json.loads(done.out)["worker"]["pid"], signal.SIGKILL)
                kills[0] += 1
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    began = time.monotonic()
    try:
        met = [each.result(seconds + 300) for each in children]
    finally:
        over.set()
        thread.join(30)
    total = {}
    for each in met:
        for op, times in each.items():
            total[op] = total.get(op, 0) + times
    report.note(seed=seed, operations=sum(total.values()), by_op=total, kills=kills[0], seconds=round(time.monotonic() - began))
    assert sum(total.values()) > 100 and (kills[0] or not killed)


def make_folders(path):
    os.makedirs(path)
