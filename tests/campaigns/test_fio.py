# SPDX-License-Identifier: Apache-2.0
"""fio's own patterns, verified by fio: another's program judges the bytes, in its ways of reading."""
import random
import shutil
import subprocess

import pytest
from hub import File
from lab import MIB, drop_caches

JOBS = {"psync": ["--ioengine=psync"], "mmap": ["--ioengine=mmap"], "direct": ["--ioengine=psync", "--direct=1"],
        "libaio": ["--ioengine=libaio", "--direct=1", "--iodepth=16"], "vectored": ["--ioengine=pvsync"],
        "uring": ["--ioengine=io_uring", "--iodepth=16"]}
BLOCK = 65536


def fio(*words):
    return subprocess.run(["fio", "--name=verify", f"--bs={BLOCK}", "--verify=crc32c", "--verify_state_save=0", "--verify_fatal=1",
                           "--allow_file_create=0", "--output-format=terse", *map(str, words)], capture_output=True, text=True, cwd="/",
                          timeout=600, check=False)


@pytest.fixture
def patterned(make):
    if shutil.which("fio") is None:
        pytest.skip("needs fio")
    folder = make.folder()

    def write(name, size, seed):
        path = folder / name
        path.write_bytes(b"")
        done = fio(f"--filename={path}", "--rw=write", f"--size={size}", f"--randseed={seed}", "--do_verify=0", "--allow_file_create=1")
        assert done.returncode == 0 and path.stat().st_size == size, done.stderr
        return path
    return write


@pytest.mark.limit(3600)
def test_fio_verifies(make, patterned, report, seed, full):
    size = (256 if full else 4) * MIB
    world = make.world(bytes="hub")
    mount = make.mount(world, "--max-size", str(2 * size + 8 * MIB))
    passed = {}
    jobs = list(JOBS.items())
    if not full:
        jobs = random.Random(seed).sample(jobs, 3)
    for number, (name, words) in enumerate(jobs):
        for way in ("read", "randread") if full else (("read", "randread")[number % 2],):
            source = patterned(f"{name}-{way}", size, seed + number)
            repo = world.add({"model.bin": File(source, lfs=True)})
            path = mount.file(repo, "model.bin")
            for round in ("cold", "warm"):
                done = fio(f"--filename={path}", f"--rw={way}", f"--size={size}", "--readonly", *words)
                if "io_uring" in words[0] and "not supported" in done.stderr + done.stdout:
                    break
                assert done.returncode == 0, f"--seed {seed}: {name} {way} {round}: {done.stderr}{done.stdout[-500:]}"
                passed[f"{name} {way}"] = passed.get(f"{name} {way}", 0) + 1
                if full:
                    drop_caches()
    report.note(seed=seed, mib=size // MIB, passes=passed)
    assert len(passed) >= 2
    # And it can fail: the same file with one byte wrong.
    source = patterned("wrong", 2 * MIB, seed)
    data = bytearray(source.read_bytes())
    data[MIB + 777] ^= 1
    source.write_bytes(data)
    repo = world.add({"model.bin": File(source, lfs=True)})
    done = fio(f"--filename={mount.file(repo, 'model.bin')}", "--rw=read", f"--size={2 * MIB}", "--readonly")
    assert done.returncode != 0 and "verify" in done.stderr, "fio does not look"
