# SPDX-License-Identifier: Apache-2.0
"""What `hffs --help` and `hffs COMMAND --help`, and so the manual pages, show as examples runs as it stands."""
import json
import re
import shlex
import shutil
import subprocess

import pytest
from blocks import ROOT, Block
from terminal import HFFS, why_not

REASON = why_not()
MOUNT = "mkdir -p ~/hf && hffs mount ~/hf"
TINY = "hffs prefetch openai/whisper-tiny"
# What lies there, or runs, before somebody types the examples of a command; MOUNT where nothing is said.
BEFORE = {
    "": "", "mount": "mkdir -p ~/hf", "umount": "mkdir -p ~/hf",
    "explain": f"{MOUNT} && cd ~/hf/models--openai--whisper-tiny",
    "config check": "sudo systemctl start hffs && echo 'ref_ttl = 30' >new.toml",
    "ls": f"{MOUNT} && {TINY}", "verify": f"{MOUNT} && {TINY}", "gc": f"{MOUNT} && hffs prefetch openai/whisper-large-v3",
    "lock": f'{MOUNT} && eval "$(hffs env)" && cp train.py eval.py',
    "check": f'{MOUNT} && eval "$(hffs env)" && hffs lock -- python train.py',
    "unpin": f"{MOUNT} && hffs pin DeepFloyd/t5-v1_1-xxl",
    "import": f"{MOUNT} && hffs export openai/whisper-tiny /media/disk/hub && hffs export openai/whisper-tiny ~/whisper --flat && "
              "cp -r /media/disk/hub/models--openai--whisper-tiny /media/disk/",
    "adopt": "sudo hffs mount /mnt/hf --allow-other && sudo mkdir -p /data/alice && "
             "sudo cp -a /home/alice/.cache/huggingface /data/alice/hf",
    "login": f"{MOUNT} && echo hf_you >~/.hf-token && TOKEN=hf_you",
    "completion": "",
}
# … before each of them.
BETWEEN = {"mount": "! hffs status ~/hf >/dev/null 2>&1 || hffs umount ~/hf", "umount": "hffs mount ~/hf"}
# Whose words are of another shell; how it is begun.
SHELLS = {"fish": "fish -c", "csh": "csh -c", "zsh": "zsh -c"}
READY = {"zsh": "autoload -U compinit; compinit -D -u; "}


def examples_in(text):
    """The lines of a help that somebody would type: two spaces before, and what is said of them far behind."""
    return re.findall(r"^  (?! )(.*?)(?: {3,}.*)?$", text.partition("Examples:\n")[2], re.M)


def shell_of(line):
    return next((shell for shell in SHELLS if re.search(rf"(--shell|completion) {shell}\b", line)), "bash")


def all_examples():
    """{(command, shell): lines}; "" is the overview."""
    if REASON:
        return {}
    table = json.loads(subprocess.run([HFFS, "commands", "--json"], capture_output=True, text=True, check=True).stdout)
    helps = {"": subprocess.run([HFFS, "--help"], capture_output=True, text=True, check=True).stdout}
    helps |= {command["name"]: command["help"] for command in table}
    found = {}
    for name, text in helps.items():
        for line in examples_in(text):
            found.setdefault((name, shell_of(line)), []).append(line)
    return found


EXAMPLES = all_examples()


def typed(line, shell):
    if shell != "bash":
        line = f"{SHELLS[shell]} {shlex.quote(READY.get(shell, '') + line)}"
    if "--foreground" in line:
        line += " & until hffs status ~/hf >/dev/null 2>&1; do sleep 0.1; done"
    return line


@pytest.mark.parametrize("name, shell", EXAMPLES, ids=lambda value: value.replace(" ", "-") or "overview")
def test_each_example_runs(terminal, name, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}: scripts/setup --clients installs it")
    lines = [BEFORE.get(name, MOUNT)]
    for line in EXAMPLES[name, shell]:
        # A commit that the Hub has, as this one has it.
        line = line.replace("169d4a4", terminal.head[:7])
        lines += [BETWEEN.get(name, ""), typed(line, shell)]
    blocks = [Block(ROOT / f"hffs {name} --help", number, "sh", line) for number, line in enumerate(lines)]
    code, said = terminal.type(blocks)
    assert code == 0, f"ended with {code} in {said.rpartition('@@@ ')[2].splitlines()[0]}:\n{said}"
    assert said.count("@@@ ") == len(blocks), said


def test_examples_are_found():
    if REASON:
        pytest.skip(REASON)
    assert sum(map(len, EXAMPLES.values())) > 70
    # Each line that names the program is one of them.
    for (name, _), lines in EXAMPLES.items():
        assert all(re.search(r"\bhffs\b|^ls ", line) for line in lines), (name, lines)
