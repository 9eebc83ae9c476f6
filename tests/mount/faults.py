# SPDX-License-Identifier: Apache-2.0
"""What can be wrong between a program and its model, planted one at a time: `hffs doctor` must name it, and what it says
must repair it. Each is a generator that plants its fault, gives the patient, and takes away what it has put there."""
import contextlib
import email.utils
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import lab
import pytest
from hub import certs
from lab import ALICE, MIB


class Namespace:
    """A mount namespace in which /dev and /etc may be as a test likes."""

    def __init__(self, setup):
        self._holder = subprocess.Popen(["unshare", "-m", "sh", "-c", f"set -e; {setup}\necho ready; exec sleep 600"],
                                        stdout=subprocess.PIPE, text=True)
        if self._holder.stdout.readline() != "ready\n":
            self.end()
            pytest.skip("no such namespace can be made here")
        self.prefix = ["nsenter", "-t", str(self._holder.pid), "-m", "--"]

    def end(self):
        self._holder.kill()
        self._holder.wait()
        self._holder.stdout.close()


# A machine on which every user may mount.
DEVICE = "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/fuse c 10 229"


@dataclass
class Patient:
    """A shell in which somebody says `hffs doctor`, and then what that told him to."""
    words: list
    env: dict
    user: int | None = None
    namespace: Namespace | None = None
    undo: object = None          # does what whoever is named can do
    mount: lab.Mount | None = None
    repaired: list = field(default_factory=list)

    def _shell(self, text, user):
        prefix = [*(self.namespace.prefix if self.namespace else [])]
        if user is not None:
            prefix += ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"]
        return lab.Run(subprocess.run([*prefix, "sh", "-c", text], env=self.env, stdin=subprocess.DEVNULL, cwd="/",
                                      capture_output=True, text=True, timeout=60))

    def doctor(self, *more):
        """Exit code, and the checks."""
        line = shlex.join(["hffs", "doctor", *map(str, [*self.words, *more])])
        done = self._shell("\n".join([*self.repaired, f"exec {line}"]), self.user)
        assert not done.err or self.repaired, done  # `hffs env` says what it replaces
        return done

    def end(self):
        """Of what a repair has mounted."""
        if lab.is_mounted(self.mount.point) and self.mount.daemon_gone():
            done = lab.hffs("umount", self.mount.point)
            assert done.code == 0, done
            lab.eventually(lambda: not lab.processes_with(str(self.mount.box)), 15, "the end of what was mounted again")

    def checks(self):
        done = self.doctor("--json")
        told = json.loads(done.out)
        assert told["exit_code"] == done.code, done
        assert told["ok"] == (done.code == 0)
        return done.code, told["checks"]

    def repair(self, line):
        """As it stands: in the shell of whoever asks, or by root, where it says so."""
        if line.startswith("sudo "):
            done = self._shell(line, None)
            assert done.code == 0, (line, done)
        elif _is_of_the_shell(line):
            self.repaired.append(line)
        else:
            done = self._shell(line, self.user)
            assert done.code == 0, (line, done)


def _is_of_the_shell(line):
    return line.startswith(("export ", "eval ")) or re.fullmatch(r"unset \w+", line) is not None


@dataclass
class Fault:
    plant: object
    check: str
    grade: str
    says: str
    code: int = 0
    who: str | None = None  # a pattern: nothing that can be run repairs it


FAULTS = {}


def fault(check, grade, says, code=0, who=None):
    def register(plant):
        FAULTS[plant.__name__] = Fault(contextlib.contextmanager(plant), check, grade, says, code, who)
        return plant
    return register


def _make_group(name):
    """A control group of the test's own, with one in it that is called as the service's; of whichever version is here."""
    for parent in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        group = Path(parent) / name
        with contextlib.suppress(OSError):
            (group / "hffs.service").mkdir(parents=True)
            return group
    pytest.skip("no control group can be made here")


def _move_into(group, mount):
    for pid in () if mount.daemon_gone() else (mount.pid, mount.worker):
        (group / "cgroup.procs").write_text(str(pid))


class Case:
    """What faults are planted in: hubs and mounts, and a shell with `hffs` and a `sudo` that is root's already."""

    def __init__(self, make):
        self.make = make
        self.tools = tools = make.folder()
        (tools / "sudo").write_text("#!/bin/sh\nexec \"$@\"\n")
        (tools / "sudo").chmod(0o755)
        (tools / "hffs").symlink_to(lab.HFFS)
        self.path = f"{tools}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def env(self, mount, **more):
        env = mount.env | {"PATH": self.path, "HF_HUB_CACHE": str(mount.point)} | more
        return {name: str(value) for name, value in env.items() if value is not None}

    @contextlib.contextmanager
    def service(self, mount):
        """A mount of root's whose keeper and worker are hffs.service; `systemctl` reloads it as its unit does."""
        group = _make_group(f"hffs-test-{mount.pid}")
        try:
            _move_into(group / "hffs.service", mount)
            systemctl = self.tools / "systemctl"
            systemctl.write_text(f'#!/bin/sh\n[ "$*" = "reload hffs" ] && exec kill -USR1 {mount.pid}\n')
            systemctl.chmod(0o755)
            yield mount
        finally:
            _move_into(group.parent, mount)
            for each in (group / "hffs.service", group):
                lab.eventually(lambda each=each: lab.errno_of(each.rmdir) == 0, 10, "the end of the cgroup")

    def patient(self, mount, *words, user=None, namespace=None, undo=None, **env):
        """Who names the mount point; the state directory, too."""
        if user is not None:
            env.setdefault("HOME", mount.home)
        return Patient([mount.point, "--state-dir", mount.state, *words], self.env(mount, **env), user, namespace, undo, mount)

    def mounted(self, *args, **options):
        return self.make.mount(self.make.world(), *args, **options)

    def idle(self, user=None):
        """Nothing is mounted yet."""
        return self.make.mount(self.make.world(), start=False, user=user)


# The daemon's own


@fault("token", "fail", "does not know your token", 5)
def a_wrong_token(case):
    yield case.patient(case.mounted(), HF_TOKEN="hf_nobody")


@fault("token", "fail", "Permission denied", 5)
def a_token_that_cannot_be_read(case):
    mount = case.mounted("--allow-other")
    token = mount.box / "token"
    token.write_text("hf_x")
    token.chmod(0)
    os.chown(token, ALICE, ALICE)
    yield case.patient(mount, user=ALICE, HF_TOKEN_PATH=token)


@fault("room", "warn", "is served, and not kept", who="removes some")
def a_full_disk(case):
    mount = case.idle()
    mount.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", mount.state], check=True)
    try:
        mount.start()
        filler = mount.state / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(MIB))
        yield case.patient(mount, undo=filler.unlink)
        mount.umount()
    finally:
        subprocess.run(["umount", "-l", mount.state], check=True)


@fault("room", "warn", "are to stay so", who="smaller --min-free")
def not_enough_free_space(case):
    patient = case.patient(case.idle(), "--min-free", "900T")
    patient.undo = lambda: patient.words.__setitem__(slice(-2, None), ["--min-free", "0"])
    yield patient


@fault("state", "warn", "lies in memory", who="on a disk")
def a_state_directory_in_memory(case):
    mount = case.idle()
    mount.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", mount.state], check=True)
    patient = case.patient(mount)
    patient.undo = lambda: patient.words.__setitem__(2, mount.box / "other")
    try:
        yield patient
    finally:
        subprocess.run(["umount", "-l", mount.state], check=True)


@fault("state", "fail", "Permission denied")
def a_state_directory_that_cannot_be_written(case):
    mount = case.idle(user=ALICE)
    mount.state.mkdir(mode=0o755)
    yield case.patient(mount, user=ALICE)


@fault("state", "fail", "cannot be made")
def a_state_directory_that_cannot_be_made(case):
    mount = case.idle(user=ALICE)
    os.chown(mount.box, 0, 0)
    yield case.patient(mount, user=ALICE)


@fault("state", "fail", "newer hffs", who="newer")
def the_store_of_a_newer_version(case):
    mount = case.idle()
    (mount.state / "hffs-v2").mkdir(parents=True)
    yield case.patient(mount, undo=lambda: shutil.rmtree(mount.state))


@fault("state", "fail", "FUSE", who="on a disk")
def a_state_directory_on_a_network_file_system(case):
    mount, other = case.mounted(), case.idle()
    below = mount.point / "tmpstate"
    below.mkdir()
    patient = case.patient(other)
    patient.words[2] = below
    patient.undo = lambda: patient.words.__setitem__(2, other.state)
    yield patient


@fault("settings", "fail", "nonsense", 2, who="correct")
def a_wrong_key(case):
    file = case.make.folder() / "config.toml"
    file.write_text("nonsense = 1\n")
    yield case.patient(case.mounted(), "--config", file, undo=lambda: file.write_text(""))


# The mount


@fault("mount point", "fail", "has died", 7)
def a_stale_mount(case):
    mount = case.mounted()
    mount.kill9()
    yield case.patient(mount)


@fault("mount point", "fail", "has died", 7)
def anothers_stale_mount(case):
    mount = case.mounted("--allow-other")
    mount.kill9()
    space = Namespace(DEVICE)
    try:
        yield case.patient(mount, user=ALICE, namespace=space)
    finally:
        space.end()


@fault("mount point", "fail", "nothing is mounted at", 3)
def nothing_mounted(case):
    yield case.patient(case.idle())


@fault("mount point", "fail", "does not exist", 3)
def no_mount_point(case):
    mount = case.idle()
    mount.point.rmdir()
    yield case.patient(mount)


@fault("mount point", "fail", "not a directory", 19, who="another one")
def a_file_as_mount_point(case):
    mount = case.idle()
    mount.point.rmdir()
    mount.point.write_text("")

    def undo():
        mount.point.unlink()
        mount.point.mkdir()
    yield case.patient(mount, undo=undo)


@fault("mount point", "fail", "not empty", 21, who="empty")
def a_mount_point_that_is_not_empty(case):
    mount = case.idle()
    (mount.point / "something").write_text("")
    yield case.patient(mount, undo=(mount.point / "something").unlink)


@fault("mount point", "fail", "tmpfs is mounted at", 13, who="free")
def a_mount_point_in_use(case):
    mount = case.idle()
    subprocess.run(["mount", "-t", "tmpfs", "none", mount.point], check=True)
    gone = threading.Event()

    def undo():
        subprocess.run(["umount", mount.point], check=True)
        gone.set()
    yield case.patient(mount, undo=undo)
    if not gone.is_set():
        undo()


def _upgrade(case, *args):
    """A mount whose program was replaced behind it, as a package does it."""
    program, ours = case.make.folder() / "hffs", lab.HFFS
    lab.other_build(ours, program, "0.1.6")
    try:
        lab.HFFS = str(program)
        mount = case.mounted(*args)
    finally:
        lab.HFFS = ours
    shutil.copy(ours, f"{program}.new")
    os.replace(f"{program}.new", program)
    return mount


_BEFORE = r"it is hffs 0\.1\.6, and this program "


@fault("daemon", "warn", _BEFORE)
def a_daemon_before_an_upgrade(case):
    yield case.patient(_upgrade(case))


@fault("daemon", "warn", _BEFORE)
def anothers_daemon_before_an_upgrade(case):
    yield case.patient(_upgrade(case, "--allow-other"), user=ALICE)


@fault("daemon", "warn", _BEFORE)
def a_service_before_an_upgrade(case):
    with case.service(_upgrade(case, "--allow-other")) as mount:
        yield case.patient(mount, user=ALICE)


@fault("daemon", "fail", "another user's", 4, who="--allow-other")
def a_mount_for_another_user(case):
    mount = case.mounted()

    def undo():
        mount.umount()
        mount.remount("--allow-other")
    yield case.patient(mount, user=ALICE, undo=undo)


@fault("daemon", "fail", "hang or are stopped", 8, who="kill -CONT")
def a_daemon_that_is_stopped(case):
    mount = case.mounted()
    stopped = [mount.pid, mount.worker]

    def undo():
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield case.patient(mount, undo=undo)
    finally:
        undo()


@fault("offline", "warn", "sends no request")
def a_daemon_that_is_offline(case):
    yield case.patient(case.mounted("--offline"))


@fault("offline", "warn", "sends no request")
def a_daemon_that_is_offline_by_a_variable(case):
    yield case.patient(case.mounted(env={"HF_HUB_OFFLINE": "1"}))


def _root_says(case, patient, check):
    """What `hffs doctor` tells root to say, he says."""
    def undo():
        [told] = [each["who"] for each in patient.checks()[1] if each["name"] == check and each["result"] != "ok"]
        line = told.partition("in a shell like this one: ")[2]
        assert line, told
        done = case.patient(patient.mount, HTTP_PROXY=patient.env.get("HTTP_PROXY"))._shell(line, None)
        assert done.code == 0, (line, done)
    return undo


@fault("offline", "warn", "sends no request", who="^once `offline` is in no configuration file .*, root, whose mount it is, says ")
def roots_daemon_that_is_offline(case):
    patient = case.patient(case.mounted("--allow-other", "--offline"), user=ALICE)
    patient.undo = _root_says(case, patient, "offline")
    yield patient


@fault("offline", "warn", "sends no request", who="^root takes HF_HUB_OFFLINE out of /etc/default/hffs, .*: systemctl restart hffs$")
def a_service_that_is_offline(case):
    with case.service(case.mounted("--allow-other", env={"HF_HUB_OFFLINE": "1"})) as mount:
        yield case.patient(mount, undo=_with(mount, HF_HUB_OFFLINE=None))


def _with(mount, **env):
    """The service's environment is another, and it begins again."""
    def undo():
        mount.umount()
        mount.env = {name: value for name, value in (mount.env | env).items() if value is not None}
        mount.remount()
    return undo


@fault("reads", "warn", "switched off", who="fuse_features")
def no_passthrough(case):
    mount = case.mounted(config='fuse_features = "5.15"\n')

    def undo():
        mount.config.write_text("")
        mount.umount()
        mount.remount()
    yield case.patient(mount, undo=undo)


# The machine


@fault("/dev/fuse", "fail", "is not there", 16)
def no_dev_fuse(case):
    space = Namespace("mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3")
    try:
        yield case.patient(case.idle(), namespace=space)
    finally:
        space.end()


@fault("/dev/fuse", "fail", "may not be opened", 4)
def a_dev_fuse_for_root_alone(case):
    space = Namespace("mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; mknod -m 600 /dev/fuse c 10 229")
    try:
        yield case.patient(case.idle(user=ALICE), user=ALICE, namespace=space)
    finally:
        space.end()


@fault("fusermount3", "fail", "is not there", 16, who="root installs the package fuse3")
def no_fusermount3(case):
    space = Namespace(DEVICE)
    patient = case.patient(case.idle(user=ALICE), user=ALICE, namespace=space)
    bare, whole = case.make.folder(), patient.env["PATH"]
    for name in ("sh", "setpriv", "nsenter"):
        (bare / name).symlink_to(shutil.which(name))
    patient.env["PATH"] = f"{whole.split(':')[0]}:{bare}"
    patient.undo = lambda: patient.env.update(PATH=whole)
    try:
        yield patient
    finally:
        space.end()


@fault("fusermount3", "fail", "rights of root", 4)
def a_fusermount3_without_rights(case):
    space = Namespace(DEVICE)
    patient = case.patient(case.idle(user=ALICE), user=ALICE, namespace=space)
    folder = case.make.folder()
    shutil.copy(shutil.which("fusermount3"), folder / "fusermount3")
    (folder / "fusermount3").chmod(0o755)
    patient.env["PATH"] = f"{folder}:{patient.env['PATH']}"
    try:
        yield patient
    finally:
        space.end()


@fault("fuse.conf", "fail", "--allow-other of users is not permitted", 4)
def others_not_let_in(case):
    file = case.make.folder() / "fuse.conf"
    file.write_text("#user_allow_other\n")
    space = Namespace(f"{DEVICE}; mount --bind {file} /etc/fuse.conf")
    try:
        yield case.patient(case.idle(user=ALICE), "--allow-other", user=ALICE, namespace=space)
    finally:
        space.end()


# The network


@fault("endpoint", "fail", "nobody takes the connection", 7, who="starts it again")
def a_dead_mirror(case):
    mount = case.mounted()
    [world] = case.make._worlds
    world.hub.down()
    yield case.patient(mount, undo=world.hub.up)


@fault("endpoint", "fail", "nobody takes the connection .directly, as NO_PROXY says", 7, who="starts it again")
def an_endpoint_that_is_kept_from_the_proxy(case):
    mount = case.mounted()
    [world] = case.make._worlds
    world.hub.down()
    yield case.patient(mount, undo=world.hub.up, HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="localhost,127.0.0.0/8", no_proxy=None)


@fault("endpoint", "warn", "another one answers", who="starts it again")
def one_of_two_mirrors_is_dead(case):
    world = case.make.world()
    mount = case.make.mount(world, endpoints=["http://127.0.0.1:9", world.endpoint])

    def undo():
        mount.umount()
        mount.endpoints = [world.endpoint]
        mount.remount()
    yield case.patient(mount, undo=undo)


@fault("endpoint", "fail", "name is not known", 7, who="spelt")
def a_name_that_is_mistyped(case):
    world = case.make.world()
    mount = case.make.mount(world, endpoints=["http://hugingface.invalid"])

    def undo():
        mount.umount()
        mount.endpoints = [world.endpoint]
        mount.remount()
    yield case.patient(mount, undo=undo)


@fault("endpoint", "fail", "page for people", 7, who="portal")
def the_portal_of_a_network(case):
    mount = case.mounted()
    [world] = case.make._worlds
    yield case.patient(mount, undo=world.hub.faults.add("html").remove)


@fault("endpoint", "fail", "not the answer of a Hub", 7, who="log")
def an_answer_of_nobody(case):
    mount = case.mounted()
    [world] = case.make._worlds
    yield case.patient(mount, undo=world.hub.faults.add("bad_json", text="[]").remove)


@fault("endpoint", "fail", "sends elsewhere", 7, who="portal")
def a_portal_that_redirects(case):
    mount = case.mounted()
    [world] = case.make._worlds
    yield case.patient(mount, undo=world.hub.faults.add("redirect", location="http://127.0.0.1:9/", code=302).remove)


@fault("endpoint", "fail", "it fails .status 503", 7, who="looks into its log")
def an_endpoint_that_fails(case):
    mount = case.mounted()
    [world] = case.make._worlds
    yield case.patient(mount, undo=world.hub.faults.add("status", code=503).remove)


@fault("endpoint", "fail", "not believed", 7, who="ca_bundle")
def an_authority_that_is_not_known(case):
    world = case.make.world(tls=True)
    mount = case.make.mount(world)
    another = certs.make(case.make.folder() / "tls").authority
    patient = case.patient(mount, REQUESTS_CA_BUNDLE=another)
    patient.undo = lambda: patient.env.update(REQUESTS_CA_BUNDLE=world.env["REQUESTS_CA_BUNDLE"])
    yield patient


# The daemon asks by a proxy that is not there.
_BAD_PROXY = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": None, "no_proxy": None}
_OURS = {"HTTP_PROXY": None}


def _cut_off(case, *args, **options):
    mount = case.mounted(*args, env=_BAD_PROXY, **options)
    assert not lab.exists(mount.repo("acme/nothing"))
    return mount


@fault("endpoint", "warn", "and the daemon does not reach it")
def a_daemon_that_is_cut_off(case):
    yield case.patient(_cut_off(case), **_OURS)


@fault("endpoint", "warn", "and the daemon does not reach it", who="^root, whose mount it is, says ")
def roots_daemon_that_is_cut_off(case):
    patient = case.patient(_cut_off(case, "--allow-other"), user=ALICE, **_OURS)
    patient.undo = _root_says(case, patient, "endpoint")
    yield patient


@fault("endpoint", "warn", "and the daemon does not reach it", who="^root writes .* into /etc/default/hffs, .*: systemctl restart hffs$")
def a_service_that_is_cut_off(case):
    with case.service(_cut_off(case, "--allow-other")) as mount:
        yield case.patient(mount, undo=_with(mount, **_OURS), user=ALICE, **_OURS)


@fault("certificates", "warn", "is not there")
def a_bundle_that_is_missing(case):
    yield case.patient(case.mounted(), REQUESTS_CA_BUNDLE="/nonexistent/ca.pem")


@fault("certificates", "fail", "holds no certificate", 2)
def a_bundle_that_is_none(case):
    file = case.make.folder() / "ca.pem"
    file.write_text("nonsense\n")
    yield case.patient(case.mounted(), SSL_CERT_FILE=file)


@fault("proxy", "warn", "is not what the daemon was started with")
def a_proxy_of_the_shell_alone(case):
    yield case.patient(case.mounted(), HTTPS_PROXY="http://me:secret@127.0.0.1:9")


@fault("proxy", "warn", "is not what the daemon was started with", who="^root writes it into /etc/default/hffs, .* restart hffs$")
def a_proxy_that_the_service_lacks(case):
    with case.service(case.mounted("--allow-other")) as mount:
        yield case.patient(mount, undo=_with(mount, HTTPS_PROXY="http://127.0.0.1:9"), HTTPS_PROXY="http://127.0.0.1:9")


@fault("proxy", "warn", "differ")
def proxies_that_differ(case):
    yield case.patient(case.mounted(), HTTPS_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:10")


class _Ahead(BaseHTTPRequestHandler):
    ahead = 3600

    def do_GET(self):
        body = b"{}"
        self.send_response_only(401)
        self.send_header("Date", email.utils.formatdate(time.time() + self.ahead, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@fault("clock", "warn", r"\d+ (min|h \d+ min) behind", who="sets this machine's clock")
def a_clock_that_is_wrong(case):
    handler = type("Ahead", (_Ahead,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        mount = case.make.mount(endpoints=[f"http://127.0.0.1:{server.server_port}"])
        yield case.patient(mount, undo=lambda: setattr(handler, "ahead", 0), NO_PROXY="127.0.0.1")
    finally:
        server.shutdown()
        server.server_close()


# The shell


def _variable(name, check, says, value):
    @fault(check, "warn", says)
    def plant(case):
        mount = case.mounted()
        yield case.patient(mount, **{name: value.format(mount=mount.point)})
    FAULTS[f"variable_{name}"] = FAULTS.pop("plant")


for _name in ("TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE", "DIFFUSERS_CACHE",
              "SENTENCE_TRANSFORMERS_HOME"):
    _variable(_name, _name, "HF_HUB_CACHE|diffusers", "/tmp/old-cache")
for _name in ("HF_HOME", "XDG_CACHE_HOME", "HF_DATASETS_CACHE", "HF_MODULES_CACHE"):
    _variable(_name, _name, "into the mount", "{mount}/mine")
_variable("HF_HUB_CACHE", "HF_HUB_CACHE", "names another cache", "/tmp/elsewhere")


@fault("HF_HUB_CACHE", "warn", "is not set")
def no_variable_at_all(case):
    yield case.patient(case.mounted(), HF_HUB_CACHE=None)
