# SPDX-License-Identifier: Apache-2.0
"""A mount as its users make it: `hffs mount` in the background, `hffs umount` at the end."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HFFS_BUILD_DIR", ROOT / "build"))
HFFS = os.environ.get("HFFS", str(BUILD / "src/cli/hffs"))
VENVS = Path(os.environ.get("HFFS_CLIENT_VENVS", BUILD / "venvs"))
OTHERS = VENVS.parent / "clients"  # what scripts/setup built of the Rust and JavaScript clients


class Mount:
    alive = []
    features = "all"  # the kernel's, that may be used

    def __init__(self, hub, *args):
        self.box = Path(tempfile.mkdtemp(prefix="hffs-clients-"))
        self.point, self.state, home = self.box / "mnt", self.box / "state", self.box / "home"
        for folder in (self.point, home):
            folder.mkdir()
        config = self.box / "config.toml"
        config.write_text(f'fuse_features = "{self.features}"\n')
        self._args = [*args, "--config", config, "--endpoint", hub.endpoint, "--log-file", str(self.box / "log")]
        trust = {key: value for key, value in hub.env().items() if key != "HF_ENDPOINT"}
        self._env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home), **trust}
        self._pid = None

    def start(self):
        Mount.alive.append(self)
        done = self._hffs("mount", self.point, "--state-dir", self.state, *self._args)
        assert done.returncode == 0, f"hffs mount failed ({done.returncode}):\n{done.stderr}{self.log()}"
        status = self.status()
        self._pid = status["pid"]
        assert self.features == "all" or "fuse_features" in status["mode_reason"], status["mode_reason"]
        return self

    def restart(self, *args):
        """Ends, and starts again with further words."""
        done = self._hffs("umount", self.point)
        assert done.returncode == 0 and self._gone(10), f"{done.stderr}\n{self.log()}"
        Mount.alive.remove(self)
        self._args += args
        return self.start()

    def _hffs(self, *words):
        return subprocess.run([HFFS, *map(str, words)], env=self._env, capture_output=True, text=True,
                              timeout=60, stdin=subprocess.DEVNULL, cwd="/")

    def status(self):
        done = self._hffs("status", self.point, "--json")
        assert done.returncode == 0, f"hffs status failed: {done.stderr}"
        return json.loads(done.stdout)

    def log(self):
        file = self.box / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def leave(self):
        """Unmounts; fails if anything is left."""
        done = self._hffs("umount", self.point)
        problem = None
        if done.returncode != 0:
            problem = f"hffs umount failed ({done.returncode}): {done.stderr}\n{self.log()}"
        elif not self._gone(10):
            problem = f"the daemon {self._pid} outlived its mount\n{self.log()}"
        if problem:
            self._abandon()
        Mount.alive.remove(self)
        shutil.rmtree(self.box, ignore_errors=True)
        assert problem is None, problem

    def _gone(self, seconds):
        deadline = time.monotonic() + seconds
        while self._lives():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def _lives(self):
        try:
            # A zombie has ended; whoever took it over may be slow to hear of it.
            return bool(self._pid) and Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def _abandon(self):
        if self._lives():
            os.kill(self._pid, signal.SIGKILL)
        subprocess.run(["umount" if os.geteuid() == 0 else "fusermount3", "-l" if os.geteuid() == 0 else "-uz",
                        str(self.point)], capture_output=True)

    def repo(self, id, type="model"):
        return self.point / f"{type}s--{id.replace('/', '--')}"

    def warm(self, id, revision="main", type="model"):
        """Reads every file of a revision, so that it is here."""
        top = self.repo(id, type)
        commit = (top / "refs" / revision).read_text()
        for folder, _, names in os.walk(top / "snapshots" / commit):
            for name in names:
                (Path(folder) / name).read_bytes()
