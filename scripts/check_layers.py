#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails if a module includes a public header or a library header that its layer must not know.

Usage: check_layers.py SOURCE_ROOT [STAMP]

The tables below are the arrows of docs/ARCHITECTURE.md; the linker's view of them is in the
meson.build of each module.
"""
import pathlib
import re
import sys

BASE = {"error", "ids", "bytes", "guarded", "clock", "posix", "telemetry", "record", "timer",
        "flight", "globs", "json_text", "recent", "tally"}
# module: the public headers (beside those of base) that its sources may include.
MAY_INCLUDE = {
    "base": set(),
    "hub": {"hub", "credentials", "probe"},
    "store": {"store", "blob", "bounds", "scrub", "content_hash", "hand_over", "state_check"},
    "folder": {"folder", "folder_origin", "layout", "naming", "lending", "hub", "content_hash"},
    "access": {"access", "wallet", "policy", "budget", "hub", "credentials"},
    "transfer": {"transfer", "hub", "store"},
    "catalog": {"catalog", "trees", "pins", "frozen_refs", "versions", "hub", "store", "access"},
    "carry": {"carry", "trees", "content_hash", "store", "folder", "layout", "naming"},
    "prefetch": {"prefetch", "prefetch_queue", "trees", "budget", "hub", "store", "transfer", "catalog"},
    "fs": {"filesystem", "activity", "recorder", "versions", "store", "access", "policy", "budget", "transfer", "catalog", "prefetch", "keeper", "handover"},
    "keeper": {"keeper", "handover"},
    "daemon": {"daemon", "hub", "store", "bounds", "scrub", "access", "wallet", "policy", "budget", "transfer", "catalog",
               "pins", "frozen_refs", "versions", "prefetch", "prefetch_queue", "filesystem", "activity", "recorder", "keeper",
               "carry", "trees", "folder_origin", "lending", "hand_over"},
    "adopt": {"adopt"},
    "cli": {"daemon", "keeper", "carry", "adopt", "lending", "probe", "state_check"},
}
# library header (regex): the only files that may include it.
ONLY_IN = {
    r"curl/.*": "src/hub/",
    r"lmdb\.h": "src/store/",
    r"openssl/.*": "src/store/",
    r"fuse.*\.h": "src/fs/",
    r"spdlog/.*": "src/base/",
    r"CLI/.*": "src/cli/",
    r"toml\+\+/.*|toml\.hpp": "src/daemon/",
    r"microhttpd\.h": "src/daemon/",
}
# public header: the public headers that it may include, by the same arrows.
HEADER_OWNER = {"hub": "hub", "credentials": "hub", "probe": "hub", "store": "store", "blob": "store", "bounds": "store", "scrub": "store",
                "content_hash": "store", "hand_over": "store", "state_check": "store", "folder": "folder", "folder_origin": "folder", "layout": "folder", "naming": "folder", "lending": "folder",
                "access": "access", "wallet": "access", "policy": "access", "budget": "access", "transfer": "transfer",
                "catalog": "catalog", "trees": "catalog", "pins": "catalog", "frozen_refs": "catalog", "versions": "catalog",
                "carry": "carry", "prefetch": "prefetch", "prefetch_queue": "prefetch", "filesystem": "fs", "activity": "fs", "recorder": "fs", "keeper": "keeper", "handover": "keeper",
                "adopt": "adopt", "daemon": "daemon"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    errors = []

    def check(path: pathlib.Path, module: str) -> None:
        where = path.relative_to(root).as_posix()
        for name in INCLUDE.findall(path.read_text()):
            if name.startswith("hffs/"):
                header = name[5:].removesuffix(".h")
                if header not in BASE | MAY_INCLUDE[module]:
                    errors.append(f"{where}: module '{module}' must not include {name}")
            elif "../" in name or (root / "src" / name).exists():
                errors.append(f"{where}: reaches into another module: {name}")
            for pattern, only in ONLY_IN.items():
                if re.fullmatch(pattern, name) and not where.startswith(only):
                    errors.append(f"{where}: {name} may be included below {only} only")

    for path in sorted((root / "src").glob("*/*")):
        if path.suffix in {".h", ".cpp"}:
            check(path, path.parent.name)
    for path in sorted((root / "include/hffs").glob("*.h")):
        check(path, HEADER_OWNER.get(path.stem, "base"))
    for line in errors:
        print(line, file=sys.stderr)
    if not errors and len(sys.argv) > 2:
        pathlib.Path(sys.argv[2]).write_text("ok\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
