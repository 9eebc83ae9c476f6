# SPDX-License-Identifier: Apache-2.0
"""transformers: a configuration and a tokenizer by name. HF_HUB_CACHE says where they are.

    HF_HUB_CACHE=/mnt/hf python examples/transformers_tokens.py [MODEL]

Needs transformers; no PyTorch."""
import sys

from transformers import AutoConfig, AutoTokenizer

NAME = sys.argv[1] if len(sys.argv) > 1 else "google-bert/bert-base-uncased"

print("type", AutoConfig.from_pretrained(NAME).model_type)
print("tokens", AutoTokenizer.from_pretrained(NAME)("hello world")["input_ids"])
