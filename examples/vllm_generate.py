# SPDX-License-Identifier: Apache-2.0
"""vLLM: a model by name. HF_HUB_CACHE says where it is; download_dir="/mnt/hf" says the same for its weights alone.

    HF_HUB_CACHE=/mnt/hf python examples/vllm_generate.py [MODEL]

Needs vLLM and a GPU. Not run by this project's tests: only compiled."""
import sys

from vllm import LLM, SamplingParams

NAME = sys.argv[1] if len(sys.argv) > 1 else "Qwen/Qwen3-0.6B"

if __name__ == "__main__":  # vLLM starts further processes, which read this file again
    said = LLM(model=NAME).generate(["The capital of France is"], SamplingParams(max_tokens=16))
    print(said[0].outputs[0].text)
