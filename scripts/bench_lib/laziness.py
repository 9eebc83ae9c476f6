# SPDX-License-Identifier: Apache-2.0
"""Reading a little of what is not here: what is fetched for it, and how long one has to wait."""
import random
import statistics
import struct

from .harness import MIB, Case, at_most, measure
from .programs import curl

READS = 60
TENSOR = 16 * MIB


@measure("random", "laziness")
def random_reads(stage):
    """60 reads of 1 MiB anywhere in a cold file: at most 2.1 bytes are fetched for each that is read; half of them
    take at most 10 ms more than curl takes for the same range, with no round trip time and with 30 ms."""
    world = stage.world()
    size = stage.size(1024, 128) * MIB
    repo = stage.add(world, {"model.safetensors": stage.random_file(size, seed="random")})
    places = random.Random(1)
    ranges = [(places.randrange(size - MIB), MIB) for _ in range(stage.size(READS, 20))]
    yield Case("bytes fetched, of those read", "value", at_most(2.1), of="fetched", scale=1 / (len(ranges) * MIB),
               cold=True, ours=lambda: ours(stage, world, repo, ranges))
    yield latency(stage, "median, no round trip", world, repo, ranges)
    with stage.distant(world, 0.03) as endpoint:
        yield latency(stage, "median, 30 ms round trip", world, repo, ranges, endpoint)


def ours(stage, world, repo, ranges, endpoint=None):
    text = "".join(f"{at} {length}\n" for at, length in ranges)
    figures = stage.cold(world, repo, "model.safetensors", "ranges", endpoint, input=text)
    return figures | {"median": statistics.median(figures["each"])}


def latency(stage, name, world, repo, ranges, endpoint=None):
    def reference():
        stage.fresh(repo)
        url = world.hub.sign(world.hub.repo(repo.name).commit.files["model.safetensors"], "model.safetensors")
        figures = curl([(url, f"{at}-{at + length - 1}") for at, length in ranges], world.hub.ca_file)
        return figures | {"median": statistics.median(figures["each"])}
    return Case(name, "over", at_most(10, "ms over"), of="median", scale=1000, cold=True,
                beside="curl, one range after the other",
                ours=lambda: ours(stage, world, repo, ranges, endpoint), reference=reference)


@measure("parts", "laziness")
def parts(stage):
    """A GGUF file's header and one tensor, as llama.cpp reads them; one storage of a PyTorch checkpoint, by PyTorch:
    at most 1.1 of the useful bytes and two blocks are fetched."""
    world = stage.world()
    words = stage.size(150_000, 20_000)
    head = gguf_header(words, 24)
    size = len(head) + 24 * TENSOR
    repo = stage.add(world, {"model.gguf": stage.random_file(size, seed=f"gguf-{words}", head=head)})
    text = f"0 {len(head)} 4096\n{len(head) + 15 * TENSOR} {TENSOR}\n"
    yield Case("GGUF header and a tensor", "value", at_most(1.1, "of the useful bytes"), of="beyond", cold=True,
               ours=lambda: beyond(stage.cold(world, repo, "model.gguf", "ranges", input=text), len(head) + TENSOR))
    with stage.client("opensora-1.2", world) as client:
        model = stage.torch_model(client, 16, TENSOR)
        repo = stage.add(world, {"pytorch_model.bin": model})
        yield Case("one storage of a PyTorch .bin", "value", at_most(1.1, "of the useful bytes"), of="beyond",
                   cold=True, ours=lambda: one_storage(stage, world, repo, client))


def beyond(figures, useful):
    """What was fetched beyond two blocks, in useful bytes."""
    return figures | {"beyond": max(0, figures["fetched"] - 2 * MIB) / useful}


def one_storage(stage, world, repo, client):
    stage.fresh(repo)
    with stage.mount(world) as mount:
        before = world.content_bytes()
        figures = client.ask("torch_storage", path=mount.file(repo, "pytorch_model.bin"), number=11, size=TENSOR)
        stage.wait_durable(mount)
        figures["fetched"] = world.content_bytes() - before
    return beyond(figures, figures["size"])


def gguf_header(words, tensors):
    """Version 3: a vocabulary of `words` words with their scores, and tensors of 16 MiB (float32)."""
    def text(value):
        data = value.encode()
        return struct.pack("<Q", len(data)) + data
    string, array, number = 8, 9, 6
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, 3)
    head += text("general.architecture") + struct.pack("<I", string) + text("llama")
    head += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", array, string, words)
    head += b"".join(text(f"word{place}") for place in range(words))
    head += text("tokenizer.ggml.scores") + struct.pack("<IIQ", array, number, words)
    head += b"".join(struct.pack("<f", -float(place)) for place in range(words))
    for place in range(tensors):
        head += text(f"blk.{place}.ffn_up.weight") + struct.pack("<IQQIQ", 2, 2048, 2048, 0, place * TENSOR)
    return head + bytes(-len(head) % 32)
