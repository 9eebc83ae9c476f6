#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails if a sentence of docs/SEMANTICS.md has no test in tests/mount or no mutation in tests/mutations, if a test
names no sentence, or if a mutation has gone stale: its old text must stand in its file once, its tests must exist."""
import pathlib
import re
import sys

try:
    import tomllib
except ImportError:  # Python 3.10: the mutations are looked at elsewhere
    tomllib = None

ROOT = pathlib.Path(__file__).resolve().parent.parent
GTEST = re.compile(r"^(?:INSTANTIATE_)?TEST(?:_F|_P|_SUITE_P)?\(\s*(\w+),\s*(\w+)", re.M)


def names_in(name):
    return re.findall(r"(?<![^_])([A-Z]\d+)(?=_|$)", name)


def check_mutations(sentences, functions):
    """What is wrong with tests/mutations."""
    cases = {f"{suite}.{name}" for path in (ROOT / "tests").glob("*/*.cpp")
             for suite, name in GTEST.findall(path.read_text())}
    suites = {case.split(".")[0] for case in cases}
    broken, seen = set(), set()
    for path in sorted((ROOT / "tests/mutations").glob("*.toml")):
        for name, mutation in tomllib.loads(path.read_text()).items():
            where = f"{path.name} [{name}]"
            if name in seen:
                yield f"{where} is there twice"
            seen.add(name)
            broken.update(names_in(name))
            file = ROOT / mutation["file"]
            count = file.read_text().count(mutation["old"]) if file.exists() else 0
            if count != 1:
                yield f"{where}: its old text occurs {count} times in {mutation['file']}"
            if not mutation["tests"]:
                yield f"{where} names no test"
            for test in mutation["tests"]:
                if test.startswith("test_"):
                    known = test.split("[")[0] in functions
                else:
                    suite, _, case = test.partition(":")[2].rpartition("/")[2].partition(".")
                    known = f"{suite}.{case}" in cases or (suite in suites and "*" in case) or "*" in suite
                if not known:
                    yield f"{where} names {test}, which is no test"
    for name in sorted(sentences - broken):
        yield f"SEMANTICS.md {name} has no mutation"
    for name in sorted(broken - sentences):
        yield f"a mutation names {name}, which SEMANTICS.md has not"


def main():
    sentences = set(re.findall(r"^- \*\*([A-Z]\d+)\*\*", (ROOT / "docs/SEMANTICS.md").read_text(), re.M))
    functions = {name: path for folder in ("mount", "clients") for path in (ROOT / "tests" / folder).glob("test_*.py")
                 for name in re.findall(r"^\s*def (test_\w+)", path.read_text(), re.M)}
    tested = {sentence for name, path in functions.items() if path.parent.name == "mount"
              for sentence in re.findall(r"(?<=_)([A-Z]\d+)(?=_|$)", name)}
    errors = [f"SEMANTICS.md {name} has no test" for name in sorted(sentences - tested)]
    errors += [f"a test names {name}, which SEMANTICS.md has not" for name in sorted(tested - sentences)]
    if tomllib:
        errors += check_mutations(sentences, functions)
    for line in errors:
        print(line, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
