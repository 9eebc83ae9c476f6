# SPDX-License-Identifier: Apache-2.0
"""Files that documents tell to use: the Kubernetes manifest, Slurm's scripts, the image's recipe."""
import json
import re
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest
from blocks import ROOT
from terminal import HFFS

PACKAGING = ROOT / "scripts/packaging"
VENVS = ROOT / "build/venvs"


def documents_of(path):
    """What a YAML file holds, by the first Python that can read it."""
    script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))"
    for python in [*sorted(VENVS.glob("*/bin/python")), Path("/usr/bin/python3")]:
        if python.exists() and subprocess.run([python, "-c", "import yaml"], capture_output=True).returncode == 0:
            return json.loads(subprocess.run([python, "-c", script, path], capture_output=True, text=True, check=True).stdout)
    pytest.skip("no Python here reads YAML: scripts/setup --clients makes some that do")


@pytest.fixture(scope="module")
def manifest():
    found = {each["kind"]: each for each in documents_of(PACKAGING / "kubernetes.yaml")}
    assert set(found) == {"Namespace", "ConfigMap", "DaemonSet", "Pod"}
    return found


def flags_of_mount():
    return set(re.findall(r"--[a-z-]+", subprocess.run([HFFS, "mount", "--help"], capture_output=True, text=True).stdout))


def the_one(pod):
    [container] = pod["containers"]
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert set(mounts) == set(volumes)
    return container, mounts, volumes


def test_the_daemons_of_kubernetes(manifest):
    spec = manifest["DaemonSet"]["spec"]
    assert manifest["DaemonSet"]["apiVersion"] == "apps/v1" and manifest["Pod"]["apiVersion"] == "v1"
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    container, mounts, volumes = the_one(spec["template"]["spec"])
    assert mounts["mounts"]["mountPropagation"] == "Bidirectional" and container["securityContext"]["privileged"] is True
    [*_, shell] = container["command"]
    words = shlex.split(shell)
    assert set(word for word in words if word.startswith("--")) <= flags_of_mount()
    # It mounts in the directory that is shared, not on it: what is bound to the directory sees a new mount.
    assert words[-1].startswith(mounts["mounts"]["mountPath"] + "/")
    assert container["readinessProbe"]["exec"]["command"] == ["hffs", "status", words[-1]] and "livenessProbe" not in container
    assert volumes["mounts"]["hostPath"]["path"] == mounts["mounts"]["mountPath"]
    assert mounts["state"]["mountPath"] == "/var/lib/hffs"
    assert volumes["config"]["configMap"]["name"] == manifest["ConfigMap"]["metadata"]["name"]
    for each in ("ConfigMap", "DaemonSet"):
        assert manifest[each]["metadata"]["namespace"] == manifest["Namespace"]["metadata"]["name"]


def test_the_settings_of_kubernetes(manifest, tmp_path):
    [(name, text)] = manifest["ConfigMap"]["data"].items()
    file = tmp_path / name
    file.write_text(text)
    done = subprocess.run([HFFS, "config", "check", file], capture_output=True, text=True, env={"HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert name == "config.toml"


def test_the_pod_that_reads(manifest):
    container, mounts, volumes = the_one(manifest["Pod"]["spec"])
    _, daemons, places = the_one(manifest["DaemonSet"]["spec"]["template"]["spec"])
    assert mounts["models"]["mountPropagation"] == "HostToContainer"
    assert volumes["models"]["hostPath"]["path"] == places["mounts"]["hostPath"]["path"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert variables["HF_HUB_CACHE"].startswith(mounts["models"]["mountPath"] + "/")
    assert container["command"][1].startswith(variables["HF_HUB_CACHE"] + "/")


def test_slurms_scripts(terminal):
    """As slurmd runs them: with no search path, as root or as the user."""
    def slurm(name, user, *settings):
        return terminal.run(f"env -i SLURM_JOB_ID=17 {' '.join(settings)} /srv/tree/scripts/packaging/slurm/{name}", user=user)
    code, said = slurm("epilog", 0)
    assert code == 1 and "after job 17" in said
    assert slurm("task-prolog", 4001) == (0, "")
    assert slurm("prolog", 0)[0] == 0
    assert slurm("prolog", 0) == (0, "")
    assert slurm("task-prolog", 4001) == (0, "export HF_HUB_CACHE=/mnt/hf\n")
    assert slurm("task-prolog", 4001, "HF_HOME=/data/hf") == (0, "")
    assert slurm("epilog", 0) == (0, "")
    # A mount whose daemon has gone: the next job is not to meet it.
    terminal.run("kill -9 $(hffs status /mnt/hf --json | jq .pid); while hffs status /mnt/hf >/dev/null 2>&1; do sleep 0.1; done", user=0)
    assert slurm("epilog", 0)[0] == 1
    assert slurm("prolog", 0)[0] == 0 and slurm("epilog", 0)[0] == 0


# --- the image ---------------------------------------------------------------------------------

def instructions():
    text = re.sub(r"\\\n", " ", (PACKAGING / "Dockerfile").read_text())
    return [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_copies_what_is_there():
    stages = 0
    for word, rest in instructions():
        if word == "FROM":
            stages += 1
            assert rest.split()[0] == "debian:12-slim"
        if word == "COPY" and "--from" not in rest:
            [*sources, _] = rest.split()
            assert all((ROOT / source).exists() for source in sources)
    assert stages == 2


def test_the_image_builds_as_the_package_does():
    [built] = [rest for word, rest in instructions() if word == "RUN" and "scripts/package" in rest]
    text = subprocess.run([ROOT / "scripts/package", "--help"], capture_output=True, text=True, check=True).stdout
    words = shlex.split(built)
    assert words[0] == "scripts/package" and all(word in text for word in words if word.startswith("--"))
    [copied] = [rest for word, rest in instructions() if word == "COPY" and "--from=build" in rest]
    assert words[words.index("--out") + 1] + "/" == copied.split()[1]


def test_the_image_starts_a_mount():
    said = {word: json.loads(rest) for word, rest in instructions() if word in ("ENTRYPOINT", "CMD")}
    assert said["ENTRYPOINT"][:2] == ["hffs", "mount"] and set(said["ENTRYPOINT"][2:]) <= flags_of_mount()
    assert any(word == "RUN" and rest == f"mkdir -p {said['CMD'][0]}" for word, rest in instructions())


def test_debian_has_the_image_s_packages():
    """By the lists of a clean root, which the suite `package` makes."""
    root = ROOT / "build/roots/bookworm.tar"
    if not root.exists():
        pytest.skip(f"NO ROOT: {root} is not there; scripts/test package makes it, and runs the whole recipe")
    [line] = [rest for word, rest in instructions() if word == "RUN" and "apt-get install" in rest]
    wanted = {word for word in re.search(r"apt-get install (.*?) &&", line)[1].split() if not word.startswith(("-", "/"))}
    with tarfile.open(root) as archive:
        there = set()
        for member in archive:
            if "/var/lib/apt/lists/" in member.name and member.name.endswith("_Packages"):
                there |= set(re.findall(r"^Package: (\S+)", archive.extractfile(member).read().decode(), re.M))
    if not there:
        pytest.skip(f"NO LISTS: {root} has none")
    assert wanted and wanted <= there
