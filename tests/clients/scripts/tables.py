# SPDX-License-Identifier: Apache-2.0
"""datasets.load_dataset from repositories of csv, json and parquet."""
from steps import run

from datasets import load_dataset


def rows(repo):
    table = load_dataset(repo)
    return {split: list(part) for split, part in table.items()}


for kind in ("csv", "json", "parquet"):
    run(kind, lambda: rows(f"acme/rows-{kind}"))
