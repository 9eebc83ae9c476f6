#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails if a source is too long to be read at a sitting, or a public header does not say what it promises.

Usage: check_shape.py SOURCE_ROOT
"""
import pathlib
import sys

MOST_LINES = {"src/**/*.cpp": 400, "src/**/*.h": 250, "include/hffs/*.h": 185}
SPDX = "SPDX-License-Identifier: Apache-2.0"


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    errors = []
    for pattern, most in MOST_LINES.items():
        for path in sorted(root.glob(pattern)):
            lines = path.read_text().splitlines()
            where = path.relative_to(root)
            if len(lines) > most:
                errors.append(f"{where}: {len(lines)} lines, {most} are allowed: split it by responsibility")
            if not lines or SPDX not in lines[0]:
                errors.append(f"{where}: the first line must be the SPDX line")
            if pattern.startswith("include"):
                opening = [line for line in lines[: lines.index("#pragma once")] if line.startswith("//")]
                if "thread" not in " ".join(opening).lower():
                    errors.append(f"{where}: its opening paragraph does not say which threads may call it")
    for line in errors:
        print(line, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
