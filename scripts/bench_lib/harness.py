# SPDX-License-Identifier: Apache-2.0
"""What a measure is, and how its rounds are run.

A measure is a generator of cases. A case has hffs's side and its reference, each a function that does the work once
and returns a dict of figures; the harness calls them in turn, A B A B…, and compares pair by pair, so that whatever
else the machine does falls on both."""
import statistics
import time
from dataclasses import dataclass, field
from typing import Callable

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
MEASURES = {}


class Skip(Exception):
    """A measure that cannot run here; the text says what is missing."""


@dataclass(frozen=True)
class Bar:
    least: bool
    value: float
    unit: str = ""

    def holds(self, figure):
        return figure >= self.value if self.least else figure <= self.value

    def __str__(self):
        return f"{'≥' if self.least else '≤'} {self.value:g}{' ' if self.unit else ''}{self.unit}"


def at_least(value, unit=""):
    return Bar(True, value, unit)


def at_most(value, unit=""):
    return Bar(False, value, unit)


def in_words(size):
    """1 GiB, 64 MiB …"""
    return f"{size / GIB:g} GiB" if size >= GIB else f"{size / MIB:g} MiB"


# How a pair becomes the figure that has a bar.
COMPARE = {
    "speed": lambda ours, reference: reference / ours,  # both in seconds; 1: as fast as the reference
    "time": lambda ours, reference: ours / reference,  # 1: takes as much as the reference
    "over": lambda ours, reference: ours - reference,
    "value": lambda ours, reference: ours,  # no reference: the figure itself
}


@dataclass
class Case:
    name: str
    compare: str
    bar: Bar
    ours: Callable
    reference: Callable = None
    beside: str = ""  # what the reference is
    of: str = "seconds"  # the figure that is compared
    scale: float = 1.0  # from the figure's unit to the bar's
    cold: bool = False  # few rounds, each from nothing
    rounds: int = 0  # else as many as the options say
    also: dict = field(default_factory=dict)  # further figures of hffs's side that have a bar


@dataclass(frozen=True)
class Measure:
    name: str
    group: str
    about: str
    run: Callable


def measure(name, group):
    def add(function):
        MEASURES[name] = Measure(name, group, " ".join(function.__doc__.split()), function)
        return function
    return add


def run_measure(which, stage, say):
    """The results of every case of a measure; one that is skipped or breaks leaves a result with a note."""
    results = []
    cases = which.run(stage)
    try:
        for case in cases:
            say(f"  {case.name}")
            result = run_case(which, case, stage.rounds(case), say)
            results.append(result)
            say(f"    {in_short(result)}")
    except Skip as reason:
        results.append(noted(which, f"skipped: {reason}"))
    except Exception as error:  # a broken measure must not cost the others their figures
        results.append(noted(which, f"failed: {type(error).__name__}: {str(error)[:2000]}", failed=True))
    finally:
        cases.close()
        stage.clean()
    for result in results:
        if "note" in result:
            say(f"  {result['note']}")
    return results


def noted(which, note, failed=False):
    return {"measure": which.name, "group": which.group, "case": which.name, "note": note, "failed": failed}


def run_case(which, case, rounds, say):
    if not case.cold:
        for side in (case.ours, case.reference):
            if side:
                side()
    pairs = []
    for _ in range(rounds):
        ours = case.ours()
        reference = case.reference() if case.reference else None
        figure = COMPARE[case.compare](ours[case.of], reference[case.of] if reference else None) * case.scale
        pairs.append({"figure": figure, "ours": ours, "reference": reference, "at": time.time()})
    return summary(which, case, pairs)


def summary(which, case, pairs):
    figures = [pair["figure"] for pair in pairs]
    median = statistics.median(figures)
    also = {}
    for name, bar in case.also.items():
        # The worst round: these are counts that must not pass the bar at all.
        values = [pair["ours"][name] for pair in pairs]
        worst = min(values) if bar.least else max(values)
        also[name] = {"value": worst, "bar": str(bar), "holds": bar.holds(worst)}
    return {"measure": which.name, "group": which.group, "case": case.name, "compare": case.compare,
            "beside": case.beside, "of": case.of, "scale": case.scale, "bar": case.bar.value,
            "least": case.bar.least, "unit": case.bar.unit, "bar_text": str(case.bar),
            "min": min(figures), "median": median, "max": max(figures),
            "holds": case.bar.holds(median) and all(each["holds"] for each in also.values()),
            "also": also, "pairs": pairs}


def median_of(result, side, name):
    """The median of one figure over the rounds, None where a side does not have it."""
    found = [pair[side][name] for pair in result["pairs"] if pair[side] and name in pair[side]]
    return statistics.median(found) if found else None


def in_short(result):
    verdict = "meets" if result["holds"] else "SHORT OF"
    return (f"{result['min']:.3g} / {result['median']:.3g} / {result['max']:.3g} {result['unit']}".rstrip() +
            f"   {verdict} {result['bar_text']}" +
            "".join(f", {name} {each['value']:g} ({each['bar']})" for name, each in result["also"].items()))
