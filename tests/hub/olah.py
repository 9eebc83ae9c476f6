# SPDX-License-Identifier: Apache-2.0
"""olah, a mirror that others wrote, as an outside witness. Tested with 0.5.4 (`pip install olah==0.5.4`).

Two ways to run it:

- `Olah(venv, folder=DIR)`: a local mirror, offline. DIR/models/ORG/NAME are git repositories with LFS
  objects in .git/lfs/objects; `make_repo` makes them.
- `Olah(venv, upstream=hub.endpoint)`: a caching mirror in front of a Hub, such as this one (plain HTTP: it
  believes in no authority of ours, so give that Hub `nginx=False` or `origin_tls=False`).

A local mirror answers otherwise than a Hub in much: only `…/revision/REV` tells about a repository; a missing
branch and, on GET, a missing file are 401 RepoNotFound; a tree is a 307 to the same with a slash; ETags have no
quotes; ranges are ignored, and bytes come without a length; there are no auth-check and no xet.
"""
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from .content import is_lfs, pointer_text, remove_tree, sha256_of
from .nginx import free_port

VERSION = "0.5.4"
PLURALS = {"model": "models", "dataset": "datasets", "space": "spaces"}


def make_repo(folder, type, id, files, message="initial commit"):
    """A new commit of a git repository at folder/TYPEs/ID with just `files` (bytes or str); its id."""
    place = Path(folder) / PLURALS[type] / id
    place.mkdir(parents=True, exist_ok=True)
    if not (place / ".git").exists():
        _git(place, "init", "-q", "-b", "main")
    else:
        _git(place, "rm", "-q", "-r", "--ignore-unmatch", ".")
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if is_lfs(name, len(data)):
            sha256 = sha256_of(path)
            kept = place / ".git" / "lfs" / "objects" / sha256[:2] / sha256[2:4] / sha256
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.rename(kept)
            path.write_bytes(pointer_text(sha256, len(data)))
    _git(place, "add", "-A", "-f")
    _git(place, "commit", "-q", "--allow-empty", "-m", message)
    return _git(place, "rev-parse", "HEAD").strip()


def _git(place, *words):
    quiet = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
                          "GIT_AUTHOR_NAME": "hub", "GIT_AUTHOR_EMAIL": "hub@example.org",
                          "GIT_COMMITTER_NAME": "hub", "GIT_COMMITTER_EMAIL": "hub@example.org"}
    done = subprocess.run(["git", "-C", place, *words], env=quiet, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"git {words[0]}: {done.stderr}")
    return done.stdout


class Olah:
    """`venv`: where olah is installed; by default the environment's HFFS_OLAH_VENV."""

    def __init__(self, venv=None, *, folder=None, upstream=None):
        venv = venv or os.environ.get("HFFS_OLAH_VENV")
        if not venv or not (Path(venv) / "bin" / "olah-cli").exists():
            raise FileNotFoundError(f"no olah-cli in {venv}; set HFFS_OLAH_VENV")
        if (folder is None) == (upstream is None):
            raise ValueError("a folder or an upstream")
        self._program = Path(venv) / "bin" / "olah-cli"
        self._folder, self._upstream = folder, upstream
        self._process = None
        self.endpoint = ""

    def env(self):
        """What a client's environment needs to use this mirror and no other."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
                "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}

    def requests(self):
        """METHOD /target STATUS of every request so far. Its log does not tell who sent it."""
        return re.findall(r'"([A-Z]+ \S+) HTTP/[\d.]+" (\d+)', (self._root / "output").read_text())

    def __enter__(self):
        self._root = Path(tempfile.mkdtemp(prefix="hffs-olah-"))
        try:
            for _ in range(5):
                if self._start(free_port("127.0.0.1")):
                    return self
            raise RuntimeError(f"olah does not start: {(self._root / 'output').read_text()[-2000:]}")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        self._stop()
        remove_tree(self._root)

    def _start(self, port):
        upstream = urlsplit(self._upstream or "http://127.0.0.1:1")
        (self._root / "config.toml").write_text(
            f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{self._root}/cache"\n'
            f'hf-scheme = "{upstream.scheme}"\nhf-netloc = "{upstream.netloc}"\nhf-lfs-netloc = "{upstream.netloc}"\n'
            f'mirror-netloc = "127.0.0.1:{port}"\nmirror-lfs-netloc = "127.0.0.1:{port}"\nmetadata-cache-ttl = 0\n'
            + (f'mirrors-path = ["{Path(self._folder).resolve()}"]\n' if self._folder else "")
            + f'[accessibility]\noffline = {"false" if self._upstream else "true"}\n')
        with open(self._root / "output", "ab") as output:
            self._process = subprocess.Popen(
                [self._program, "--config", self._root / "config.toml", "--log-path", self._root / "logs"],
                cwd=self._root, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True)
        self.endpoint = f"http://127.0.0.1:{port}"
        return self._answers(30)

    def _answers(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.endpoint, timeout=2).close()
                return True
            except urllib.error.HTTPError:
                return True
            except OSError:
                time.sleep(0.05)
        self._stop()
        return False

    def _stop(self):
        if not self._process:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
