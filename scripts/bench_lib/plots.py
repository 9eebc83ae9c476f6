# SPDX-License-Identifier: Apache-2.0
"""Draws FOLDER/results.json: each round a dot, the median a line, the bar where it must be passed. Run by the Python
of the environment `bench`."""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

GOOD, SHORT = "#2a7f62", "#b5482a"
FURTHEST = 8


def standing(result, figure):
    """How often the figure passes its bar: 1 is the bar itself, more is better, whichever way it counts. What lies
    further away than the axis reaches stands at its end."""
    times = figure / result["bar"] if result["least"] else result["bar"] / max(figure, result["bar"] / FURTHEST)
    return min(max(times, 1 / FURTHEST), FURTHEST)


def label(result):
    return f"{result['measure']}: {result['case']}\nbar {result['bar_text']}, median {result['median']:.3g}"


def draw(results, title, target):
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.62 * len(results)))
    for place, result in enumerate(results):
        colour = GOOD if result["holds"] else SHORT
        dots = [standing(result, pair["figure"]) for pair in result["pairs"]]
        spread = [place + 0.18 * ((number % 5) - 2) / 2 for number in range(len(dots))]
        axes.scatter(dots, spread, s=16, color=colour, alpha=0.55, linewidths=0)
        middle = standing(result, result["median"])
        axes.plot([middle, middle], [place - 0.3, place + 0.3], color=colour, linewidth=2.4)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(results)), [label(each) for each in results], fontsize=8)
    axes.set_ylim(len(results) - 0.4, -0.6)
    axes.set_xscale("log", base=2)
    ticks = [0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 4, 8]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(0.9 / FURTHEST, 1.1 * FURTHEST)
    axes.set_xlabel("times the bar (right of the line is better)")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(target, dpi=120)
    plt.close(figure)


def main():
    folder = Path(sys.argv[1])
    held = json.loads((folder / "results.json").read_text())
    machine = held["machine"]
    results = [each for each in held["results"] if "note" not in each]
    words = f"{machine['hffs']}, {machine['commit']}, {machine['cores']} cores, {machine['date']}"
    for group in dict.fromkeys(each["group"] for each in results):
        draw([each for each in results if each["group"] == group], f"{group}: {words}",
             folder / f"{group.replace(' ', '-')}.png")
    if results:
        draw(results, f"everything: {words}", folder / "all.png")


if __name__ == "__main__":
    main()
