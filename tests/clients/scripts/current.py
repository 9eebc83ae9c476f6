# SPDX-License-Identifier: Apache-2.0
"""Today's transformers, tokenizers and safetensors, without torch."""
import hashlib

from safetensors import safe_open
from steps import read_request, run
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import cached_file

import huggingface_hub

request = read_request()
options = {"cache_dir": request["cache_dir"]} if request.get("cache_dir") else {}
TEXT = "Hello world, hub files!"


def tokenizer(repo):
    made = AutoTokenizer.from_pretrained(repo, **options)
    return {"tokens": made(TEXT)["input_ids"], "class": type(made).__name__}


def config(repo):
    return {"config": AutoConfig.from_pretrained(repo, **options).to_dict()}


def tensors(repo):
    """Every tensor, by the index, as a loader of sharded models goes."""
    import json
    index = json.load(open(cached_file(repo, "model.safetensors.index.json", **options)))
    digest = hashlib.sha256()
    for shard in sorted(set(index["weight_map"].values())):
        with safe_open(cached_file(repo, shard, **options), framework="np") as file:
            for name in sorted(file.keys()):
                digest.update(name.encode() + file.get_tensor(name).tobytes())
    return {"weights": digest.hexdigest()}


def one_tensor(repo):
    path = huggingface_hub.hf_hub_download(repo, "model-00002-of-00002.safetensors", **options)
    with safe_open(path, framework="np") as file:
        part = file.get_slice("embeddings.word_embeddings.weight")[100:102]
    return {"path": path, "shape": list(part.shape), "sum": float(part.sum())}


def optional(repo):
    """What loaders probe for, and are content not to find."""
    found = {name: cached_file(repo, name, _raise_exceptions_for_missing_entries=False, **options)
             for name in ("added_tokens.json", "chat_template.jinja", "adapter_config.json")}
    return {"found": {name: path for name, path in found.items() if path}}


STEPS = {"config": config, "tokenizer": tokenizer, "one tensor": one_tensor, "tensors": tensors,
         "optional files": optional}
for step in request.get("steps", STEPS):
    run(step, lambda: STEPS[step]("acme/bert"))
