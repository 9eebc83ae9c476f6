# SPDX-License-Identifier: Apache-2.0
"""The benchmark's own tests: that its reader reads all that it says, and that its figures are what they are called."""
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench_lib import harness, report  # noqa: E402
from bench_lib.harness import Case, Measure, Skip, at_least, at_most  # noqa: E402
from bench_lib.laziness import gguf_header  # noqa: E402
from bench_lib.programs import Programs  # noqa: E402

SIZE = 3 * (1 << 20) + 4096


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return Programs(tmp_path_factory.mktemp("programs")).reader()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


def said(reader, *words, input=None):
    return json.loads(subprocess.run([reader, *map(str, words)], input=input, capture_output=True, text=True,
                                     check=True).stdout)


@pytest.mark.parametrize("words, wanted", [
    (("seq",), SIZE), (("seq", "piece=4096"), SIZE), (("seq", "procs=3"), 3 * SIZE), (("seq", "forget=1"), SIZE),
    (("seq", "procs=2", "each=1048576"), 2 << 20), (("map",), SIZE), (("map", "procs=2"), 2 * SIZE),
    (("map", "procs=2", "stripe=65536"), SIZE), (("random", "count=50", "procs=2"), 100 * 4096),
    (("touch", "procs=4", "count=10"), 40 * 4096), (("settle",), SIZE)], ids=str)
def test_the_reader_reads_what_it_is_asked_for(reader, file, words, wanted):
    figures = said(reader, words[0], file, *words[1:])
    assert figures["bytes"] == wanted and figures["seconds"] > 0


def test_the_reader_s_lists(reader, file):
    ranges = said(reader, "ranges", file, input=f"5 100 10\n{SIZE - 7} 7 4096\n")
    assert len(ranges["each"]) == 2 and max(ranges["each"]) <= ranges["seconds"]
    assert said(reader, "files", "rounds=2", input=f"{file}\n{file}\n")["bytes"] == 4 * SIZE
    assert said(reader, "stat", file.parent, input="file\n")["count"] == 1
    assert said(reader, "list", file.parent)["count"] == 3  # with . and ..


@pytest.mark.parametrize("words", [("seq", "/nowhere"), ("seq",), ("seq", "/dev/null", "wrong=1"), ("what", "/dev/null")])
def test_the_reader_fails_loudly(reader, words):
    done = subprocess.run([reader, *words], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("reader: ") and not done.stdout


class Stage:
    def rounds(self, case):
        return 3

    def clean(self):
        pass


def results_of(run):
    return harness.run_measure(Measure("name", "group", "about", run), Stage(), lambda text: None)


def test_pairs_are_taken_in_turn_and_compared_one_by_one():
    order = []

    def side(name, values):
        values = iter(values)
        return lambda: order.append(name) or {"seconds": next(values), "lost": 0}

    def cases(stage):
        yield Case("speed", "speed", at_least(0.9), side("a", [1, 2, 1]), side("b", [1, 1, 4]), cold=True)
        yield Case("time", "time", at_most(1), side("a", [1, 2, 3]), side("b", [1, 1, 1]), cold=True)
        yield Case("over", "over", at_most(1), side("a", [1, 2, 9]), side("b", [1, 1, 1]), cold=True)
        yield Case("value", "value", at_most(2), side("a", [1, 2, 9]), cold=True, also={"lost": at_least(1)})
    speed, time, over, value = results_of(cases)
    assert order[:6] == ["a", "b"] * 3
    assert (speed["min"], speed["median"], speed["max"], speed["holds"]) == (0.5, 1, 4, True)
    assert (time["median"], time["holds"]) == (2, False)
    assert (over["median"], over["holds"]) == (1, True)
    assert (value["median"], value["holds"]) == (2, False), "a further figure that is short of its bar counts too"


def test_a_measure_that_cannot_run_costs_only_itself():
    def skips(stage):
        yield Case("first", "value", at_most(2), lambda: {"seconds": 1}, cold=True)
        raise Skip("nothing to compare with")

    def breaks(stage):
        raise OSError("broken")
        yield
    first, note = results_of(skips)
    assert first["holds"] and note["note"] == "skipped: nothing to compare with" and not note["failed"]
    assert results_of(breaks)[0]["failed"]


def test_the_table_and_its_markdown():
    def cases(stage):
        yield Case("a case", "speed", at_least(0.9), lambda: {"seconds": 1, "durable": 2}, lambda: {"seconds": 2},
                   beside="another", cold=True)
        raise Skip("the rest")
    results = results_of(cases)
    machine = dict.fromkeys(("date", "commit", "hffs", "binary", "mode", "cpu", "cores", "memory_gib", "kernel",
                             "file_system"), "x") | {"load_before": 0, "load_after": 0, "quick": False}
    text = report.table(results, machine)
    assert "1 of 1 meet their bar; 1 did not run" in text and "skipped: the rest" in text
    assert "| a case | another | speed ≥ 0.9 | 2 | 2 | 2 | meets | 1 s | 2 s | 2 s | 3 |" in \
        report.markdown(results, machine)


def test_a_gguf_header_says_what_lies_behind_it():
    head = gguf_header(3, 2)
    assert head[:8] == b"GGUF\3\0\0\0" and len(head) % 32 == 0 and head.count(b"ffn_up.weight") == 2
