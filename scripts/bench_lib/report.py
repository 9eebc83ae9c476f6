# SPDX-License-Identifier: Apache-2.0
"""What a run says: a table on the terminal, the same in Markdown, every sample in JSON, plots."""
import json
import subprocess

from .harness import median_of
from .programs import HERE, VENVS

HEADS = ["case", "beside", "bar", "min", "median", "max", "", "hffs", "reference", "durable", "n"]


def number(value):
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def side(result, which):
    """The median of one side alone, in the unit in which it was taken."""
    value = median_of(result, which, result["of"])
    if value is None or result["compare"] == "value":
        return ""
    if result["compare"] == "over":
        return f"{number(value * result['scale'])} {result['unit'].split()[0]}"
    if result["of"] == "per_byte":
        return f"{number(1e-6 / value)} MB/s"
    return f"{number(value)} s" if value >= 0.1 else f"{number(value * 1000)} ms"


def row(result):
    durable = median_of(result, "ours", "durable")
    bar = f"{result['compare']} " * (result["compare"] in ("speed", "time")) + result["bar_text"]
    verdict = "meets" if result["holds"] else "short"
    also = "".join(f"; {name} {each['value']:g} (bar {each['bar']})" for name, each in result["also"].items())
    return [result["case"] + also, result["beside"], bar,
            *(number(result[name]) for name in ("min", "median", "max")), verdict,
            side(result, "ours"), side(result, "reference"),
            f"{number(durable)} s" if durable and result["of"] == "seconds" else "", str(len(result["pairs"]))]


def by_measure(results):
    found = {}
    for result in results:
        found.setdefault(result["measure"], []).append(result)
    return found


def heading(machine):
    load = f"load {machine['load_before']:.1f} before, {machine['load_after']:.1f} after"
    return (f"{machine['date']}, commit {machine['commit']}, {machine['hffs']} ({machine['binary']}), "
            f"warm reads: {machine['mode']}\n"
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
            f"{machine['file_system']}; {load}{' (quick: small files, few rounds)' * machine['quick']}")


def table(results, machine):
    """For a terminal."""
    lines = [heading(machine)]
    for name, found in by_measure(results).items():
        rows = [HEADS] + [row(each) for each in found if "note" not in each]
        lines += ["", f"{name}:"] + [f"  {each['note']}" for each in found if "note" in each]
        if len(rows) > 1:
            widths = [max(len(each[column]) for each in rows) for column in range(len(HEADS))]
            lines += ["  " + "  ".join(text.ljust(width) if column < 2 else text.rjust(width)
                                       for column, (text, width) in enumerate(zip(each, widths))).rstrip()
                      for each in rows]
    done = [each for each in results if "note" not in each]
    lines += ["", f"{sum(each['holds'] for each in done)} of {len(done)} meet their bar; "
              f"{sum('note' in each for each in results)} did not run"]
    return "\n".join(lines)


def markdown(results, machine):
    lines = [heading(machine).replace("\n", "  \n"), ""]
    lines += ["| | " + " | ".join(HEADS[1:]) + " |", "|---" * len(HEADS) + "|"]
    for name, found in by_measure(results).items():
        lines.append(f"| **{name}** " + "| " * (len(HEADS) - 1) + "|")
        for each in found:
            cells = [each["note"].splitlines()[0][:200]] + [""] * (len(HEADS) - 1) if "note" in each else row(each)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(folder, results, machine, say):
    """results.json, results.md and one plot for each group of measures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(results, machine))
    python = VENVS / "bench/bin/python"
    if not python.exists():
        return say("no plots: scripts/setup --client bench makes the environment that draws them")
    done = subprocess.run([python, HERE / "plots.py", folder], capture_output=True, text=True)
    if done.returncode != 0:
        say(f"no plots: {done.stderr.strip()[-500:]}")
