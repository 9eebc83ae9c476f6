# SPDX-License-Identifier: Apache-2.0
"""A root of a distribution, in namespaces of its own: what runs in it ends with it. Its network is this machine's."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import lab
import pytest

ARCHIVES = "/var/cache/apt/archives"


class Roots:
    """Clean roots, kept as archives, with the packages that were installed into them once."""

    def __init__(self, folder):
        self.folder = folder
        if shutil.which("mmdebstrap") is None:
            pytest.skip("needs mmdebstrap")
        (folder / "packages").mkdir(parents=True, exist_ok=True)

    @staticmethod
    def mirror():
        """Where this machine has Debian from; None: from nowhere."""
        for path in sorted(Path("/etc/apt").glob("sources.list*")) + sorted(Path("/etc/apt/sources.list.d").glob("*")):
            if path.is_file():
                for url in re.findall(r"^(?:deb\s+(?:\[.*\]\s+)?|URIs:\s*)(\S+/debian/?)(?:\s|$)", path.read_text(), re.M):
                    return url
        return None

    def get(self, release):
        path = self.folder / f"{release}.tar"
        if not path.exists() and self.mirror() is None:
            pytest.skip("apt knows no archive of Debian here")
        if not path.exists():
            made = path.with_suffix(".part.tar")
            done = subprocess.run(["mmdebstrap", "--variant=minbase", "--skip=cleanup/apt/lists", "--quiet", release, made,
                                   self.mirror()], capture_output=True, text=True, check=False, timeout=600)
            if done.returncode != 0:
                made.unlink(missing_ok=True)
                pytest.skip(f"no root of {release} can be had from {self.mirror()}: {done.stderr.strip()[-300:]}")
            made.rename(path)
        return path


class Machine:
    def __init__(self, root, archive, roots):
        self.root = root
        root.mkdir()
        subprocess.run(["tar", "-xf", archive, "-C", root], check=True)
        # It need not survive a loss of power.
        (root / "etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n")
        (root / "usr/sbin/policy-rc.d").unlink(missing_ok=True)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf", follow_symlinks=True)
        # The first process takes in whatever is left alone, as init does.
        script = f"""set -e
            mount --bind {root} {root}
            mount --rbind /dev {root}/dev
            mount -t proc proc {root}/proc
            mount -t tmpfs -o mode=755 run {root}/run
            mount --bind {roots.folder}/packages {root}{ARCHIVES}
            mkdir {root}/.old
            cd {root}
            pivot_root . .old
            exec chroot . bash -c 'umount -l /.old; rmdir /.old; echo ready; trap : CHLD; while read -rt 86400 _; do :; done'"""
        self.holder = subprocess.Popen(["unshare", "-m", "-p", "-f", "--kill-child", "--propagation", "private", "bash", "-c", script],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            self.end()
            pytest.skip("no root can be entered here")
        self.pid = int(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()[0])

    def command(self, *words, user=None):
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "-r", "-w"]
        if user is not None:
            enter += ["-S", str(user), "-G", str(user)]
        return [*enter, "--", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND=noninteractive", "LANG=C.UTF-8", *map(str, words)]

    def run(self, *words, user=None, timeout=120):
        return lab.Run(subprocess.run(self.command(*words, user=user), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                      timeout=timeout, check=False, cwd="/"))

    def does(self, *words, **options):
        done = self.run(*words, **options)
        assert done.code == 0, f"{words}: {done}"
        return done.out

    def path(self, path):
        return Path(f"/proc/{self.pid}/root{path}")

    def put(self, package):
        """Where the machine finds it."""
        shutil.copy(package, self.path("/root"))
        return f"/root/{package.name}"

    def install(self, package):
        """What else it needs comes from the mirror, the first time."""
        where = self.put(package)
        words = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Sandbox::User=root",
                 "-o", "APT::Keep-Downloaded-Packages=true", "install", "-y", "--no-install-recommends", where]
        done = self.run(*words, timeout=240)
        if done.code != 0 and ("Failed to fetch" in done.err or "Unable to fetch" in done.err):
            self.run("apt-get", "-qq", "update")
            done = self.run(*words, timeout=240)
            if "Unable to fetch" in done.err:
                pytest.skip(f"what the package needs cannot be had: {done.err[-300:]}")
        assert done.code == 0, done
        return done

    def is_mounted(self, point="/mnt/hf"):
        return any(line.split()[1:3] == [point, lab.FS_TYPE] for line in self.path("/proc/1/mounts").read_text().splitlines())

    def end(self):
        self.holder.stdin.close()
        if self.holder.poll() is None:
            self.holder.kill()
        self.holder.wait(30)
        self.holder.stdout.close()
        lab.eventually(lambda: not lab.processes_with(str(self.root)), 30, "the end of the machine")
