# SPDX-License-Identifier: Apache-2.0
"""Terminal: a machine for one document, and somebody who types what it says.

The machine is this one under a layer of its own (overlay): what is written goes with it, and so does each process
(pid namespace). Its network is its own, too. Whoever types is an ordinary user; `sudo` is stand_ins.py's."""
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from blocks import ROOT
from machine_init import USERS
from stand_ins import STAND_INS

HFFS = os.path.abspath(os.environ.get("HFFS", ROOT / "build/src/cli/hffs"))
PYTHON = os.path.realpath("/usr/bin/python3")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
YOU = USERS["you"]
TREE = "/home/you/hffs"  # what a reader has cloned
HERE_THERE = "/srv/tree"  # this tree, where all may pass
NO_LAYER = "no-layer"
PLACES = {"scripts/packaging/mount.hffs": "usr/sbin/mount.hffs", "scripts/packaging/mounts": "usr/lib/hffs/mounts",
          "scripts/packaging/hffs.sh": "etc/profile.d/hffs.sh", "scripts/packaging/config.toml": "etc/hffs/config.toml",
          "scripts/packaging/hffs.default": "etc/default/hffs",
          "scripts/packaging/hffs.service": "usr/lib/systemd/system/hffs.service"}
TRAIN = """import os, pathlib
top = pathlib.Path(os.environ["HF_HUB_CACHE"]) / "models--openai--whisper-tiny"
print((top / "snapshots" / (top / "refs/main").read_text() / "config.json").read_text())
"""
# What a document leaves to its reader to fill in.
PLACEHOLDERS = {r"\bORG/NAME\b": "openai/whisper-tiny", r"@COMMIT\b": "@{head}"}


class Terminal:
    def __init__(self):
        self.box = Path(tempfile.mkdtemp(prefix="hffs-docs-"))
        self.upper, self.root = self.box / "upper", self.box / "root"
        for each in (self.upper, self.box / "work", self.root):
            each.mkdir()
        self.box.chmod(0o755)
        self._furnish()
        # Mounts are shared, as systemd has it.
        script = f"""set -e
            layers=lowerdir=/,upperdir={self.upper},workdir={self.box}/work
            # Nothing of it is kept, so nothing need be synced (Linux 5.10).
            mount -t overlay overlay -o $layers,volatile {self.root} 2>/dev/null || mount -t overlay overlay -o $layers {self.root} ||
              {{ echo {NO_LAYER}; exit 1; }}
            mount --rbind /dev {self.root}/dev
            mount -t proc proc {self.root}/proc
            mount -t tmpfs -o mode=755 run {self.root}/run
            mknod -m 666 {self.root}/run/fuse c 10 229
            mount --bind {self.root}/run/fuse {self.root}/dev/fuse
            touch {self.root}/usr/bin/hffs
            mount --bind {HFFS} {self.root}/usr/bin/hffs
            mount --bind {ROOT} {self.root}{HERE_THERE}
            mkdir {self.root}/.old
            cd {self.root}
            pivot_root . .old
            cd /
            umount -l /.old
            mount --bind /mnt /mnt
            mount --make-rshared /
            exec env -i PATH={PATH} LANG=C.UTF-8 {PYTHON} {HERE_THERE}/tests/docs/machine_init.py"""
        self.log = open(self.box / "log", "w+", encoding="utf-8")
        self.holder = subprocess.Popen(["unshare", "-m", "-p", "-n", "-f", "--kill-child", "--propagation", "private", "bash", "-c",
                                        script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.head = self.holder.stdout.readline().strip()
        if not self.head or self.head == NO_LAYER:
            said = self._said()
            self.end()
            # As where the root is such a layer itself, in a container.
            (pytest.skip if self.head else pytest.fail)(f"NO MACHINE: it does not start: {said}")
        self.pid = int(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()[0])

    def _said(self):
        self.log.seek(0)
        return self.log.read()

    def _furnish(self):
        """What lies on the machine before the document is read."""
        def put(path, text, mode=0o644):
            (self.upper / path).parent.mkdir(parents=True, exist_ok=True)
            (self.upper / path).write_text(text)
            (self.upper / path).chmod(mode)
        for here, there in PLACES.items():
            put(there, (ROOT / here).read_text(), (ROOT / here).stat().st_mode & 0o777)
        for name in ("passwd", "group"):
            lines = Path(f"/etc/{name}").read_text()
            for user, uid in USERS.items():
                lines += f"{user}:x:{uid}:{uid}::/home/{user}:/bin/bash\n" if name == "passwd" else f"{user}:x:{uid}:\n"
            put(f"etc/{name}", lines)
        put("etc/subuid", "you:200000:65536\n")
        for place in ("mnt/hf", "var/lib/hffs", "media/disk", "nfs/hf", "scratch", HERE_THERE[1:], *(f"home/{user}" for user in USERS)):
            (self.upper / place).mkdir(parents=True, exist_ok=True)
        for place in ("media/disk", "scratch"):
            (self.upper / place).chmod(0o777)
        for name in STAND_INS:
            # First of all that PATH may hold: the user's, and those that scripts of root set for themselves.
            for place in ("usr/local/sbin", "usr/sbin") if "/" not in name else (TREE[1:],):
                put(f"{place}/{name}", f"#!/bin/sh\nexec {PYTHON} {HERE_THERE}/tests/docs/stand_ins.py {name} \"$@\"\n", 0o755)
        self._copy_tree()
        put(f"{TREE[1:]}/train.py", TRAIN)
        subprocess.run(["chown", "-R", f"{YOU}:{YOU}", str(self.upper / "home/you")], check=True)

    def _copy_tree(self):
        def not_copied(folder, names):
            return [name for name in names if name.startswith(("build", ".git", "__pycache__", "fuse-"))]
        for source in ROOT.iterdir():
            target = self.upper / TREE[1:] / source.name
            if source.name.startswith(("build", ".")) or source.name == "subprojects":
                continue
            if source.is_dir():
                # Stand-ins of scripts are there already, and stay.
                shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=lambda folder, names: [
                    *not_copied(folder, names), *(name for name in names if Path(folder).parent == ROOT and
                                                  f"{Path(folder).name}/{name}" in STAND_INS)])
            else:
                shutil.copy(source, target)

    def type(self, blocks, limit=75):
        """Runs blocks one after the other in one shell; answers its exit code, what it said, and where it stood."""
        words = ["set -eu -o pipefail"]
        for block in blocks:
            text = block.text
            for pattern, value in PLACEHOLDERS.items():
                text = re.sub(pattern, value.format(head=self.head), text)
            words += [f"echo; echo '@@@ {block.place}'", text]
        # A layer in use is not written from below: it goes in by the front door.
        Path(f"/proc/{self.pid}/root/home/you/.typed").write_text("\n".join(words) + "\n")
        return self.run("exec bash ~/.typed", limit=limit)

    def run(self, command, user=YOU, limit=75):
        """One command in a shell, at a terminal that answers what is asked for a token. (exit code, words)"""
        home = "/root" if user == 0 else "/home/you"
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-r", "-S", str(user), "-G", str(user), "-w", "--", "env", "-i",
                 f"PATH={PATH}", f"HOME={home}", "LANG=C.UTF-8", "USER=you", "TERM=dumb", "bash", "-c", f"cd {TREE}; {command}"]
        ours, theirs = pty.openpty()
        process = subprocess.Popen(enter, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
                                   start_new_session=True)
        os.close(theirs)
        said, deadline = "", time.monotonic() + limit
        out = process.stdout.fileno()
        os.set_blocking(out, False)
        try:
            # What it started in the background may keep the pipe.
            while process.poll() is None or select.select([out], [], [], 0)[0]:
                if time.monotonic() > deadline:
                    process.kill()
                    said += f"\n(more than {limit} s)"
                    break
                if not select.select([out], [], [], 0.3)[0]:
                    # The terminal is emptied before it is read: a word that comes too soon is lost.
                    if said.endswith("tokens): "):
                        os.write(ours, b"hf_you\n")
                    continue
                piece = os.read(out, 1 << 16)
                if not piece:
                    process.wait(10)
                    break
                said += piece.decode(errors="replace")
        finally:
            os.close(ours)
            process.stdout.close()
        return process.wait(10), said

    def end(self):
        self.holder.kill()
        self.holder.wait(30)
        self.holder.stdout.close()
        self.log.close()
        shutil.rmtree(self.box, ignore_errors=True)
        assert not self.box.exists(), f"{self.box} is left"


def why_not():
    """Why no such machine can be made here, or None."""
    if not Path(HFFS).exists():
        return f"{HFFS} is not there: scripts/setup builds it, or name it in HFFS"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is not there, or may not be opened by this user"
    if os.geteuid() != 0:
        return "it needs root: a machine of its own for each document"
    for tool in ("unshare", "nsenter", "ip", "nginx", "openssl"):
        if shutil.which(tool) is None:
            return f"it needs {tool}"
    return None
