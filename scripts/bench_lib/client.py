# SPDX-License-Identifier: Apache-2.0
"""What real libraries do, timed without their imports. Run by the Python of a client environment; see programs.py."""
import glob
import json
import os
import sys
import time


def tokenizer(path):
    """Ten times: once takes 20 ms, which says little."""
    from transformers import AutoTokenizer
    began = time.monotonic()
    for _ in range(10):
        AutoTokenizer.from_pretrained(path)
    return {"seconds": time.monotonic() - began}


def whole_model(repo, cache_dir):
    """Every tensor of every shard. The same program on an ordinary cache and on the mount."""
    from huggingface_hub import snapshot_download
    from safetensors import safe_open
    began = time.monotonic()
    folder = snapshot_download(repo, cache_dir=cache_dir)
    downloaded, first, tensors, total = time.monotonic(), None, 0, 0
    for shard in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with safe_open(shard, framework="numpy") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                total += int(tensor.reshape(-1)[::4096].sum())
                tensors += 1
                first = first or time.monotonic()
    return {"seconds": time.monotonic() - began, "downloaded": downloaded - began, "first": first - began,
            "tensors": tensors, "total": total}


def torch_model(repo, file, cache_dir):
    """A checkpoint of the older kind: a zip with its directory at the end."""
    import torch
    from huggingface_hub import hf_hub_download
    began = time.monotonic()
    path = hf_hub_download(repo, file, cache_dir=cache_dir)
    downloaded = time.monotonic()
    held = torch.load(path, map_location="cpu")
    return {"seconds": time.monotonic() - began, "downloaded": downloaded - began, "tensors": len(held)}


def torch_storage(path, number, size):
    """One storage of such a checkpoint, by PyTorch's own reader."""
    import torch
    began = time.monotonic()
    held = torch._C.PyTorchFileReader(path).get_storage_from_record(f"data/{number}", size // 4, torch.float32)
    return {"seconds": time.monotonic() - began, "size": held.storage().nbytes()}


def make_torch_model(path, tensors, size):
    import torch
    torch.manual_seed(1)
    made = {f"layer.{number}.weight": torch.randn(size // 4) for number in range(tensors)}
    torch.save(made, path)
    return {"size": os.path.getsize(path)}


def warm_up(modules):
    for name in modules:
        __import__(name)
    return {}


def main():
    for line in sys.stdin:
        words = json.loads(line)
        print(json.dumps(globals()[words.pop("do")](**words)), flush=True)


if __name__ == "__main__":
    main()
