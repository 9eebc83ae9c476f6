# SPDX-License-Identifier: Apache-2.0
"""What a document says to type is typed, on a machine of its own, from the first line to the last."""
import re
import subprocess

import pytest
from blocks import DOCUMENTS, ROOT, blocks_of
from terminal import HFFS

# Commands that documents may speak of before they are there.
TO_COME = {"prefetch", "env", "run", "doctor", "explain", "top", "completion"}
WITH_COMMANDS = [document for document in DOCUMENTS if any(block.language == "sh" for block in blocks_of(document))]


def commands_of_hffs():
    said = subprocess.run([HFFS, "--help"], capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"^  ([a-z]+)  +\S", said.partition("\nExamples:")[0], re.M))
    assert {"mount", "export", "logout"} <= found, said
    return found


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_command_runs(terminal, document):
    there = commands_of_hffs()
    blocks = [block for block in blocks_of(document) if block.language == "sh" and set(block.needs) <= there]
    code, said = terminal.type(blocks)
    assert code == 0, f"ended with {code} in {said.rpartition('@@@ ')[2].splitlines()[0]}:\n{said}"
    assert said.count("@@@ ") == len(blocks), said


def test_what_blocks_need_is_there_or_will_be():
    there = commands_of_hffs()
    for document in DOCUMENTS:
        for block in blocks_of(document):
            assert set(block.needs) <= there | TO_COME, f"{block.place}: there is no command {set(block.needs) - there - TO_COME}"
