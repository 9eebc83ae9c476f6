# SPDX-License-Identifier: Apache-2.0
"""A store that knows a great deal."""
import os
import pty
import select
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from . import machine
from .harness import MIB, Case, at_most, measure


@measure("index", "index")
def index(stage):
    """10,000 repositories with 1,000,000 files in the index: mounting takes at most a second, looking up a known path
    100 µs (median, the kernel's way to the daemon included), listing a snapshot of 100,000 files a second, and the
    daemon's anonymous memory stays below 256 MiB."""
    world = stage.world()
    count, files, many = stage.size(10_000, 200), 100, stage.size(100_000, 5_000)
    content = b"the same everywhere"
    repos = [world.add({f"f{number:03}.txt": content for number in range(files)}, id=f"acme/repo-{place:05}")
             for place in range(count)]
    large = world.add({f"f{number:06}.txt": content for number in range(many)}, id="acme/large")
    with stage.mount(world) as mount:
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda repo: os.lstat(mount.file(repo, "f000.txt")), repos):
                pass
        listed = stage.read("list", mount.file(large, "f000000.txt").parent)
        assert listed["count"] == many + 2, listed
        stage.wait_durable(mount)
        known = mount.status()["catalog"]
        about = f"{known['repos']:,} repositories, {known['files']:,} files"

        def mount_again():
            mount.umount()
            machine.drop_caches()
            began = time.monotonic()
            mount.remount()
            return {"seconds": time.monotonic() - began, "memory": machine.anonymous_memory(mount.worker)}
        yield Case(f"mounting, {about}", "value", at_most(1, "s"), cold=True, ours=mount_again)
        yield Case(f"listing {many:,} files", "value", at_most(1, "s"), cold=True,
                   ours=lambda: mount_again() | list_large(stage, mount, large))
        yield Case("looking up known paths", "value", at_most(100, "µs"), of="median", scale=1e6, cold=True,
                   ours=lambda: look_up(stage, mount, repos))
        yield Case("anonymous memory", "value", at_most(256, "MiB"), of="memory", scale=1 / MIB, cold=True,
                   ours=lambda: {"memory": machine.anonymous_memory(mount.worker)})


def look_up(stage, mount, repos):
    """Names in one folder each, which the kernel has forgotten: one question to the daemon for each."""
    with open("/proc/sys/vm/drop_caches", "w") as control:
        control.write("3")
    medians = []
    for repo in repos[::max(1, len(repos) // 20)]:
        folder = mount.file(repo, "f000.txt").parent
        medians.append(stage.read("stat", folder, "\n".join(repo.etags)))
    return {"median": sorted(each["median"] for each in medians)[len(medians) // 2],
            "p99": max(each["p99"] for each in medians)}


def list_large(stage, mount, repo):
    """By a daemon that has just begun, and from a disk whose pages nobody holds."""
    return stage.read("list", mount.file(repo, "f000000.txt").parent)


@measure("commands", "index")
def commands(stage):
    """Beside 10,000 repositories in the index: each command that only asks answers within 50 ms (median, its start and end
    included); a `hffs top` that looks each second costs at most 2 % of a core, its daemon's part included, and so does the
    status page that a browser shows (the browser's own work apart)."""
    world = stage.world()
    count = stage.size(10_000, 200)
    repos = [world.add({"config.json": b"{}", "model.bin": b"the same everywhere"}, id=f"acme/repo-{place:05}")
             for place in range(count)]
    from hub.nginx import free_port  # in tests, which the stage has put on the path

    port = free_port("127.0.0.1")
    with stage.mount(world, None, None, "--status-page", f"127.0.0.1:{port}") as mount:
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda repo: os.lstat(mount.file(repo, "config.json")), repos):
                pass
        mount.file(repos[0], "model.bin").read_bytes()
        stage.wait_durable(mount)
        where = ["--state-dir", mount.state]
        for words in (["status"], ["ls", repos[7].name], ["path", repos[0].name], ["explain", repos[0].name], ["pins"],
                      ["top", "--json"], ["gc", "--dry-run"], ["complete-repos", "acme/repo-0001"], ["--help"]):
            yield Case(f"hffs {words[0]}, {count:,} repositories", "value", at_most(50, "ms"), scale=1e3, cold=True,
                       ours=lambda words=words: timed(lambda: mount.hffs(*words, *(where if words != ["--help"] else []))))
        yield Case(f"hffs ls, the first of {count:,} repositories", "value", at_most(50, "ms"), scale=1e3, cold=True,
                   ours=lambda: first_line(mount, "ls", *where))
        yield Case("hffs top, a look each second", "value", at_most(2, "% of a core"), of="share", scale=100, cold=True,
                   ours=lambda: top_share(mount))
        yield Case("the status page, open in a browser", "value", at_most(2, "% of a core"), of="share", scale=100, cold=True,
                   ours=lambda: page_share(mount, port))


def timed(action):
    began = time.monotonic()
    done = action()
    seconds = time.monotonic() - began
    assert done.code == 0, done
    return {"seconds": seconds}


def first_line(mount, *words):
    """Until something of it stands there. Of the rest nobody waits to read the beginning."""
    began = time.monotonic()
    with subprocess.Popen([os.environ["HFFS"], *map(str, words)], env=mount.env, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline()
        seconds = time.monotonic() - began
        assert len(process.stdout.readlines()) >= 100
    return {"seconds": seconds}


def processor_time(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def top_share(mount, seconds=5):
    """On a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        hffs = os.environ["HFFS"]
        os.execve(hffs, [hffs, "top", "--state-dir", str(mount.state)], {"TERM": "xterm", "PATH": "/usr/bin:/bin"})
    before, began = processor_time(mount.worker), time.monotonic()
    while time.monotonic() - began < seconds:
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 65536)
    spent = processor_time(mount.worker) - before + processor_time(pid)
    os.write(terminal, b"q")
    os.close(terminal)
    os.waitpid(pid, 0)
    return {"share": spent / (time.monotonic() - began)}


def page_share(mount, port, seconds=10):
    """Where there is no browser its questions are asked without one."""
    from browser import Browser, why_not  # in tests/mount

    if why_not():
        return share_while(mount, seconds, lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/api/activity").read())
    with Browser() as browser:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.until("return document.body.innerText.includes('acme/repo-')")
        return share_while(mount, seconds, lambda: None)


def share_while(mount, seconds, each_second):
    before, began = processor_time(mount.worker), time.monotonic()
    while time.monotonic() - began < seconds:
        each_second()
        time.sleep(1)
    return {"share": (processor_time(mount.worker) - before) / (time.monotonic() - began)}
