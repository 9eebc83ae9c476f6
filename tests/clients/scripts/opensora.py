# SPDX-License-Identifier: Apache-2.0
"""Open-Sora 1.2's stack: transformers 4.41, diffusers 0.27, torch 1.13."""
import hashlib

import torch
from opensora_models import TRANSFORMER, STDiT, TextEncoder, video_autoencoder
from steps import read_request, run

request = read_request()
local = request.get("local_files_only", False)


def said(tensor):
    assert tensor.isfinite().all() and tensor.abs().sum() > 0
    return {"shape": list(tensor.shape), "sha256": hashlib.sha256(tensor.numpy().tobytes()).hexdigest()}


def weights(model):
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return {"weights": digest.hexdigest()}


def text_encoder():
    encoder = TextEncoder(cache_dir=request.get("cache_dir"), local_files_only=local)
    return said(encoder.encode("a cat by the sea")) | weights(encoder.model)


def text_encoder_in_safetensors():
    encoder = TextEncoder("acme/t5-safetensors", request.get("cache_dir"), local)
    return said(encoder.encode("a cat by the sea")) | weights(encoder.model)


def autoencoder():
    model = video_autoencoder(local_files_only=local)
    torch.manual_seed(0)
    return said(model.decode(torch.randn(1, 4, 2, 8, 8))) | weights(model)


def transformer():
    model = STDiT.from_pretrained(TRANSFORMER, local_files_only=local).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        return said(model(torch.randn(3, 1, 192))) | weights(model)


torch.set_num_threads(2)
run("text encoder", text_encoder)
run("text encoder in safetensors", text_encoder_in_safetensors)
if not request.get("cache_dir"):  # these have no such hook: only a variable reaches them
    run("autoencoder", autoencoder)
    run("transformer", transformer)
