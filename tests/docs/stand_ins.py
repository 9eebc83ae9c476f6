# SPDX-License-Identifier: Apache-2.0
"""What cannot run on the machine where documents are read, and what runs in its place: the whole list.

Each stand-in refuses words that the real program would not understand, and does what of it can be done for real:
`systemctl start` mounts what the unit says, `docker run` makes the mount namespace that Docker would make.

Usage: stand_ins.py NAME ARGUMENTS…"""
import argparse
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "scripts/packaging/hffs.service"
ENVIRONMENT = Path("/etc/default/hffs")
DOOR = "/run/root.socket"
HFFS = "/usr/bin/hffs"


class Refused(Exception):
    pass


def refuse_unless(right, why):
    if not right:
        raise Refused(why)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Refused(message)


def parsed(name, given, **options):
    """The options of a program that are documented somewhere: `flags` take nothing, `values` one word, `many` several."""
    parser = Parser(prog=name, allow_abbrev=False, add_help=False)
    for flag in options.get("flags", ()):
        parser.add_argument(*flag.split("|"), action="store_true")
    for value in options.get("values", ()):
        parser.add_argument(*value.split("|"))
    for value in options.get("many", ()):
        parser.add_argument(*value.split("|"), action="append", default=[])
    for name_of, count in options.get("words", {}).items():
        parser.add_argument(name_of, nargs=count)
    return parser.parse_intermixed_args(given)


def run(words, **options):
    return subprocess.run(words, check=False, **options).returncode


# --- root and the service manager --------------------------------------------------------------

def sudo(words):
    """Through the machine's own door, with what `sudo` keeps of the environment: nothing."""
    given = {}
    while words and (words[0].startswith("-") or re.match(r"\w+=", words[0])):
        word = words.pop(0)
        refuse_unless("=" in word and word[0] != "-", f"option {word}")
        name, _, given[name] = word.partition("=")
    refuse_unless(words, "no command")
    visitor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    visitor.connect(DOOR)
    text = "\0".join([os.getcwd(), *(f"{name}={value}" for name, value in given.items()), "--", *words])
    socket.send_fds(visitor, [text.encode()], [0, 1, 2])
    return (visitor.recv(1) or b"\1")[0]


def keeper():
    done = subprocess.run([HFFS, "status", "/mnt/hf", "--json"], capture_output=True, text=True, check=False)
    return json.loads(done.stdout)["pid"] if done.returncode == 0 else None


def systemctl(words):
    """hffs.service as the unit says it, in the background."""
    said = parsed("systemctl", words, flags=["--now"], words={"verb": None, "units": "*"})
    if said.verb == "daemon-reload":
        return 0
    refuse_unless(said.units in (["hffs"], ["hffs.service"]), f"no unit {said.units}")
    unit = dict(re.findall(r"^(Exec\w+)=-?(.*)$", UNIT.read_text(), re.M))
    settings = [line for line in ENVIRONMENT.read_text().splitlines() if re.match(r"\w+=", line)]
    start = ["env", *settings, *unit["ExecStart"].replace(" --foreground", "").split()]

    def begin():
        run(unit["ExecStartPre"].split())  # whatever it answers
        return run(start)

    def stop():
        return run([HFFS, "umount", "/mnt/hf"]) if keeper() else 0
    verbs = {"start": lambda: 0 if keeper() else begin(), "stop": stop,
             "restart": lambda: stop() or begin(), "status": lambda: 0 if keeper() else 3,
             "reload": lambda: run(["kill", "-USR1", str(keeper())]), "enable": lambda: begin() if said.now else 0,
             "disable": lambda: stop() if said.now else 0, "is-active": lambda: 0 if keeper() else 3}
    refuse_unless(said.verb in verbs, f"no verb {said.verb}")
    refuse_unless(os.geteuid() == 0 or said.verb in ("status", "is-active"), "that is root's")
    return verbs[said.verb]()


def journalctl(words):
    said = parsed("journalctl", words, flags=["--no-pager|-q"], values=["-u", "-n", "--since", "-p"])
    refuse_unless(said.u == "hffs", "-u hffs")


def apt(words):
    said = parsed("apt", words, flags=["-y"], words={"verb": None, "packages": "*"})
    refuse_unless(said.verb in ("install", "update", "remove", "purge"), f"no verb {said.verb}")
    refuse_unless(os.geteuid() == 0, "that is root's")
    for package in said.packages:
        if "/" in package:
            refuse_unless(Path(package).exists(), f"there is no {package}")
        else:
            refuse_unless(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package), package)


# --- containers --------------------------------------------------------------------------------

PROPAGATIONS = ("rprivate", "private", "rslave", "slave", "rshared", "shared")


def volume(text):
    """SOURCE:TARGET[:OPTIONS] as -v has it, or what --mount has: (source, target, propagation)."""
    if "=" in text.split(",")[0]:
        said = dict(part.partition("=")[::2] for part in text.split(","))
        refuse_unless(said.pop("type", None) == "bind", f"{text}: type=bind")
        source = said.pop("source", None) or said.pop("src", None)
        target = said.pop("target", None) or said.pop("dst", None) or said.pop("destination", None)
        propagation = said.pop("bind-propagation", "rprivate")
        refuse_unless(set(said) <= {"readonly", "ro"}, f"{text}: {said}")
    else:
        source, target, *options = text.split(":")
        options = options[0].split(",") if options else []
        found = [each for each in options if each in PROPAGATIONS]
        refuse_unless(len(found) <= 1 and set(options) - set(found) <= {"ro", "rw", "z", "Z"}, f"{text}: {options}")
        propagation = found[0] if found else "rprivate"
    refuse_unless(source and target and target.startswith("/") and propagation in PROPAGATIONS, text)
    refuse_unless(not source.startswith("/") or Path(source).exists(), f"{source} is not there")
    return source, target, propagation


def container(words):
    """`docker run` in a mount namespace as that would be; the rest is only read."""
    verb, *words = words
    if verb == "build":
        said = parsed("build", words, values=["-t|--tag", "-f|--file", "--build-arg"], words={"context": None})
        return 0 if Path(said.file or f"{said.context}/Dockerfile").exists() else 1
    if verb in ("stop", "logs", "rm"):
        refuse_unless(len(words) == 1, f"{verb} NAME")
        return sudo([HFFS, "umount", "/mnt/hf"]) if verb == "stop" else 0
    refuse_unless(verb == "run", f"no verb {verb}")
    at = next((number for number, word in enumerate(words) if not word.startswith("-") and
               (number == 0 or words[number - 1] not in
                ("-v", "--volume", "--mount", "-e", "--env", "--device", "--cap-add", "--security-opt", "--name", "--user", "-u",
                 "--gpus", "--pid", "--network", "--restart"))), None)
    refuse_unless(at is not None, "no image")
    said = parsed("run", words[:at], flags=["--rm", "-d|--detach", "-i", "-t", "-it"], many=[
        "-v|--volume", "--mount", "-e|--env", "--device", "--cap-add", "--security-opt"],
        values=["--name", "--user|-u", "--gpus", "--pid", "--network", "--restart", "--userns"])
    image, *command = words[at:]
    for device in said.device:
        refuse_unless(Path(device.split(":")[0]).exists(), f"there is no {device}")
    refuse_unless(set(said.cap_add) <= {"SYS_ADMIN"}, said.cap_add)
    refuse_unless(set(said.security_opt) <= {"apparmor=unconfined", "label=disable"}, said.security_opt)
    refuse_unless(said.userns in (None, "keep-id", "host"), said.userns)
    mounts = [volume(each) for each in [*said.volume, *said.mount]]
    if image.split("/")[-1].split(":")[0] == "hffs":
        refuse_unless("SYS_ADMIN" in said.cap_add and "/dev/fuse" in said.device, "what mounting needs")
        command = [HFFS, "mount", *(command or ["--allow-other", "/mnt/hf"])]
    for name in said.env:
        refuse_unless(re.match(r"[A-Z][A-Z0-9_]*(=|$)", name), name)
    # Docker's server is root's; rootless Podman's containers are of who runs them, which here is as good. A container's root
    # is its own: what the machine mounts comes in by volumes alone.
    made = ["set -e", "mount --make-private /", "mount --make-private /run"]
    bound = [each for each in mounts if each[0].startswith("/")]
    for number, (source, _, propagation) in enumerate(bound):
        made += [f"mkdir -p /run/{number}", f"mount --rbind {shlex.quote(source)} /run/{number}", f"mount --make-{propagation} /run/{number}"]
    made += ["mount --make-rprivate /mnt", "umount -l /mnt"]
    for number, (_, target, _) in enumerate(bound):
        made += [f"mkdir -p {shlex.quote(target)}", f"mount --move /run/{number} {shlex.quote(target)}"]
    environment = [each if "=" in each else f"{each}={os.environ[each]}" for each in said.env if "=" in each or each in os.environ]
    if said.user:
        command = ["setpriv", f"--reuid={said.user}", f"--regid={said.user}", "--clear-groups", *command]
    made.append("exec env " + " ".join(shlex.quote(each) for each in [*environment, *command]))
    inside = ["unshare", "-m", "--propagation", "unchanged", "sh", "-c", "; ".join(made)]
    return run(inside) if os.geteuid() == 0 else sudo(inside)


def kubectl(words):
    inside = words[words.index("--") + 1:] if "--" in words else []
    words = words[:len(words) - len(inside) - bool(inside)]
    said = parsed("kubectl", words, values=["-f|--filename", "-n|--namespace", "-l|--selector", "--from-file", "--from-literal",
                                            "--timeout", "--tail", "-o|--output"],
                  words={"verb": None, "rest": "*"})
    refuse_unless(said.verb in ("apply", "get", "describe", "logs", "rollout", "create", "delete", "label", "exec"), said.verb)
    if said.verb in ("apply", "delete") and said.filename:
        text = Path(said.filename).read_text()
        refuse_unless("apiVersion:" in text and "kind:" in text, said.filename)
    elif said.verb == "get":
        refuse_unless(said.rest[:1] in (["pods"], ["pod"], ["daemonset"]), said.rest)
        if said.output == "name":
            print("pod/hffs-x1")
    elif said.verb == "exec":
        refuse_unless(inside and len(said.rest) == 1, "exec POD -- COMMAND")
    elif said.verb == "rollout":
        refuse_unless(said.rest and said.rest[0] in ("status", "restart") and said.rest[1] == "daemonset/hffs", said.rest)


# --- Slurm -------------------------------------------------------------------------------------

SBATCH = {"--job-name", "--gres", "--nodes", "--ntasks", "--cpus-per-task", "--time", "--mem", "--output", "--export", "--partition"}


def sbatch(words):
    """The job, here and now, with a scratch directory as a node has it."""
    refuse_unless(len(words) == 1, "sbatch SCRIPT")
    script = Path(words[0]).read_text()
    for option in re.findall(r"^#SBATCH (\S+)", script, re.M):
        refuse_unless(option.split("=")[0] in SBATCH, option)
    with tempfile.TemporaryDirectory(prefix="job", dir="/scratch") as scratch:
        return run(["bash", words[0]], env={**os.environ, "SLURM_JOB_ID": "17", "TMPDIR": scratch})


# --- what would take minutes -------------------------------------------------------------------

def script(name):
    """One of this tree, which the suites run: each option must be one that its help knows."""
    def check(words):
        text = subprocess.run([ROOT / name, "--help"], capture_output=True, text=True, check=True).stdout
        for word in words:
            flag = word.split("=")[0]
            if name == "scripts/mutate" and not flag.startswith("-"):
                continue
            refuse_unless(re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", text) or not flag.startswith("-") and
                          (name != "scripts/test"), f"{name} --help says nothing of {word}")
        if name == "scripts/package":
            Path("hffs_0.1.0_amd64.deb").touch()
    return check


def meson(words):
    verb, *rest = words
    refuse_unless(verb in ("setup", "install", "test", "configure"), verb)
    said = parsed("meson", rest, flags=["--skip-subprojects"], values=["-C", "--suite"], words={"folder": "?"})
    if said.suite:
        texts = [path.read_text() for path in (ROOT / "tests").rglob("meson.build")]
        refuse_unless(any(f"'{said.suite}'" in text for text in texts), f"no suite {said.suite}")


def pytest_of_ours(words):
    """Files must be there; the suites run them."""
    for word in words:
        if word.startswith("tests/") or word.startswith("scripts/"):
            refuse_unless(list(ROOT.glob(word.split("::")[0])), f"there is no {word}")


def python(words):
    """The system's; programs of examples/, whose clients are not on this machine, are only compiled."""
    if words[:2] == ["-m", "pytest"]:
        return pytest_of_ours(words[2:])
    if words and words[0].startswith("examples/"):
        return run(["/usr/bin/python3", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", words[0]])
    return run(["/usr/bin/python3", *words])


# --- clients that are not here -----------------------------------------------------------------

def file_must_be_there(*names):
    def check(words):
        for flag, value in zip(words, words[1:]):
            if flag in names:
                refuse_unless(Path(value).exists(), f"{flag} {value} is not there")
    return check


def cargo(words):
    said = parsed("cargo", words[1:3], values=["--manifest-path"])
    refuse_unless(words[0] == "run" and Path(said.manifest_path).exists(), words)


def npm(words):
    refuse_unless(words[0] in ("install", "ci"), words)


def node(words):
    refuse_unless(Path(words[0]).exists(), words)


NOT_HERE = "needs a GPU and gigabytes, or is not installed by scripts/setup"
LONG = "takes minutes, and is a suite or a command of its own"
STAND_INS = {
    "sudo": ("the user may become root by the machine's own door; a setuid program is not needed for that", sudo),
    "systemctl": ("no service manager runs; it does what hffs.service says", systemctl),
    "journalctl": ("no journal is kept", journalctl),
    "apt": ("nothing is downloaded, and the package's files lie there already", apt),
    "docker": ("no Docker; it makes the same mounts in a mount namespace, and runs the command there",
               container),
    "podman": ("no Podman; the same", container),
    "kubectl": ("no cluster; the manifest is tested by test_manifests.py", kubectl),
    "sbatch": ("no Slurm; it runs the job", sbatch),
    "python": ("distributions call it python3", python),
    "cargo": ("it would download crates; tests/clients runs the example", cargo),
    "npm": ("it would download packages; tests/clients runs the example", npm),
    "node": ("its package is not on the machine; tests/clients runs the example", node),
    "vllm": (NOT_HERE, file_must_be_there("--download-dir")),
    "llama-cli": (NOT_HERE, file_must_be_there("-m")),
    "meson": ("the program is built already", meson),
    **{name: (LONG, script(name)) for name in ("scripts/setup", "scripts/test", "scripts/demo", "scripts/package", "scripts/bench",
                                               "scripts/mutate")},
}


def main():
    name, *words = sys.argv[1:]
    try:
        return STAND_INS[name][1](words) or 0
    except Refused as error:
        print(f"{name}: {error}: {shlex.join(words)}", file=sys.stderr)
        return 64


if __name__ == "__main__":
    sys.exit(main())
