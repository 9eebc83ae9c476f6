# SPDX-License-Identifier: Apache-2.0
"""Whole models by real libraries: the same program on the mount, and on an ordinary cache that it fills first."""
import contextlib
import shutil

from . import machine
from .cold import GIGABIT
from .harness import MIB, Case, at_most, measure

SHARDS = 8
CLIENT = "transformers-5"  # huggingface_hub 2.4.0, safetensors and numpy


@measure("model", "model")
def model(stage):
    """A model of 8 shards, 2 GiB together, cold, every tensor read with safetensors: at most 0.75 of the time of
    snapshot_download and the same load from disk, at most as much on a link of 1 Gbit/s; the first tensor within 0.05
    of that time."""
    world = stage.world()
    tensor = stage.size(16 * MIB, MIB)
    files = {f"model-{number:05}-of-{SHARDS:05}.safetensors": stage.safetensors(16, tensor, number)
             for number in range(1, SHARDS + 1)}
    repo = stage.add(world, files | {"config.json": "{}"})
    beside = "snapshot_download, then the same"
    for where, bar, link in (("loopback", 0.75, contextlib.nullcontext), ("1 Gbit/s", 1, shaped)):
        with link():
            yield Case(f"every tensor, {where}", "time", at_most(bar), cold=True, beside=beside,
                       ours=lambda: on_mount(stage, world, repo), reference=lambda: on_disk(stage, world, repo))
    yield Case("the first tensor", "time", at_most(0.05), of="part", cold=True, beside=f"{beside}, all of it",
               ours=lambda: part(on_mount(stage, world, repo), "first"),
               reference=lambda: part(on_disk(stage, world, repo), "seconds"))


def shaped():
    return machine.shaped(GIGABIT)


def part(figures, name):
    return figures | {"part": figures[name]}


def load(stage, world, repo, cache_dir, what, endpoint=None, **words):
    venv = CLIENT if what == "whole_model" else "opensora-1.2"
    with stage.client(venv, world, endpoint) as client:
        client.ask("warm_up", modules=["huggingface_hub", "safetensors" if what == "whole_model" else "torch"])
        return client.ask(what, repo=repo.id, cache_dir=cache_dir, **words)


def on_mount(stage, world, repo, what="whole_model", endpoint=None, **words):
    stage.fresh(repo)
    with stage.mount(world, endpoint) as mount:
        figures = load(stage, world, repo, mount.point, what, endpoint, **words)
        stage.wait_durable(mount)
    return figures


def on_disk(stage, world, repo, what="whole_model", endpoint=None, **words):
    stage.fresh(repo)
    cache = stage.folder("cache")
    try:
        return load(stage, world, repo, cache, what, endpoint, **words)
    finally:
        shutil.rmtree(cache)


@measure("torch", "model")
def torch(stage):
    """A PyTorch checkpoint (a zip whose directory is at its end) of 512 MiB, as a T5 encoder's is, at a round trip
    time of 30 ms: at most the time of downloading it and loading it from disk."""
    world = stage.world()
    with stage.client("opensora-1.2", world) as client:
        made = stage.torch_model(client, 32, stage.size(16, 1) * MIB)
    repo = stage.add(world, {"pytorch_model.bin": made})
    with stage.distant(world, 0.03) as endpoint:
        words = {"what": "torch_model", "endpoint": endpoint, "file": "pytorch_model.bin"}
        yield Case("torch.load of a .bin, 30 ms round trip", "time", at_most(1), cold=True,
                   beside="hf_hub_download, then the same",
                   ours=lambda: on_mount(stage, world, repo, **words),
                   reference=lambda: on_disk(stage, world, repo, **words))
