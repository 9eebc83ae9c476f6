#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails if a sentence of docs/SEMANTICS.md has no test in tests/mount, or a test names no sentence."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sentences = set(re.findall(r"^- \*\*([A-Z]\d+)\*\*", (ROOT / "docs/SEMANTICS.md").read_text(), re.M))
tested = set()
for path in (ROOT / "tests/mount").glob("test_*.py"):
    for name in re.findall(r"^\s*def (test_\w+)", path.read_text(), re.M):
        tested.update(re.findall(r"(?<=_)([A-Z]\d+)(?=_|$)", name))
for name in sorted(sentences - tested):
    print(f"SEMANTICS.md {name} has no test", file=sys.stderr)
for name in sorted(tested - sentences):
    print(f"a test names {name}, which SEMANTICS.md has not", file=sys.stderr)
sys.exit(1 if sentences != tested else 0)
