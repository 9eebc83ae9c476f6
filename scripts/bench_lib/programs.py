# SPDX-License-Identifier: Apache-2.0
"""The programs of a run: the reader and the reference file systems in C, compiled at the start; aria2c and curl; and
Python clients in their pinned environments."""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .harness import Skip

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = Path(os.environ.get("HFFS_BUILD_DIR", ROOT / "build"))
VENVS = Path(os.environ.get("HFFS_CLIENT_VENVS", BUILD / "venvs"))


class Programs:
    def __init__(self, folder):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def compiled(self, name, sources, words=(), compiler="cc"):
        target = self._folder / name
        if not target.exists():
            done = subprocess.run([compiler, "-O2", "-pthread", "-o", target, *sources, *words],
                                  capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"{name} does not compile: {done.stderr[-2000:]}")
        return target

    def reader(self):
        return self.compiled("reader", [HERE / "reader.c", HERE / "reader_lists.c"])

    def cached_fs(self):
        return self.compiled("cached_fs", [HERE / "cached_fs.c"], libfuse())

    def passthrough_hp(self):
        """libfuse's own example of a fast file system."""
        found = sorted(ROOT.glob("subprojects/fuse-*/example/passthrough_hp.cc"))
        if not found:
            raise Skip("libfuse's source is not here: scripts/setup brings it where the system's is too old")
        return self.compiled("passthrough_hp", [found[-1]], ["-std=c++17", *libfuse()], "c++")


def libfuse():
    """How to compile against the libfuse that hffs itself is linked with."""
    built = sorted(BUILD.glob("subprojects/fuse-*/lib/libfuse3.a"))
    if built:
        name = built[-1].parents[1].name
        return [f"-I{ROOT}/subprojects/{name}/include", f"-I{built[-1].parents[1]}", str(built[-1]), "-ldl", "-lrt"]
    done = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3 >= 3.17"], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"no libfuse in {BUILD}, and none of the system's is new enough")
    return done.stdout.split()


@contextlib.contextmanager
def mounted(words, point):
    """A reference file system that stays in the foreground."""
    Path(point).mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen([*map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not os.path.ismount(point):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{words[0]} does not mount")
            time.sleep(0.01)
        yield Path(point)
    finally:
        subprocess.run(["umount", "-l", str(point)], capture_output=True)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def timed(words, env=None, timeout=900, input=None):
    """Seconds on the clock and on the processors of one command, and what it said."""
    began = time.monotonic()
    before = os.times()
    done = subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=timeout, input=input,
                          stdin=None if input is not None else subprocess.DEVNULL)
    seconds, after = time.monotonic() - began, os.times()
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {(done.stderr or done.stdout)[-1000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": seconds, "cpu": cpu, "out": done.stdout}


def aria2(url, folder, connections=16, authority=None, sha256=None):
    """One file by aria2c, which keeps what it fetched in `folder` until the figures are taken."""
    shutil.rmtree(folder, ignore_errors=True)
    words = ["aria2c", "--no-conf", "--quiet", "--dir", folder, "--out", "file", "--file-allocation=none",
             f"--max-connection-per-server={connections}", f"--split={connections}", "--min-split-size=1M",
             "--disable-ipv6", "--auto-save-interval=0"]
    words += [f"--ca-certificate={authority}"] if authority else []
    words += [f"--checksum=sha-256={sha256}"] if sha256 else []
    try:
        figures = timed([*words, url])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"seconds": figures["seconds"], "cpu": figures["cpu"]}


def curl(requests, authority=None):
    """[(URL, range or None)] one after the other on kept connections: the seconds of each."""
    parts = []
    for url, range in requests:
        lines = [f'url = "{url}"', 'output = "/dev/null"', "silent", "fail", "location",
                 'write-out = "%{time_total}\\n"']
        lines += [f'range = "{range}"'] if range else []
        lines += [f'cacert = "{authority}"'] if authority else []
        parts.append("\n".join(lines))
    figures = timed(["curl", "--disable", "--noproxy", "*", "--config", "-"], input="\nnext\n".join(parts) + "\n")
    return {"seconds": figures["seconds"], "each": [float(line) for line in figures["out"].split()]}


class Client:
    """client.py in the Python of a pinned environment: asks and answers are lines of JSON."""

    def __init__(self, venv, env):
        python = VENVS / venv / "bin/python"
        if not python.exists():
            raise Skip(f"no Python environment {venv}: scripts/setup --client {venv}")
        self._words = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen([python, HERE / "client.py"], stdin=subprocess.PIPE, text=True,
                                         stdout=subprocess.PIPE, stderr=self._words, env=env, cwd="/")

    def ask(self, what, **words):
        self._process.stdin.write(json.dumps({"do": what, **words}, default=str) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):  # anything else is the client library's own talk
                return json.loads(line)
        self._words.seek(0)
        raise RuntimeError(f"{what} failed: {self._words.read()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()
        self._words.close()
