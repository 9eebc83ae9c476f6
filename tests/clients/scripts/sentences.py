# SPDX-License-Identifier: Apache-2.0
"""A real sentence model in transformers and torch, from the Hub's name or from request["folder"]."""
import torch
from steps import read_request, run
from transformers import AutoModel, AutoTokenizer

request = read_request()
SENTENCES = ["A lab has a few servers that several people share.", "Several people use the same machines.",
             "The sun sets behind the hill."]
WHERE = request.get("folder", "sentence-transformers/all-MiniLM-L6-v2")


def embedding():
    torch.set_num_threads(1)
    tokens = AutoTokenizer.from_pretrained(WHERE)(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(WHERE).eval()(**tokens)[0]
    mask = tokens["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    return {"vectors": vectors.tolist(), "alike": float(vectors[0] @ vectors[1]),
            "unlike": float(vectors[0] @ vectors[2])}


run("embedding", embedding)
