# SPDX-License-Identifier: Apache-2.0
"""M: what helps who does not get on: hffs env, run, doctor, completion and the manual pages."""
import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path

import lab
import pytest
from faults import FAULTS, Case
from lab import HFFS, MIB, eventually, hffs, is_mounted
from test_failure import stuck
from world import fresh_bytes

ROOT = Path(os.environ.get("HFFS_SOURCE_ROOT", lab.ROOT))
SHELLS = {"sh": ("sh", 'eval "$({})"'), "fish": ("fish", "{} | source"), "csh": ("csh", 'eval "`{}`"')}


@pytest.fixture
def odd(make):
    """A mount whose path every shell would take apart."""
    mount = make.mount(make.world(), start=False)
    mount.point.rmdir()
    mount.point = mount.box / "it's $HOME! \"a\" \\ `b`"
    mount.point.mkdir()
    return mount.start()


def after(shell, line, env):
    """The environment of a shell that has said this line."""
    program = SHELLS[shell][0]
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    done = subprocess.run([program, "-c", f"{line}\nenv -0"], env=env, capture_output=True, text=True, check=True, cwd="/")
    return dict(item.split("=", 1) for item in done.stdout.split("\0") if "=" in item)


def shell_env(mount, **more):
    tools = f"{os.path.dirname(HFFS)}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    return mount.env | {"PATH": tools, "HFFS_STATE_DIR": str(mount.state)} | more


# M1: env


@pytest.mark.parametrize("shell", SHELLS)
def test_M1_env_makes_a_shell_use_the_mount(odd, shell):
    line = SHELLS[shell][1].format(f"hffs env --shell {shell}")
    found = after(shell, line, shell_env(odd, HF_HUB_CACHE="/elsewhere"))
    assert found["HF_HUB_CACHE"] == found["HUGGINGFACE_HUB_CACHE"] == str(odd.point)
    assert "HF_HOME" not in found and "HF_HUB_OFFLINE" not in found
    line = SHELLS[shell][1].format(f"hffs env {shlex.quote(str(odd.point))} --shell {shell} --offline-clients")
    if shell == "sh":
        assert after(shell, line, shell_env(odd))["HF_HUB_OFFLINE"] == "1"


def test_M1_what_is_in_the_way_is_unset_and_told(make):
    mount = make.mount(make.world())
    inside, outside = f"{mount.point}/mine", "/tmp/old"
    env = shell_env(mount, TRANSFORMERS_CACHE=outside, SENTENCE_TRANSFORMERS_HOME=str(mount.point), HF_HOME=inside,
                    HF_DATASETS_CACHE=outside, HUGGINGFACE_HUB_CACHE=outside, HF_TOKEN="hf_secret")
    done = mount.hffs("env", env=env)
    assert done.code == 0
    assert done.err.splitlines() == [
        f"hffs: HUGGINGFACE_HUB_CACHE={outside} names another cache, for clients that do not know HF_HUB_CACHE; it is replaced",
        f"hffs: TRANSFORMERS_CACHE={outside} goes before HF_HUB_CACHE in transformers 4; it is unset",
        f"hffs: HF_HOME={inside} puts tokens and Python modules into the mount; it is unset"]
    found = after("sh", 'eval "$(hffs env 2>/dev/null)"', env)
    assert "TRANSFORMERS_CACHE" not in found and "HF_HOME" not in found
    # What does no harm stays: what leads to the mount, and what is no cache of models.
    assert found["SENTENCE_TRANSFORMERS_HOME"] == str(mount.point) and found["HF_DATASETS_CACHE"] == outside
    told = json.loads(mount.hffs("env", mount.point, "--json", env=env).out)
    assert told["set"] == {"HF_HUB_CACHE": str(mount.point), "HUGGINGFACE_HUB_CACHE": str(mount.point)}
    assert told["unset"] == ["TRANSFORMERS_CACHE", "HF_HOME"] and told["mount_point"] == str(mount.point)
    assert "hf_secret" not in json.dumps(told) + done.err


def test_M1_env_where_nothing_is_mounted(make):
    folder = make.folder()
    done = hffs("env", folder)
    assert (done.code, done.out) == (3, "") and "no hffs is mounted" in done.err
    done = hffs("env", "--state-dir", folder)
    assert (done.code, done.out) == (7, "")
    done = hffs("env", folder, "--shell", "tcl")
    assert done.code == 2 and "sh, fish and csh" in done.err


# M2: run


def test_M2_run_sets_what_env_prints_and_ends_as_its_command(odd):
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    env = shell_env(odd, TRANSFORMERS_CACHE="/tmp/old", HF_HUB_CACHE="/elsewhere")
    done = odd.hffs("run", "--offline-clients", "--", lab.PYTHON, "-c", show, env=env)
    found = json.loads(done.out)
    assert found["HF_HUB_CACHE"] == found["HUGGINGFACE_HUB_CACHE"] == str(odd.point)
    assert found["HF_HUB_OFFLINE"] == "1" and "TRANSFORMERS_CACHE" not in found
    assert done.code == 0 and "TRANSFORMERS_CACHE" in done.err and "unset" in done.err
    for command, code in (("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM), ("exec /nonexistent", 127)):
        assert odd.hffs("run", "--", "sh", "-c", command, env=env).code == code
    assert odd.hffs("run", "--", "/nonexistent/command", env=env).code == 127
    assert odd.hffs("run", "--mount", odd.point, "--", "/etc/passwd", env=env).code == 126


def test_M2_signals_are_the_commands(make):
    """Whoever presses Ctrl-C means the command; it says how it ends."""
    mount = make.mount(make.world())
    script = "trap 'echo heard; exit 3' INT; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen([HFFS, "run", "--mount", mount.point, "--", "sh", "-c", script], env=mount.env, text=True,
                               stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "heard\n" and process.returncode == 3


class StandIn:
    """A daemon's socket that says of its readers what a test wants: `here` grows by `rate` bytes a second."""

    def __init__(self, folder, mount_point):
        (folder / "hffs-v1").mkdir(parents=True)
        self.folder = folder
        self.readers, self.failures, self.endpoints = [], [], []
        self.status = {}
        self.asked, self.mount_point, self.known = 0, str(mount_point), True
        stand_in = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    self.wfile.write(json.dumps(stand_in.answer(json.loads(line))).encode() + b"\n")
        self._server = socketserver.ThreadingUnixStreamServer(str(folder / "hffs-v1/control.sock"), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request):
        if request["command"] == "status":
            return self.status | {"mount_point": self.mount_point, "endpoints": self.endpoints}
        self.asked += 1
        if not self.known:
            return {"error": {"code": "invalid", "message": "unknown command 'activity'"}}
        return {"readers": [each() for each in self.readers], "failures": self.failures, "fetching": [], "next": None}

    def end(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stand_in(make):
    made = StandIn(make.folder(), "/mnt/somewhere")
    yield made
    made.end()


def run_beside(stand_in, script, *words):
    """`hffs run` of a shell and, below it, a script that says its number first and waits to be told to go on."""
    process = subprocess.Popen([HFFS, "run", "--state-dir", stand_in.folder, *words, "--", "sh", "-c",
                                f"sh -c {shlex.quote(f'echo $$; {script}')}; exit $?"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def reader(pid, rate, waiting=True, path="model.safetensors"):
    began = time.monotonic()

    def now():
        time_ = time.monotonic() - began
        return {"pid": pid, "uid": 0, "comm": "python", "repo": "acme/tiny", "commit": "0" * 40, "path": path,
                "size": 100 << 20, "here": (10 << 20) + int(rate * time_), "mode": "fetched", "opens": 1, "reads": 1,
                "bytes": 1, "idle_ms": 0, "waiting_ms": int(1000 * time_) + 2000 if waiting else None}
    return now


def test_M2_what_a_command_waits_for_is_told(stand_in):
    process, pid = run_beside(stand_in, "read x; exit 0", "--progress")
    # Somebody else's is nobody's business here, and one that does not wait is none.
    stand_in.readers = [reader(pid, 4 << 20), reader(1, 1 << 20, path="anothers.bin"),
                        reader(pid, 0, waiting=False, path="idle.bin")]
    eventually(lambda: stand_in.asked > 3, 20, "the questions")
    out, err = process.communicate("go\n", timeout=20)
    assert process.returncode == 0
    lines = [line for line in err.splitlines() if "waits for" in line]
    assert lines and all("model.safetensors of acme/tiny" in line and "of 100.0 MiB here" in line for line in lines)
    rates = [float(found[1]) for found in (re.search(r"([\d.]+) MiB/s, \d+ s left", line) for line in lines) if found]
    assert rates and all(2 < rate < 8 for rate in rates), err
    assert "anothers" not in err and "idle.bin" not in err


def test_M2_why_it_stalls_is_told(stand_in):
    stand_in.endpoints = [{"endpoint": "https://hub.example", "up": False, "last_error": "Could not resolve host"}]
    process, pid = run_beside(stand_in, "read x", "--progress")
    stand_in.readers = [reader(pid, 0)]
    eventually(lambda: stand_in.asked > 5, 20, "the questions")
    _, err = process.communicate("go\n", timeout=20)
    assert re.search(r"stalled for \d+ s: https://hub.example is down: Could not resolve host", err), err


def test_M2_a_pipe_hears_nothing_and_an_older_daemon_is_asked_once(stand_in):
    process, pid = run_beside(stand_in, "read x")
    stand_in.readers = [reader(pid, 1 << 20)]
    time.sleep(2.5)
    assert process.communicate("go\n", timeout=20)[1] == "" and stand_in.asked == 0
    stand_in.known = False
    process, pid = run_beside(stand_in, "read x; exit 4", "--progress")
    time.sleep(3.5)
    assert process.communicate("go\n", timeout=20)[1] == "" and process.returncode == 4
    assert stand_in.asked <= 2  # and once more for the failures


def test_M2_one_line_on_a_terminal(stand_in):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([HFFS, "run", "--state-dir", stand_in.folder, "--", "sh", "-c", "(echo $$; read x)"], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs)
    stand_in.readers = [reader(int(process.stdout.readline()), 3 << 20)]
    eventually(lambda: stand_in.asked > 3, 20, "the questions")
    process.communicate("go\n", timeout=20)
    os.set_blocking(ours, False)
    written = ""
    with contextlib.suppress(BlockingIOError):  # a terminal gives what it has in pieces
        while True:
            written += os.read(ours, 65536).decode()
    assert "waits for model.safetensors" in written and "\n" not in written
    assert written.endswith("\r\x1b[K"), "the line is still there"
    os.close(ours)
    os.close(theirs)


def test_M3_what_was_refused_is_told_when_it_fails(stand_in):
    def failure(pid, what, **more):
        return {"when": int(time.time()), "uid": 0, "pid": pid, "comm": "python", "operation": "read", "what": what,
                "code": "unreachable", "message": "nobody answers", "remedy": "try another endpoint", "count": 3} | more
    for code in (5, 0):
        process, pid = run_beside(stand_in, f"read x; exit {code}")
        time.sleep(0.3)
        stand_in.failures = [failure(pid, "a/b@c: model.bin"), failure(pid, "a/b@c: model.bin", count=1),
                             failure(1, "a/b@c: anothers.bin"), failure(pid, "a/b@c: long.ago", when=1000)]
        _, err = process.communicate("go\n", timeout=20)
        told = "hffs: read a/b@c: model.bin: nobody answers; try another endpoint\n"
        assert (process.returncode, err) == (code, told if code else "")


def test_M2_M3_on_a_mount(make):
    """A descendant waits, and is sent away: both are told."""
    world = make.world()
    mount = make.mount(world, "--read-deadline", "4")
    repo = world.add({"model.bin": fresh_bytes(3 * MIB)})
    stall = stuck(world, mount, repo, "model.bin")
    script = f"cat {shlex.quote(str(mount.file(repo, 'model.bin')))} >/dev/null || exit 9"
    done = mount.hffs("run", "--progress", "--mount", mount.point, "--", "sh", "-c", script)
    stall.remove()
    assert done.code == 9
    assert re.search(rf"^hffs: waits for model.bin of {repo.name}: .* of 3.0 MiB here", done.err, re.M), done
    assert len(re.findall(r"^hffs: read .*model.bin: ", done.err, re.M)) == 1, done
    assert mount.hffs("run", "--progress", "--mount", mount.point, "--", "sh", "-c", script).err == ""


# M4: doctor


@pytest.mark.limit(100)
@pytest.mark.parametrize("name", FAULTS)
def test_M4_what_is_wrong_is_named_and_repaired(make, root, name):
    fault = FAULTS[name]

    def complaints(checks):
        return [each for each in checks if each["name"] == fault.check and each["result"] != "ok" and
                re.search(fault.says, each["says"])]
    with fault.plant(Case(make)) as patient, contextlib.ExitStack() as stack:
        stack.callback(patient.end)
        code, checks = patient.checks()
        found = complaints(checks)
        assert len(found) == 1, f"not named: {json.dumps(checks, indent=1)}"
        [found] = found
        assert found["result"] == fault.grade
        if fault.code:
            assert code == fault.code, checks
        first = next((each for each in checks if each["result"] == "fail"), None)
        assert (code == 0) == (first is None)
        if fault.who is None:
            assert found["run"], f"nothing to run: {found}"
            patient.repair(found["run"])
        else:
            assert not found["run"] and re.search(fault.who, found["who"]), found
            patient.undo()
        eventually(lambda: not complaints(patient.checks()[1]), 15, f"the end of {found['says']} by {found['run']}")


def test_M4_nothing_is_wrong(make):
    world = make.world()
    token = world.hub.add_user("alice")
    mount = make.mount(world)
    env = Case(make).env(mount, HF_TOKEN=token)
    done = mount.hffs("doctor", mount.point, "--state-dir", mount.state, env=env)
    assert done.code == 0, done
    lines = [line for line in done.out.splitlines() if not line.startswith(" ")]
    assert all(re.match(r"ok +\S", line) for line in lines if not re.match(r"warn +(state|reads)", line)), done
    assert re.search(r"^ok +token +of alice$", done.out, re.M) and token not in done.out + done.err
    assert world.endpoint in done.out and str(mount.point) in done.out


def test_M4_nothing_is_changed(make, root):
    idle = make.mount(make.world(), start=False)
    before = sorted(idle.box.rglob("*"))
    done = idle.hffs("doctor", idle.point, "--state-dir", idle.state)
    assert done.code == 3 and sorted(idle.box.rglob("*")) == before and not is_mounted(idle.point)


def test_M4_a_daemon_of_another_version(make, stand_in):
    mount = make.mount(make.world())
    stand_in.status = mount.status() | {"version": "0.0.1"}
    done = mount.hffs("doctor", "--state-dir", stand_in.folder)
    assert re.search(r"^warn +daemon +it is hffs 0\.0\.1, and this program ", done.out, re.M), done
    assert f"      run: kill -USR1 {mount.pid}\n" in done.out


def test_M4_secrets_are_not_told(make):
    mount = make.mount(make.world())
    env = mount.env | {"HTTPS_PROXY": "http://me:secret@127.0.0.1:9", "https_proxy": "http://me:secret2@127.0.0.1:10",
                       "HF_TOKEN": "hf_wrong"}
    done = mount.hffs("doctor", mount.point, env=env)
    assert "secret" not in done.out + done.err and "hf_wrong" not in done.out + done.err


# M5: its end


def test_M5_it_ends_whatever_hangs(make):
    """A daemon that is stopped, a Hub that says nothing, and one that does not even shake hands."""
    world = make.world()
    mount = make.mount(world)
    stopped = [mount.pid, mount.worker]
    stall = world.hub.faults.add("stall")
    mute = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{mute.getsockname()[1]}"
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = mount.hffs("doctor", mount.point, "--endpoint", world.endpoint, "--endpoint", f"http://{address}",
                          "--endpoint", f"https://{address}", timeout=40)
        assert time.monotonic() - began < 20
        assert done.code == 8 and "FAIL  daemon" in done.out and done.out.count("FAIL  endpoint") == 3, done
    finally:
        mute.close()
        stall.remove()
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_M5_the_first_failure_is_the_exit_code(make):
    world = make.world()
    mount = make.mount(world)
    world.hub.down()
    try:
        done = mount.hffs("doctor", mount.point, "--json", env=mount.env | {"SSL_CERT_FILE": "/etc/passwd"})
    finally:
        world.hub.up()
    told = json.loads(done.out)
    failed = [each["code"] for each in told["checks"] if each["result"] == "fail"]
    assert failed == ["invalid", "unreachable"] and done.code == told["exit_code"] == 2


# M6: completion and the manual


@pytest.fixture(scope="session")
def table():
    return {command["name"]: command for command in json.loads(hffs("commands", "--json").out)}


def flags_of(command):
    return [name for option in command["options"] for name in option["names"]]


def test_M6_help_and_manual_hold_every_command_and_flag(make, table):
    out = make.folder()
    subprocess.run([ROOT / "scripts/make_man", HFFS, out], check=True)
    overview, shown = hffs("--help").out, (out / "hffs.1").read_text().replace("\\", "")
    assert {path.name for path in out.iterdir()} == {"hffs.1", *(f"hffs-{name.replace(' ', '-')}.1" for name in table)}
    for name, command in table.items():
        assert re.search(rf"^  {name.split()[0]} ", overview, re.M) and f"hffs {name}" in shown
        page = (out / f"hffs-{name.replace(' ', '-')}.1").read_text().replace("\\", "")
        words = hffs(*name.split(), "--help").out
        for flag in flags_of(command):
            assert flag in words, f"{name} {flag} is not in its help"
            assert f"fB{flag}fR" in page, f"{name} {flag} is not in its page"
        for positional in command["positionals"]:
            assert positional["names"][0] in words and f"fI{positional['names'][0]}fR" in page
    assert "complete-repos" not in overview + shown and "worker-of" not in hffs("mount", "--help").out


def test_M6_the_manual_is_read_without_a_complaint(make, table):
    if shutil.which("groff") is None:
        pytest.skip("needs groff")
    out = make.folder()
    subprocess.run([ROOT / "scripts/make_man", HFFS, out], check=True)
    for page in sorted(out.iterdir()):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True)
        assert done.stderr == "", page
    text = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", out / "hffs-gc.1"], capture_output=True, text=True).stdout
    assert "hffs gc --dry-run" in text and "--unreferenced" in text


@pytest.fixture
def complete(make):
    """What bash offers where the cursor stands at the end of this line."""
    script = make.folder() / "hffs.bash"
    script.write_text(hffs("completion", "bash").out)

    def offered(line, env=None, cwd="/"):
        words = line.split(" ")
        text = (f"set -u; . {script}; COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}; "
                "_hffs hffs; printf '%s\\n' \"${COMPREPLY[@]-}\"")
        tools = {"PATH": f"{os.path.dirname(HFFS)}:/usr/bin:/bin"}
        done = subprocess.run(["bash", "-c", text], env=tools | (env or {}), capture_output=True, text=True, cwd=cwd)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout.split("\n")[:-1] if done.stdout.strip() else []
    return offered


def test_M6_bash_completes_every_command_and_flag(complete, table):
    assert set(complete("hffs ")) == {name.split()[0] for name in table}
    assert complete("hffs umo") == ["umount"]
    for name, command in table.items():
        assert set(complete(f"hffs {name} -")) == set(flags_of(command)), name
    assert complete("hffs config ") == ["check"]


def test_M6_bash_completes_values(complete, make):
    assert complete("hffs mount --prefetch ") == ["off", "adaptive", "file", "snapshot"]
    assert complete("hffs env --shell f") == ["fish"] and complete("hffs completion z") == ["zsh"]
    assert complete("hffs mount --log-level w") == ["warn"] and complete("hffs mount --ref-ttl ") == []
    folder = make.folder()
    (folder / "with space").mkdir()
    (folder / "a.toml").write_text("")
    (folder / "*").mkdir()
    assert sorted(complete("hffs mount ", cwd=folder)) == ["*", "with space"]
    assert sorted(complete("hffs mount --config ", cwd=folder)) == ["*", "a.toml", "with space"]
    assert "sha256sum" in complete("hffs run -- sha256s")
    assert sorted(complete("hffs check ", cwd=folder)) == ["*", "a.toml", "with space"]
    # Each word in its place, whatever stands between.
    for line in ("export a/b ", "export --mount /mnt a/b ", "export a/b --exclude *.bin ", "export --flat a/b --state-dir x ", "adopt x y "):
        assert sorted(complete(f"hffs {line}", cwd=folder)) == ["*", "with space"], line
    assert complete("hffs export a/b c ", cwd=folder) == [] and complete("hffs path a/b ", cwd=folder) == []
    assert sorted(complete("hffs config check ", cwd=folder)) == ["*", "a.toml", "with space"]


def test_M6_repositories_that_are_known_are_completed(make, complete):
    world = make.world()
    mount = make.mount(world)
    for name in ("acme/one", "acme/other", "zeta/one"):
        os.stat(mount.repo(world.add(id=name).id))
    env = {"HFFS_STATE_DIR": str(mount.state), "HOME": "/nonexistent"}
    folder = make.folder()
    (folder / "account").write_text("")
    (folder / "acme").mkdir()
    for line in ("path ac", "path --mount x ac", "export ac", "export --flat ac"):
        assert sorted(complete(f"hffs {line}", env, folder)) == ["acme/one", "acme/other"], line
    assert complete("hffs export acme/one ac", env, folder) == ["acme"]
    assert sorted(complete("hffs explain ac", env, folder)) == ["account", "acme", "acme/one", "acme/other"]
    # Nobody there, or one who says nothing: at once, and not a word.
    began = time.monotonic()
    assert complete("hffs path ac", {"HFFS_STATE_DIR": str(make.folder()), "HOME": "/nonexistent"}) == []
    stopped = [mount.pid, mount.worker]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert complete("hffs path ac", env) == []
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_M6_other_shells_complete(make, table, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script = make.folder() / "script"
    script.write_text(hffs("completion", shell).out)
    # Of the program it is only asked what it knows.
    tools, folder = make.folder(), make.folder()
    (tools / "hffs").write_text("#!/bin/sh\n[ $1 = complete-repos ] && echo acme/one\n")
    (tools / "hffs").chmod(0o755)
    (folder / "account").write_text("")
    (folder / "acorn").mkdir()
    env = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(make.folder())}
    files = {"account", "acorn/"}
    for line, offers in (("hffs umo", {"umount"}), ("hffs mount --prefetch ", {"off", "adaptive", "file", "snapshot"}),
                         ("hffs gc --unr", {"--unreferenced"}), ("hffs config ", {"check"}), ("hffs path ac", {"acme/one"}),
                         ("hffs mount ac", {"acorn/"}), ("hffs config check ac", files), ("hffs check ac", files),
                         ("hffs explain ac", files | {"acme/one"}), ("hffs export ac", {"acme/one"}),
                         ("hffs export --state-dir x ac", {"acme/one"}), ("hffs export --flat a/b ac", {"acorn/"}),
                         ("hffs export a/b --exclude x ac", {"acorn/"}), ("hffs export a/b c ac", set()), ("hffs adopt x ac", {"acorn/"})):
        words = line.split(" ")
        if shell == "fish":
            text = f"source {script}; complete -C {shlex.quote(line)}"
        else:
            # zsh's own functions need its line editor: what they are given is looked at.
            text = ('compdef() { :; }; compadd() { shift; print -l -- $@; }; _files() { [ "$1" = -/ ] || print account; print acorn/; }; '
                    f". {script}; words=({' '.join(map(shlex.quote, words))}); CURRENT={len(words)}; PREFIX={shlex.quote(words[-1])}; _hffs")
        done = subprocess.run(["fish", "-N", "-c", text] if shell == "fish" else ["zsh", "-f", "-c", text], env=env,
                              capture_output=True, text=True, cwd=folder)
        found = {each.split("\t")[0] for each in done.stdout.splitlines()}
        # zsh itself leaves out what does not begin with the word.
        assert not done.stderr and (found == offers if shell == "fish" else {each for each in found if each.startswith(words[-1])} == offers), (line, done)


def spoken(text):
    """The command lines of hffs in a text: those of its blocks of code, and those between backticks."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for line in [*"\n".join(blocks).splitlines(), *re.findall(r"`([^`\n]*)`", plain)]:
        line = re.sub(r"\s+#.*|-t hffs hffs", "", line)
        for found in re.finditer(r"(?:^|[\s(\"`;&|])hffs ([^;&|)`]*)", line):
            yield found[1].split(" -- ")[0].split()


def test_M6_documents_name_no_command_or_flag_that_does_not_exist(table):
    hidden = {"commands", "complete-repos"}
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
                 ROOT / "scripts/packaging/README.md"]
    seen = set()
    for path in documents:
        for words in spoken(path.read_text()):
            name = next((each for each in words if not each.startswith("-")), None)
            if name is None or not re.fullmatch(r"[a-z-]+", name) or words[0] != name:
                continue
            command = f"{name} {words[1]}" if len(words) > 1 and f"{name} {words[1]}" in table else name
            if name in hidden or (command not in table and any(each.startswith(f"{name} ") for each in table)):
                continue
            assert command in table, f"{path.name}: hffs {' '.join(words)}"
            seen.add(command)
            for flag in words[1:]:
                flag = flag.split("=")[0].strip(",.:'\"[]")
                if re.fullmatch(r"--[a-z-]+", flag) and flag != "--help":
                    assert flag in flags_of(table[command]), f"{path.name}: hffs {' '.join(words)}"
    assert len(seen) > 10


def test_M7_who_names_no_daemon_means_the_one_for_everybody(root, make):
    """In a namespace without those of other tests."""
    world = make.world()
    mount = make.mount(world, "--allow-other")
    ours = {str(mount.point)}

    def ask(*more):
        others = "".join(f"umount -l {shlex.quote(point)}; " for point, kind in lab.mounts() if kind == lab.FS_TYPE and point not in ours)
        words = shlex.join(map(str, [HFFS, "status", "--json", *more]))
        script = f"{others}exec setpriv --reuid {lab.ALICE} --regid {lab.ALICE} --clear-groups {words}"
        return subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"})
    done = ask()
    assert done.returncode == 0 and json.loads(done.stdout)["mount_point"] == str(mount.point), done
    done = ask("--state-dir", "/nonexistent")
    assert done.returncode == 7, "he has named one"
    second = make.mount(world, "--allow-other")
    ours.add(str(second.point))
    assert ask().returncode == 7, "which of the two?"
    second.umount()
