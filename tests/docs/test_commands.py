# SPDX-License-Identifier: Apache-2.0
"""What a document says to type is typed, on a machine of its own, from the first line to the last."""
import pytest
from blocks import DOCUMENTS, ROOT, blocks_of

WITH_COMMANDS = [document for document in DOCUMENTS if any(block.language == "sh" for block in blocks_of(document))]


@pytest.mark.parametrize("document", WITH_COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_command_runs(terminal, document):
    blocks = [block for block in blocks_of(document) if block.language == "sh"]
    code, said = terminal.type(blocks)
    assert code == 0, f"ended with {code} in {said.rpartition('@@@ ')[2].splitlines()[0]}:\n{said}"
    assert said.count("@@@ ") == len(blocks), said
