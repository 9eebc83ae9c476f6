# SPDX-License-Identifier: Apache-2.0
"""examples/: each program as its reader runs it, told by HF_HUB_CACHE alone where models are."""
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import mounted
import pytest
from client import by_clients
from hub import Random, models

EXAMPLES = mounted.ROOT / "examples"
WHISPER = "openai/whisper-tiny"
COMPILED_ONLY = {"vllm_generate.py", "sentence_embeddings.py"}


@pytest.fixture(scope="module")
def world(hub):
    hub.add_repo("model", WHISPER, {"config.json": b'{"model_type": "whisper"}\n', "model.safetensors": Random(2 << 20, 21)})
    hub.add_repo("model", "google-bert/bert-base-uncased", models.bert(vocabulary=6000))
    hub.add_repo("dataset", "rajpurkar/squad", {"train.csv": "n,square\n" + "".join(f"{n},{n * n}\n" for n in range(30))})
    return hub


def run(hub, point, *command):
    """What it said; it must say nothing of errors, and fetch no content by itself."""
    hub.clear_log()
    with tempfile.TemporaryDirectory(prefix="hffs-home-") as home:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, cwd=home,
                              stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "HOME": home, "LANG": "C.UTF-8",
                                                             **hub.env(), "HF_HUB_CACHE": str(point)})
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert by_clients(hub.content_requests()) == []
    return done.stdout


@pytest.mark.parametrize("environment, program, said", [
    ("transformers-5", "transformers_tokens.py", r"type bert\ntokens \[\d+(, \d+)+\]\n"),
    ("datasets-5", "datasets_rows.py", r"train 30 rows, the first: \{'n': 0, 'square': 0\}\n")])
def test_python(world, client, mount, environment, program, said):
    [python] = client(environment).command
    assert re.search(said, run(world, mount().point, python, EXAMPLES / program))


@pytest.mark.parametrize("program, said", [("opensora.py", r"embedding \(1, \d+, \d+\)\n"),
                                           ("diffusers_vae.py", r"picture \(1, 3, \d+, \d+\)\n")])
def test_the_stack_of_open_sora(stack, hub, mount, program, said):
    assert re.search(said, run(hub, mount().point, *stack.command, EXAMPLES / program))


def expect_whisper(made, said):
    path, size, _ = said.split("\n")
    assert Path(path).is_relative_to(made.repo(WHISPER) / "snapshots") and size == "bytes 26"


def test_javascript(world, mount):
    node, place = shutil.which("node"), mounted.OTHERS / "js"
    if not node or not (place / "node_modules").exists():
        pytest.skip("NO CLIENT: no node, or scripts/setup --clients has not been run")
    made = mount()
    expect_whisper(made, run(world, made.point, node, shutil.copy(EXAMPLES / "js_file.mjs", place)))  # beside its node_modules


def test_rust(world, mount):
    """Built by scripts/setup with the client of test_other_languages.py."""
    program = mounted.OTHERS / "rust/debug/hffs-example"
    if not program.exists():
        pytest.skip(f"NO CLIENT: {program} is not there: scripts/setup --clients builds it where cargo is")
    made = mount()
    expect_whisper(made, run(world, made.point, program))


@pytest.mark.parametrize("program", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_each_compiles_and_knows_of_no_hffs(program):
    text = program.read_text()
    compile(text, str(program), "exec")
    code = text.partition('"""')[2].partition('"""')[2]
    assert not re.search(r"hffs|cache_dir|HF_HUB_CACHE|/mnt", code)
    assert f"examples/{program.name}" in text.partition('"""')[2].partition('"""')[0]


def test_the_readme_says_what_is_run():
    here = {path.name for path in EXAMPLES.glob("*.py")} | {"js_file.mjs", "rust/"}
    rows = dict(re.findall(r"^\| `(\S+)` \|.*\| (\w+)[^|]*\|$", (EXAMPLES / "README.md").read_text(), re.M))
    assert set(rows) == here
    assert {name for name, said in rows.items() if said == "compiled"} == COMPILED_ONLY
    assert set(rows.values()) == {"run", "compiled"}
