# SPDX-License-Identifier: Apache-2.0
"""Today's transformers, tokenizers, safetensors and datasets; code that lives in a repository."""
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import mounted
import pytest
from client import SCRIPTS
from hub import models
from pair import fill, run_both

NAMES = "LETTERS = 'abc'\n"
OWN_CODE = {
    "config.json": '{"model_type": "acme", "size": 21, "auto_map": {"AutoConfig": "configuration_acme.AcmeConfig"}}',
    "names_acme.py": NAMES,
    "numbers_acme.py": "def double(number):\n    return 2 * number\n",
    "configuration_acme.py": (
        "from transformers import PretrainedConfig\n\n"
        "from .names_acme import LETTERS\nfrom .numbers_acme import double\n\n\n"
        "class AcmeConfig(PretrainedConfig):\n    model_type = 'acme'\n\n"
        "    def __init__(self, size=1, **other):\n        super().__init__(**other)\n        self.size = size\n\n"
        "    def doubled(self):\n        return double(self.size + len(LETTERS))\n"),
    "tokenization_acme.py": (
        "from transformers import PreTrainedTokenizer\n\nfrom .names_acme import LETTERS\n\n\n"
        "class AcmeTokenizer(PreTrainedTokenizer):\n"
        "    @property\n    def vocab_size(self):\n        return len(LETTERS)\n\n"
        "    def get_vocab(self):\n        return {each: at for at, each in enumerate(LETTERS)}\n\n"
        "    def _tokenize(self, text, **other):\n        return list(text)\n\n"
        "    def _convert_token_to_id(self, token):\n        return LETTERS.find(token)\n\n"
        "    def _convert_id_to_token(self, index):\n        return LETTERS[index]\n"),
    "tokenizer_config.json": ('{"tokenizer_class": "AcmeTokenizer", '
                              '"auto_map": {"AutoTokenizer": ["tokenization_acme.AcmeTokenizer", null]}}'),
}


@pytest.fixture(scope="module")
def world(hub, client, folder):
    hub.add_repo("model", "acme/bert", models.bert(vocabulary=6000))
    hub.add_repo("model", "acme/own-code", OWN_CODE)
    return hub


@pytest.mark.parametrize("mode", ["online", "offline", "down"])
@pytest.mark.parametrize("by", ["variable", "cache_dir"])
def test_transformers(world, client, mount, folder, by, mode):
    current = client("transformers-5")
    plain = fill(current, "current.py", folder / f"plain-current-{by}", by=by)
    made, request = mount(), {}
    if mode == "down":
        made.warm("acme/bert")
        # For what it cannot find it asks such a Hub six times in 23 s: twice for a tokenizer, thrice for
        # optional files.
        request["steps"] = ["config", "one tensor", "tensors"] + (["tokenizer"] if by == "variable" else [])
    run_both(current, "current.py", made, plain, mode, request, by=by).check()


@contextmanager
def workers_killed(mount):
    """While the block runs, one worker after another: the list of those that ended."""
    ended, over = [], threading.Event()

    def go_on():
        while not over.wait(0.2):
            with suppress(AssertionError, ProcessLookupError):  # between two of them nobody answers
                pid = mount.status()["worker"]["pid"]
                os.kill(pid, signal.SIGKILL)
                ended.append(pid)
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield ended
    finally:
        over.set()
        thread.join()


def test_transformers_while_workers_are_killed(world, client, mount, folder):
    """Every fifth of a second, from the first import to the last tensor: no word of it, and no other result."""
    current = client("transformers-5")
    plain = fill(current, "current.py", folder / "plain-current-cache_dir", by="cache_dir")
    made = mount()
    with workers_killed(made) as ended:
        pair = run_both(current, "current.py", made, plain, by="cache_dir")
    pair.check()
    # The last one's successor may still be on its way to the socket.
    deadline = time.monotonic() + 10
    while made._hffs("status", made.point).returncode != 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(ended) >= 5 and made.status()["worker"]["restarts"] >= len(set(ended))


@pytest.mark.parametrize("mode", ["online", "offline", "down"])
@pytest.mark.parametrize("environment", ["opensora-1.2", "transformers-5"])
def test_code_from_a_repository(world, client, mount, folder, environment, mode):
    made = client(environment)
    plain = fill(made, "remote_code.py", folder / f"plain-code-{environment}")
    there, request = mount(), {}
    if mode == "down":
        there.warm("acme/own-code")
        if environment == "transformers-5":  # see above: its tokenizer would take 47 s
            request["steps"] = ["config"]
    pair = run_both(made, "remote_code.py", there, plain, mode, request)
    pair.check()
    assert pair.got["config"]["doubled"] == 48
    if "steps" not in request:
        assert pair.got["tokenizer"]["tokens"] == [2, 1, 0, 0, 1]


@pytest.fixture(scope="module")
def tables(hub, client, folder):
    made = client("datasets-5")
    file = folder / "rows.parquet"
    done = subprocess.run([mounted.VENVS / "datasets-5/bin/python", SCRIPTS / "make_parquet.py", file],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    hub.add_repo("dataset", "acme/rows-csv", {
        "train.csv": "n,square\n" + "".join(f"{n},{n * n}\n" for n in range(100)), "test.csv": "n,square\n7,49\n"})
    hub.add_repo("dataset", "acme/rows-json", {
        "data/train.jsonl": "".join(f'{{"n": {n}, "square": {n * n}}}\n' for n in range(100))})
    hub.add_repo("dataset", "acme/rows-parquet", {"data/train-00000-of-00001.parquet": file})
    return made


@pytest.mark.parametrize("mode", ["online"])  # datasets itself finds nothing offline but what it has converted
def test_datasets(tables, mount, folder, mode):
    plain = fill(tables, "tables.py", folder / "plain-tables")
    pair = run_both(tables, "tables.py", mount(), plain, mode)
    pair.check()
    for kind in ("csv", "json", "parquet"):
        assert pair.got[kind]["train"][9] == {"n": 9, "square": 81}
