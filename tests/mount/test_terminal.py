# SPDX-License-Identifier: Apache-2.0
"""Q, E: what people see who sit at a terminal: bars, and the screen of `hffs top`. Elsewhere no codes are written."""
import os
import re
import signal
import subprocess

import lab
import pytest
from lab import MIB, eventually
from screen import Terminal
from world import fresh_bytes

CANCELLED = 18
BAR = r"\[#*-*\]"


def slow_model(world, rate=400_000):
    """Two large files, of which the bytes come slowly, and a small one; one has a name that is longer than its place."""
    repo = world.add({"config.json": fresh_bytes(300), "weights/" + "ä" * 60 + "-one.bin": fresh_bytes(2 * MIB),
                      "two.bin": fresh_bytes(3 * MIB)})
    world.hub.faults.add("drip", on="content", rate=rate)
    return repo


def rows_of(screen):
    """name's end → (percent, size, what stands behind); and the total's figures."""
    rows = {}
    for line in screen:
        if found := re.match(rf"(.*?) *{BAR} +(\d+) % +(\S+ \S+) *(.*)$", line):
            rows[found[1]] = (int(found[2]), found[3], found[4])
    totals = [line for line in screen if " files" in line and " of " in line and not re.search(BAR, line)]
    return rows, totals[-1] if totals else ""


@pytest.mark.parametrize("columns", [100, 60])
def test_Q9_a_bar_for_each_file_and_a_total(make, columns):
    world = make.world()
    mount = make.mount(world)
    repo = slow_model(world)
    with Terminal("prefetch", repo.name, "--state-dir", mount.state, env=mount.env, columns=columns) as terminal:
        def all_of_it(screen):
            rows, total = rows_of(screen)
            one = next((row for name, row in rows.items() if name.endswith("-one.bin")), None)
            return (rows, total) if one and "two.bin" in rows and "/s" in one[2] and " left" in total else None
        rows, total = terminal.until(all_of_it, what="bars with rates")
        assert rows["two.bin"][1] == "3.0 MiB" and 0 < rows["two.bin"][0] < 100
        assert re.match(r"[\d.]+ \w+ of 5\.0 MiB, \d of 3 files, [\d.]+ \w+/s, .+ left$", total), total
        # In one place: the screen never has two of a file.
        first = rows["two.bin"][0]
        later, _ = terminal.until(lambda screen: (found := rows_of(screen))[0].get("two.bin", (0,))[0] > first and found, what="more of it")
        assert sum(name.endswith("two.bin") for name in later) == 1 and len(later) <= 3
        world.hub.faults.clear()
        assert terminal.end(60) == 0
        # No bar is left behind.
        assert [line for line in terminal.screen() if line] == [
            f"{mount.repo(repo.id)}/snapshots/{repo.commit}: 3 of 3 files (5.0 MiB) are here and verified"]


def test_Q2_Q9_who_interrupts_it_goes_on_later(make):
    world = make.world()
    mount = make.mount(world)
    repo = slow_model(world)
    with Terminal("prefetch", repo.name, "--state-dir", mount.state, env=mount.env) as terminal:
        terminal.until(lambda screen: rows_of(screen)[0].get("two.bin", (0,))[0] >= 40, 60, "a good part of a file")
        terminal.press("\x03")
        assert terminal.end() == CANCELLED
        assert "run it again to go on" in terminal.written
    eventually(lambda: mount.status()["transfer"]["requests"] == 0, 10)
    world.hub.faults.clear()
    before = mount.metric("content_bytes")
    assert before >= MIB
    done = mount.hffs("prefetch", repo.name, "--state-dir", mount.state)
    assert done.code == 0
    # Whole blocks stay; what had come of the others comes again.
    assert mount.metric("content_bytes") - before < sum(repo.sizes.values()) - MIB
    assert "\x1b" not in done.out + done.err, "codes, and no terminal"


@pytest.mark.waits
def test_Q9_elsewhere_there_is_a_line_each_ten_seconds(make):
    world = make.world()
    mount = make.mount(world)
    repo = slow_model(world, rate=100_000)
    with subprocess.Popen([lab.HFFS, "prefetch", repo.name, "--state-dir", mount.state], env=mount.env, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        line = process.stderr.readline()
        assert re.match(r"[\d.]+ \w+ of 5\.0 MiB, \d of 3 files, [\d.]+ \w+/s, .+ left$", line), line
        assert process.poll() is None
        world.hub.faults.clear()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "\x1b" not in line + out + err


def test_E5_elsewhere_top_prints_one_look(make):
    mount = make.mount(make.world())
    done = mount.hffs("top", mount.point, "--delay", "0.1")
    assert done.code == 0 and done.out.startswith(str(mount.point)) and "\x1b" not in done.out


@pytest.mark.parametrize("columns", [80, 130])
def test_E5_top_shows_who_reads_and_gives_the_terminal_back(make, columns):
    world = make.world()
    mount = make.mount(world)
    repo = slow_model(world)
    with open(mount.file(repo, "two.bin"), "rb") as file, \
            Terminal("top", mount.point, "--delay", "0.2", env=mount.env, rows=12, columns=columns) as terminal:
        file.read(1)
        found = terminal.until(lambda screen: [line for line in screen if "two.bin" in line and str(os.getpid()) in line])
        assert " % " in found[0] and ("fetched" in found[0] or "page cache" in found[0]) == (columns > 100)
        assert all(len(line) <= columns for line in terminal.screen())
        assert str(mount.point) in terminal.screen()[0]
        assert any(line.startswith("endpoint") and " up" in line for line in terminal.screen())
        assert len(terminal.screen()) <= 12, "more rows than there are"
        assert "\x1b[?1049h" in terminal.written and "\x1b[?25l" in terminal.written
        terminal.press("x")
        terminal.read(0.3)
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.written.endswith("\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_E5_top_that_is_ended_gives_the_terminal_back(make, number):
    mount = make.mount(make.world())
    with Terminal("top", mount.point, env=mount.env) as terminal:
        terminal.until(lambda screen: str(mount.point) in screen[0])
        terminal.process.send_signal(number)
        assert terminal.end() == 0
        assert terminal.written.endswith("\x1b[?25h\x1b[?1049l")


def test_E5_top_goes_on_while_the_worker_is_another(make):
    mount = make.mount(make.world())
    with Terminal("top", mount.point, "--delay", "0.2", env=mount.env) as terminal:
        terminal.until(lambda screen: str(mount.point) in screen[0])
        os.kill(mount.worker, signal.SIGKILL)
        terminal.read(1)
        terminal.until(lambda screen: str(mount.point) in screen[0])
        terminal.press("q")
        assert terminal.end() == 0
