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
NEEDS = re.compile(r"<!-- needs: ([a-z ]+) -->")


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    language: str
    text: str
    needs: tuple  # commands of hffs without which it is not run

    @property
    def place(self):
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks_of(document):
    lines = document.read_text().splitlines()
    found, begin, before = [], None, ""
    for number, line in enumerate(lines, 1):
        fence = re.match(r"\s*```(\w*)", line)
        if begin is None:
            if fence:
                needs = NEEDS.fullmatch(before.strip())
                begin, language, needs = number, fence[1], tuple(needs[1].split()) if needs else ()
            before = line
        elif fence:
            found.append(Block(document, begin, language, "\n".join(lines[begin:number - 1]), needs))
            begin, before = None, ""
    assert begin is None, f"{document}:{begin}: the block does not end"
    return found
