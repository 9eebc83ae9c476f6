# SPDX-License-Identifier: Apache-2.0
"""Code from a repository (trust_remote_code): configuration and tokenizer, each importing another file."""
from steps import read_request, run
from transformers import AutoConfig, AutoTokenizer

request = read_request()
options = {"cache_dir": request["cache_dir"]} if request.get("cache_dir") else {}


def config():
    made = AutoConfig.from_pretrained("acme/own-code", trust_remote_code=True, **options)
    return {"class": type(made).__name__, "doubled": made.doubled()}


def tokenizer():
    made = AutoTokenizer.from_pretrained("acme/own-code", trust_remote_code=True, **options)
    return {"class": type(made).__name__, "tokens": made.convert_tokens_to_ids(made.tokenize("cbaab"))}


STEPS = {"config": config, "tokenizer": tokenizer}
for step in request.get("steps", STEPS):
    run(step, STEPS[step])
