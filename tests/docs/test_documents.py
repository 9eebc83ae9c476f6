# SPDX-License-Identifier: Apache-2.0
"""The documents themselves: links lead somewhere, nothing is left out of the index, tables are whole."""
import json
import re
import subprocess

import pytest
from blocks import DOCUMENTS, LANGUAGES, ROOT, blocks_of
from terminal import HFFS

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
IDS = {"ids": lambda path: str(path.relative_to(ROOT))}


def anchors_of(path):
    """As the web shows headings."""
    return {re.sub(r"[^\w\- ]", "", line.lstrip("# ")).lower().replace(" ", "-")
            for line in path.read_text().splitlines() if line.startswith("#")}


@pytest.mark.parametrize("document", DOCUMENTS, **IDS)
def test_links_lead_somewhere(document):
    for link in LINK.findall(document.read_text()):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document}: {link}"
        assert not anchor or anchor in anchors_of(target), f"{document}: {link}"


def test_the_index_has_every_document():
    index = ROOT / "docs/README.md"
    named = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    missing = {path for path in [*DOCUMENTS, *ROOT.glob("tests/*/README.md")] if path != index and path.resolve() not in named}
    assert not missing
    assert "docs/README.md" in LINK.findall((ROOT / "README.md").read_text())


@pytest.mark.parametrize("document", DOCUMENTS, **IDS)
def test_each_block_says_what_it_is(document):
    for block in blocks_of(document):
        assert block.language in LANGUAGES, f"{block.place}: '{block.language}'; output is text or console"
        # What looks like something to type is not hidden from the tests.
        if block.language in ("text", "console"):
            assert not re.search(r"^(sudo |hffs |docker |kubectl )", block.text, re.M), block.place


@pytest.mark.parametrize("document", sorted((ROOT / "docs/guides").glob("*.md")), **IDS)
def test_guides_are_short(document):
    assert len(document.read_text().splitlines()) <= 140


def test_the_table_of_metrics_is_whole():
    table = re.findall(r'^    \{"(\w+)", "', (ROOT / "src/base/metrics.cpp").read_text(), re.M)
    text = (ROOT / "docs/guides/operations.md").read_text().partition("## Metrics")[2].partition("\n## ")[0]
    told = [name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert len(table) > 10 and sorted(told) == sorted(table)


def test_the_lines_of_status_are_those_that_it_has():
    source = (ROOT / "src/cli/status.cpp").read_text()
    rows = set(re.findall(r'row\("([a-z ]+)"', source))
    text = (ROOT / "docs/guides/operations.md").read_text().partition("hffs status` says")[2].partition("## Metrics")[0]
    told = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert told == rows - {"mounted at", "state"}


# Of those who work on hffs, whose scripts have flags of their own.
DEVELOPERS = {"CONTRIBUTING.md", "ARCHITECTURE.md", "BENCHMARKS.md", "TESTING.md"}


def test_flags_that_documents_name_are_there():
    """Words such as `--verify strict` in the text, which no test types."""
    table = json.loads(subprocess.run([HFFS, "commands", "--json"], capture_output=True, text=True, check=True).stdout)
    known = {name for command in table for option in command["options"] for name in option["names"]} | {"--help"}
    # Of other programs.
    others = {"--download-dir", "--extra-model-paths-config", "--make-rshared", "--user", "--userns", "--clients", "--model"}
    for document in DOCUMENTS:
        if document.name in DEVELOPERS:
            continue
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S)
        unknown = set(re.findall(r"(?<=[` ])--[a-z][a-z-]+", text)) - known - others
        assert not unknown, f"{document}: {unknown}"
