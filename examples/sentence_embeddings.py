# SPDX-License-Identifier: Apache-2.0
"""sentence-transformers: sentences as vectors, by a model's name. HF_HUB_CACHE says where it is.

    HF_HUB_CACHE=/mnt/hf python examples/sentence_embeddings.py [MODEL]

Needs sentence-transformers. Not run by this project's tests: only compiled."""
import sys

from sentence_transformers import SentenceTransformer

NAME = sys.argv[1] if len(sys.argv) > 1 else "sentence-transformers/all-MiniLM-L6-v2"

vectors = SentenceTransformer(NAME).encode(["Several people share a server.", "The sun sets behind the hill."])
print("vectors", vectors.shape)
