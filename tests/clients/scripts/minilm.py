# SPDX-License-Identifier: Apache-2.0
"""A real sentence model: its ONNX file in onnxruntime, its safetensors in numpy."""
import hashlib
import os

import numpy
import onnxruntime
from safetensors.numpy import load_file
from steps import read_request, run
from tokenizers import Tokenizer

import huggingface_hub

request = read_request()
SENTENCES = ["A lab has a few servers that several people share.", "Several people use the same machines.",
             "The sun sets behind the hill."]


def file(name):
    if "folder" in request:
        return os.path.join(request["folder"], name)
    return huggingface_hub.hf_hub_download("sentence-transformers/all-MiniLM-L6-v2", name)


def embedding():
    tokenizer = Tokenizer.from_file(file("tokenizer.json"))
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(file("onnx/model_qint8.onnx"))
    batch = tokenizer.encode_batch(SENTENCES)
    mask = numpy.array([each.attention_mask for each in batch], dtype=numpy.int64)
    inputs = {"input_ids": numpy.array([each.ids for each in batch], dtype=numpy.int64), "attention_mask": mask,
              "token_type_ids": numpy.zeros_like(mask)}
    hidden = session.run(None, {each.name: inputs[each.name] for each in session.get_inputs()})[0]
    if hidden.ndim == 3:
        hidden = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    hidden /= numpy.linalg.norm(hidden, axis=1, keepdims=True)
    return {"vectors": hidden.astype(float).round(6).tolist(),
            "alike": float(hidden[0] @ hidden[1]), "unlike": float(hidden[0] @ hidden[2])}


def weights():
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(file("model.safetensors")).items()):
        digest.update(name.encode() + tensor.tobytes())
    return {"weights": digest.hexdigest()}


run("embedding", embedding)
run("weights", weights)
