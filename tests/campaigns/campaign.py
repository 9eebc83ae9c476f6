# SPDX-License-Identifier: Apache-2.0
"""What campaigns share: the reader that judges each byte, files that are a function, reports and plots."""
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLOTTER = ROOT / "build/venvs/bench/bin/python"


def slack():
    """By how much times may be longer than on a machine that has nothing else to do: who shares two cores with forty others
    waits for them. 1 to 10."""
    return min(10.0, max(1.0, os.getloadavg()[0] / (2 * os.cpu_count())))


@dataclass(frozen=True)
class Made:
    """A file whose bytes follow from `seed` (pattern.h)."""
    seed: int
    size: int
    source: Path


class Shelf:
    """Files to be put on a hub. No two of them have the same bytes."""

    def __init__(self, reader, folder, first=1):
        self._reader, self.folder, self._next = reader, folder, first

    def file(self, size):
        made = Made(self._next, size, self.folder / f"made-{self._next}")
        self._next += 1
        with open(made.source, "wb") as out:
            subprocess.run([self._reader.path, "write", str(made.seed), str(size)], stdout=out, check=True)
        return made

    def list(self, pairs):
        """For the reader: (path, Made) of each."""
        path = self.folder / f"list-{self._next}"
        self._next += 1
        path.write_text("".join(f"{where} {made.seed} {made.size}\n" for where, made in pairs))
        return path


class Reading:
    """A reader that runs. `end()` tells what it met."""

    def __init__(self, words, user=None, env=None):
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=user, group=user,
                                        extra_groups=None if user is None else [], cwd="/", env=env)

    def end(self, timeout=120):
        out, _ = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0 and out, f"the reader ended with {self.process.returncode}"
        return json.loads(out)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=30)


class Reader:
    """reader.cpp, compiled."""

    def __init__(self, path):
        self.path = str(path)

    @classmethod
    def build(cls, folder):
        compiler = shutil.which("g++") or shutil.which("c++")
        if compiler is None:
            raise FileNotFoundError("needs a C++ compiler")
        folder.chmod(0o755)  # other users run it, too
        subprocess.run([compiler, "-O2", "-std=c++20", "-Wall", "-o", folder / "reader", HERE / "reader.cpp", "-pthread"],
                       check=True)
        return cls(folder / "reader")

    def once(self, how, path, made, part=(), timeout=120):
        """One pass to its end or its first trouble."""
        return Reading([self.path, "once", how, str(path), str(made.seed), str(made.size), *map(str, part)]).end(timeout)

    def begin(self, *words, user=None):
        return Reading([self.path, *map(str, words)], user)


def sound(verdict):
    """Whether a reader met nothing but right bytes."""
    return not (verdict["errors"] or verdict["wrong"] or verdict["short"] or verdict["sigbus"])


class Report:
    """Figures of one campaign: DIR/NAME.json, and a picture of each series. Without a folder they are only printed."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name.replace("test_", "", 1)
        self.figures, self.series = {}, {}

    def note(self, **figures):
        self.figures.update(figures)

    def add(self, series, x, y):
        self.series.setdefault(series, []).append((x, y))

    def write(self):
        print(json.dumps(self.figures))
        if not self.folder:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.name}.json"
        path.write_text(json.dumps({"campaign": self.name, **self.figures, "series": self.series}, indent=1))
        if self.series and PLOTTER.exists():
            subprocess.run([PLOTTER, HERE / "plots.py", path], check=False, timeout=120)
