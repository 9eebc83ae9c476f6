# SPDX-License-Identifier: Apache-2.0
"""soak.py, as a test: seconds of it, or an hour."""
import pytest
from campaign import slack
from soak import Soak


@pytest.mark.limit(2 * 3600)
def test_soak(report, seed, full):
    seconds = 3600 if full else 12 * slack()
    problems = Soak(seconds, seed, report, kills_until=0.25 if full else 1, pace=1 if full else 4).run()
    assert not problems, f"--seed {seed}:\n" + "\n".join(problems)[:6000]
    assert report.figures["kills"] and report.figures["fault_hits"] and report.figures["evicted"], "it shows nothing"
