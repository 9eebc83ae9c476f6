# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of documents. See README.md."""
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

pytest.register_assert_rewrite("terminal")
import terminal as terminals  # noqa: E402

REASON = terminals.why_not()


def pytest_terminal_summary(terminalreporter):
    if REASON:
        terminalreporter.section("NO COMMAND OF A DOCUMENT WAS RUN", sep="!", red=True)
        terminalreporter.line(REASON)


@pytest.fixture
def terminal():
    if REASON:
        pytest.skip(f"NO MACHINE: {REASON}")
    made = terminals.Terminal()
    yield made
    made.end()
