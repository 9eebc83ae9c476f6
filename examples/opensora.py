# SPDX-License-Identifier: Apache-2.0
"""Open-Sora 1.2's text encoder, unmodified ways: a name, and no path. Where its files are says HF_HUB_CACHE alone.

    HF_HUB_CACHE=/mnt/hf python examples/opensora.py [MODEL]

Needs transformers 4.41 with PyTorch, as Open-Sora 1.2 does; the model it names has 44 GB, of which a half is read."""
import sys

import torch
from transformers import AutoTokenizer, T5EncoderModel

NAME = sys.argv[1] if len(sys.argv) > 1 else "DeepFloyd/t5-v1_1-xxl"

tokenizer = AutoTokenizer.from_pretrained(NAME)
encoder = T5EncoderModel.from_pretrained(NAME, low_cpu_mem_usage=True, torch_dtype=torch.bfloat16).eval()
tokens = tokenizer("a cat by the sea", return_tensors="pt")
with torch.no_grad():
    hidden = encoder(**tokens)[0]
print("embedding", tuple(hidden.shape))
