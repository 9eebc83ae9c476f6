# SPDX-License-Identifier: Apache-2.0
"""The machine: what it is, a world of its own to run in, its page cache, its link, and what a process costs."""
import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

INSIDE = "HFFS_BENCH_INSIDE"
ON_NO_DISK = {"tmpfs", "ramfs", "overlay", "fuse"}


def run_in_own_world(work):
    """Runs this program again with network, mounts and processes of its own: its loopback can be shaped, nothing
    reaches another host, and when it ends, by force too, the kernel takes every mount and process with it."""
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        sys.exit("bench: needs namespaces of its own (CAP_SYS_ADMIN): give the container --privileged")
    inside = subprocess.Popen([*words, sys.executable, *sys.argv], env={**os.environ, INSIDE: str(work)})
    # Ctrl-C reaches it too, and it has figures to write.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: inside.kill())
    code = inside.wait()
    return code if code >= 0 else 128 - code


def missing_programs():
    wanted = {"cc": "g++", "c++": "g++", "aria2c": "aria2", "curl": "curl", "tc": "iproute2", "ip": "iproute2",
              "nginx": "nginx-light", "openssl": "openssl"}
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    os.environ["PATH"] = path
    return sorted({package for name, package in wanted.items() if not shutil.which(name, path=path)})


def file_system_of(path):
    """Type and source of what `path` lies on."""
    words = ["findmnt", "-n", "-o", "FSTYPE,SOURCE", "--target", str(path)]
    return tuple(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())


def describe(root, hffs, work):
    """What the figures belong to."""
    def said(*words):
        done = subprocess.run(words, capture_output=True, text=True, cwd=root)
        return done.stdout.strip() if done.returncode == 0 else ""
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) >> 20
    changed = said("git", "status", "--porcelain", "--untracked-files=no")
    return {"date": time.strftime("%Y-%m-%d %H:%M"), "cpu": cpu, "cores": os.cpu_count(), "memory_gib": memory,
            "kernel": platform.release(), "file_system": file_system_of(work)[0],
            "commit": said("git", "rev-parse", "--short", "HEAD") + (" and changes" if changed else ""),
            "hffs": said(str(hffs), "version"),
            "binary": hashlib.sha256(Path(hffs).read_bytes()).hexdigest()[:12], "load_before": os.getloadavg()[0]}


def drop_caches(keep=()):
    """No page of any file is in memory, but for those of `keep`: the origin stands for another machine, whose
    bytes do not come from our disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
    for path in keep:
        with open(path, "rb", buffering=0) as file:
            while os.sendfile(_null(), file.fileno(), None, 64 << 20):
                pass


def compact_memory():
    """Free memory lies together again."""
    Path("/proc/sys/vm/compact_memory").write_text("1")


def _null(made=[]):
    if not made:
        made.append(os.open("/dev/null", os.O_WRONLY))
    return made[0]


@contextlib.contextmanager
def shaped(bits):
    """Loopback as a link of `bits` per second, whichever way."""
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", f"{bits}bit",
                    "burst", "256kb", "latency", "20ms"], check=True)
    try:
        yield
    finally:
        subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], check=True)


def anonymous_memory(pid):
    """Bytes of memory that no file stands behind."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    return 0


def cpu_seconds(pid):
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class PeakMemory:
    """with PeakMemory(pid) as memory: … memory.peak: the most anonymous memory that was seen, in bytes."""

    def __init__(self, pid):
        self._pid, self.peak = pid, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self._over.is_set():
            self.peak = max(self.peak, anonymous_memory(self._pid))
            self._over.wait(0.01)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
