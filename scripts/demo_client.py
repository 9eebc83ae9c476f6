# SPDX-License-Identifier: Apache-2.0
"""The part of scripts/demo that is an ordinary user: cache_dir= is all that it does about hffs.

Usage: demo_client.py MODEL CACHE_DIR HFFS
"""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from huggingface_hub import hf_hub_download  # noqa: E402
from safetensors import safe_open  # noqa: E402
from transformers import AutoConfig, AutoTokenizer  # noqa: E402

LOAD_ALL_BELOW = 200 * 10**6
model, cache, hffs = sys.argv[1:]


def fetched():
    said = subprocess.run([hffs, "status", cache, "--json"], capture_output=True, text=True, check=True).stdout
    return json.loads(said)["metrics"]["content_bytes"]


def tell(what, total):
    share = fetched()
    print(f"  {what:58} {share / 1e6:9.2f} MB fetched = {100 * share / total:5.1f} %", flush=True)


began = time.monotonic()
config = AutoConfig.from_pretrained(model, cache_dir=cache)
snapshot = Path(hf_hub_download(model, "config.json", cache_dir=cache)).parent
files = [path for path in snapshot.rglob("*") if path.is_file()]
total = sum(path.stat().st_size for path in files)
print(f"{model}: a {config.model_type}; {len(files)} files, {total / 1e6:.2f} MB, all \"already downloaded\"")
tell("transformers read the configuration", total)

tokenizer = AutoTokenizer.from_pretrained(model, cache_dir=cache)
print(f"  tokenizer: {tokenizer('hello world').input_ids}")
tell("transformers made the tokenizer", total)

weights = sorted(path.name for path in files if path.suffix == ".safetensors")
if not weights:
    sys.exit("demo: this model has no .safetensors file, so there is no first tensor to show")
opened = time.monotonic()
with safe_open(hf_hub_download(model, weights[0], cache_dir=cache), framework="numpy") as shard:
    name = next(iter(shard.keys()))
    tensor = shard.get_tensor(name)
    now = time.monotonic()
    print(f"  first tensor: {name} {list(tensor.shape)}, {1000 * (now - opened):.0f} ms after its file was asked for, "
          f"{now - began:.2f} s after the first line of code")
tell(f"one tensor of {weights[0]}", total)

if total > LOAD_ALL_BELOW:
    print("  the rest stays where it is: it comes when it is read")
    sys.exit(0)
count = 0
for file in weights:
    with safe_open(hf_hub_download(model, file, cache_dir=cache), framework="numpy") as shard:
        for name in shard.keys():
            count += shard.get_tensor(name).size
tell(f"the whole model: {count / 1e6:.1f} M parameters", total)
