# SPDX-License-Identifier: Apache-2.0
"""From mount to umount: in the background, as a user, and every way to end."""
import errno
import os
import signal
import subprocess
import time

import pytest
from lab import BOB, HFFS, MIB, errno_of, eventually, is_gone, is_mounted, later, mounts, processes_with
from world import fresh_bytes


def test_background_mount_answers_when_the_command_returns(make):
    world = make.world()
    repo = world.add({"a.txt": b"a"})
    for _ in range(5):
        mount = make.mount(world, background=True, start=False)
        done = mount.hffs(*mount.command("--log-file", mount.log_file)[1:], timeout=20)
        assert (done.code, done.out, done.err) == (0, "", ""), done
        assert mount.file(repo, "a.txt").read_bytes() == b"a"  # at once, with no waiting
        kind = [kind for where, kind in mounts() if where == str(mount.point)]
        assert kind == ["fuse.hffs"]
        mount._pid = mount.status()["pid"]
        assert os.getsid(mount.pid) == mount.pid != os.getsid(0), "it hangs on our terminal"
        assert os.readlink(f"/proc/{mount.pid}/cwd") == "/"
        assert "mounted" in mount.log()
        mount.umount()


def test_background_log_goes_to_the_state_directory(make):
    world = make.world()
    mount = make.mount(world, background=True, start=False)
    assert mount.hffs(*mount.command()[1:]).code == 0
    mount._pid = mount.status()["pid"]
    log = mount.state / "hffs-v1/hffs.log"
    assert "mounted" in log.read_text()
    assert os.stat(log).st_mode & 0o077 == 0, "others may read the log"


def test_background_mount_outlives_its_terminal(make):
    world = make.world()
    repo = world.add({"a.txt": b"a"})
    mount = make.mount(world, background=True, start=False)
    shell = subprocess.run(["setsid", "-w", "sh", "-c", '"$@"', "sh", *mount.command("--log-file", mount.log_file)],
                           env=mount.env, timeout=20, capture_output=True, text=True)
    assert shell.returncode == 0, shell
    mount._pid = mount.status()["pid"]
    assert mount.file(repo, "a.txt").read_bytes() == b"a"


def test_foreground_mount_says_so(make):
    mount = make.mount(make.world())
    eventually(lambda: f"hffs: mounted at {mount.point}" in mount.log(), 5)


def on_a_terminal(command, env):
    """Runs it on a terminal that stops what writes to it in the background, until told to stop: Ctrl-C, and what was said."""
    import pty
    import termios
    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    modes[3] |= termios.TOSTOP
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    program = subprocess.Popen(["setsid", "-c", "-w", *command], env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = []

    def listen():
        try:
            while text := os.read(ours, 4096):
                said.append(text)
        except OSError:
            pass  # nobody has it any more
    listener = threading.Thread(target=listen)
    listener.start()
    hear()
    os.write(ours, b"\x03")
    code = program.wait(20)
    listener.join(5)
    return [code, b"".join(said).decode()]


def test_K15_a_worker_is_no_background_job_of_its_terminal(make):
    """It is a group of its own, and writes its log there."""
    world = make.world()
    mount = make.mount(world, "--log-level", "debug", start=False)
    terminal = make.child(on_a_terminal, mount.command("--foreground"), mount.env)
    eventually(lambda: mount.hffs("status", "--state-dir", mount.state, "--json").code == 0, 20, "the mount")
    repo = world.add({"a.txt": b"a"})
    assert mount.file(repo, "a.txt").read_bytes() == b"a"
    terminal.tell("stop")
    code, said = terminal.result(30)
    assert code == 0 and not is_mounted(mount.point), said
    assert f"mounted at {mount.point}" in said and "debug hub GET" in said and "not been heard of" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
def test_signals_end_the_mount_cleanly(make, number, background):
    world = make.world()
    mount = make.mount(world, background=background)
    repo = world.add({"model.bin": fresh_bytes(3 * MIB)})
    assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"]
    os.kill(mount.pid, number)
    assert mount.wait_gone(5) in (0, None)
    assert not is_mounted(mount.point)
    world.hub.down(origin=True)
    mount.remount()
    assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"], "bytes were lost at the end"


def test_umount_waits_until_the_state_directory_is_free(make):
    world = make.world()
    mount = make.mount(world, background=True)
    for _ in range(8):
        repo = world.add({"model.bin": fresh_bytes(6 * MIB)})
        assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"]
        assert mount.hffs("umount", mount.point).code == 0
        done = mount.hffs(*mount.command("--log-file", mount.log_file)[1:])
        assert done.code == 0, f"the state directory was not free at once: {done}"
        # It let go of everything before umount returned; the kernel may still be clearing its memory.
        eventually(lambda pid=mount.pid: is_gone(pid), 5)
        mount._pid = mount.status()["pid"]


def test_umount_by_others(make, root):
    """umount(8): the daemon ends by itself."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a.txt": b"a"})
    assert mount.file(repo, "a.txt").read_bytes() == b"a"
    subprocess.run(["umount", mount.point], check=True)
    assert mount.wait_gone(5) == 0


def read_slowly(path):
    with open(path, "rb") as file:
        say("open")
        hear()
        return file.read(10).hex()


def test_end_with_open_files_and_waiting_readers(make):
    """SIGTERM does not wait for anybody: readers get errors, the mount goes."""
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(2 * MIB), "a.txt": b"a"})
    path = mount.file(repo, "model.bin")
    holder = make.child(read_slowly, str(mount.file(repo, "a.txt")))
    assert holder.heard() == "open"
    os.stat(path)
    world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    reading = later(errno_of, lambda: path.read_bytes())
    lookup = later(errno_of, os.stat, mount.repo("acme/unknown"))
    eventually(lambda: mount.metric("reads_waiting") >= 1, 5)
    began = time.monotonic()
    os.kill(mount.pid, signal.SIGTERM)
    mount.wait_gone(10)
    assert time.monotonic() - began < 8
    assert reading.join(5)[0] in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED, errno.EINTR)
    lookup.join(5)
    assert not is_mounted(mount.point)


def test_umount_with_a_waiting_reader(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(2 * MIB)})
    path = mount.file(repo, "model.bin")
    os.stat(path)
    world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    reading = later(errno_of, lambda: path.read_bytes())
    eventually(lambda: mount.metric("reads_waiting") >= 1, 5)
    assert mount.hffs("umount", mount.point).code == 13
    assert reading.results == [None]
    assert mount.hffs("umount", mount.point, "--lazy").code == 0
    assert not is_mounted(mount.point)
    world.hub.faults.clear()
    assert reading.join(20)[0] in (0, errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)
    mount.wait_gone()


def test_nothing_is_left_on_the_machine(make):
    before = set(os.listdir("/tmp"))
    world = make.world()
    mount = make.mount(world, background=True)
    repo = world.add({"a.txt": b"a"})
    mount.file(repo, "a.txt").read_bytes()
    box = str(mount.box)
    mount.umount()
    assert not processes_with(box)
    # Other tests, which may run beside this one, make theirs.
    of_tests = ("hffs-mount-", "hffs-hub-", "hffs-test-", "hffs-store-")
    new = {name for name in set(os.listdir("/tmp")) - before if "hffs" in name and not name.startswith(of_tests)}
    assert not new


def test_two_daemons_beside_each_other(make):
    worlds = [make.world(), make.world()]
    ends = [make.mount(world) for world in worlds]
    repos = [world.add({"a.txt": b"one" if number else b"two"}, id="acme/same") for number, world in enumerate(worlds)]
    for mount, repo in zip(ends, repos):
        assert mount.file(repo, "a.txt").read_bytes() == repo.content["a.txt"]
    ends[0].umount()
    assert ends[1].file(repos[1], "a.txt").read_bytes() == b"one"


# A user without rights


def as_user(hffs, point, state, endpoint, uid, files):
    """In a mount namespace of its own, root lends /dev/fuse and becomes nobody: mount, read, umount."""
    os.mknod(state + ".fuse", 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(state + ".fuse", 0o666)
    subprocess.run(["mount", "--bind", state + ".fuse", "/dev/fuse"], check=True)
    os.unlink(state + ".fuse")

    def run(*words):
        return subprocess.run([hffs, *words], user=uid, group=uid, extra_groups=[], capture_output=True, text=True,
                              env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.path.dirname(state)}, timeout=30)

    def read(path):
        return subprocess.run(["cat", path], user=uid, group=uid, extra_groups=[], capture_output=True)
    done = run("mount", point, "--state-dir", state, "--endpoint", endpoint)
    if done.returncode != 0:
        return {"failed": [done.returncode, done.stderr]}
    answer = {"kind": [line.split(" - ")[1].split()[0] for line in open("/proc/self/mountinfo") if f" {point} " in line]}
    answer["read"] = {path: hashlib.sha256(read(f"{point}/{path}").stdout).hexdigest() for path in files}
    made = subprocess.run(["mkdir", "-p", f"{point}/.locks/mine"], user=uid, group=uid, extra_groups=[])
    answer["lock"] = made.returncode
    answer["owner"] = subprocess.run(["stat", "-c", "%u", f"{point}/{files[0]}"], user=uid, group=uid, extra_groups=[],
                                     capture_output=True, text=True).stdout.strip()
    try:
        os.stat(point)
        answer["root"] = 0
    except OSError as error:
        answer["root"] = error.errno
    answer["status"] = run("status", point).returncode
    answer["mode"] = run("status", point).stdout.splitlines()[-1]
    done = run("umount", point)
    answer["umount"] = [done.returncode, done.stderr]
    answer["left"] = [line for line in open("/proc/self/mountinfo") if f" {point} " in line]
    done = run("mount", point, "--state-dir", state, "--endpoint", endpoint)
    answer["again"] = [done.returncode, done.stderr]
    answer["umount again"] = run("umount", point).returncode
    done = run("mount", point, "--state-dir", state, "--endpoint", endpoint, "--allow-other")
    answer["allow_other"] = [done.returncode, done.stderr]
    if done.returncode == 0:
        run("umount", point)
    return answer


def test_a_user_mounts_without_root(make, root):
    import hashlib
    world = make.world()
    data = fresh_bytes(3 * MIB)
    repo = world.add({"model.bin": data})
    mount = make.mount(world, start=False)
    for each in (mount.box, mount.point, mount.home):
        os.chown(each, BOB, BOB)
    file = f"{mount.repo(repo.id).name}/snapshots/{repo.commit}/model.bin"
    answer = make.child(as_user, HFFS, str(mount.point), str(mount.state), world.endpoint, BOB, [file],
                        prefix=["unshare", "-m"]).result()
    assert "failed" not in answer, answer
    assert answer["kind"] == ["fuse.hffs"]
    assert answer["read"] == {file: hashlib.sha256(data).hexdigest()}
    assert answer["root"] == errno.EACCES, "others, root too, may look into a user's mount"
    assert answer["lock"] == 0
    assert (answer["status"], answer["umount"], answer["left"]) == (0, [0, ""], [])
    assert "page cache" in answer["mode"] and ("CAP_SYS_ADMIN" in answer["mode"] or "kernel" in answer["mode"])
    assert answer["again"] == [0, ""] and answer["umount again"] == 0
    code, said = answer["allow_other"]
    assert code == 0 or (code == 4 and "user_allow_other" in said), answer["allow_other"]
    eventually(lambda: not processes_with(str(mount.box)), 5, "the daemons' end")
