# SPDX-License-Identifier: Apache-2.0
"""The fenced blocks of the documents that users read."""
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
             ROOT / "examples/README.md"]
# What is run is `sh`; what cannot be (a session's output, trees, pictures) says so.
LANGUAGES = {"sh", "text", "console", "toml", "ini", "yaml", "python", "json", "c", "cpp"}


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    language: str
    text: str

    @property
    def place(self):
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks_of(document):
    lines = document.read_text().splitlines()
    found, begin = [], None
    for number, line in enumerate(lines, 1):
        fence = re.match(r"\s*```(\w*)", line)
        if begin is None:
            if fence:
                begin, language = number, fence[1]
        elif fence:
            found.append(Block(document, begin, language, "\n".join(lines[begin:number - 1])))
            begin = None
    assert begin is None, f"{document}:{begin}: the block does not end"
    return found
