# SPDX-License-Identifier: Apache-2.0
"""Runs an unmodified client in its own environment and hears what it did and said."""
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "scripts"
STEP = "\n=== step "  # scripts/* print it to stderr where a step begins


class Outcome:
    """What one run of a script said: results by step, and what it wrote to stderr in each."""

    def __init__(self, done, cache):
        self.code, self.stderr, self.cache = done.returncode, done.stderr, Path(cache)
        self.results = {}
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                said = json.loads(line)
                self.results[said["step"]] = said
        self._said = {}
        for part in ("\n" + done.stderr).split(STEP)[1:]:
            name, _, text = part.partition("\n")
            self._said[name] = text

    def __getitem__(self, step):
        assert step in self.results, f"no result of step {step}; exit {self.code}:\n{self.stderr}"
        return self.results[step]

    def relative(self, step):
        """The path that the client was given, below its cache."""
        path = self[step].get("path")
        assert path, f"{step}: {self[step]}\n{self.said(step)}"
        assert Path(path).is_relative_to(self.cache), f"{path} is not in {self.cache}"
        return str(Path(path).relative_to(self.cache))

    def said(self, step):
        """stderr of a step without what may differ: places, times, speeds, the steps of progress bars."""
        return plain(self._said.get(step, ""), self.cache)


def plain(text, cache):
    text = text.replace(str(cache), "CACHE")
    text = re.sub(r"/tmp/[^\s'\"]*", "PATH", text)
    # A bar is drawn as often as its program likes: what it is about is what counts.
    text = re.sub(r"(?m)^(.*?):?\s+\d+%\|.*$", r"\1: BAR", text)
    text = re.sub(r"(?m)^(.*?):? \d+ \w+ \[\d+:\d\d, .*/s\]$", r"\1: BAR", text)
    # "huggingface_hub version X at time Y", memory addresses, request ids, pids and ports
    text = re.sub(r"0x[0-9a-f]+", "0xADDRESS", text)
    text = re.sub(r"(?i)request id: [\w;=-]+", "REQUEST", text)
    text = re.sub(r"127\.0\.0\.1:\d+|port=\d+", "HUB", text)
    # Downloads run side by side: the order of their lines is chance.
    return "\n".join(sorted({line.rstrip() for line in text.splitlines() if line.strip()}))


def by_clients(requests):
    """Those that others than hffs sent."""
    return [each for each in requests if not each.user_agent.startswith("hffs")]


class Client:
    def __init__(self, hub, name, command, folder):
        self.hub, self.name, self.command, self._folder = hub, name, command, folder

    def run(self, script, request, cache, env=None, offline=False, timeout=120):
        """Runs scripts/SCRIPT with `request` as JSON; a home of its own each time."""
        with tempfile.TemporaryDirectory(prefix="home-", dir=self._folder) as home:
            done = subprocess.run([*self.command, str(SCRIPTS / script), json.dumps(request)],
                                  env=self._environment(home, env or {}, offline), capture_output=True, text=True,
                                  timeout=timeout, stdin=subprocess.DEVNULL, cwd=home)
        outcome = Outcome(done, cache)
        assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return outcome

    def _environment(self, home, extra, offline):
        made = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home, "HF_HOME": f"{home}/hf",
                "LANG": "C.UTF-8", "TMPDIR": home, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "2",
                **self.hub.env(), **extra}
        if offline:
            made["HF_HUB_OFFLINE"] = "1"
        return made
