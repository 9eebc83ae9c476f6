# SPDX-License-Identifier: Apache-2.0
"""Many small files: a model's own, warm; a whole folder of them, cold and far away."""
import random

from .harness import Case, at_most, measure
from .programs import curl, mounted
from .stage import models

COUNT = 200


def model_files():
    """A BERT's small files, and folders of configurations as a pipeline has them."""
    files = {name: data for name, data in models.bert(hidden=8, heads=2, layers=1, sharded=False).items()
             if not name.endswith(".safetensors")}
    source = random.Random("small files")
    for part in ("feature_extractor", "scheduler", "text_encoder", "tokenizer", "transformer", "unet", "vae"):
        for name in ("config", "generation_config", "special_tokens"):
            files[f"{part}/{name}.json"] = models.as_json({f"key_{i}": source.random() for i in range(40)})
    return files


@measure("small-files", "small files")
def small_files(stage):
    """A model's small files, warm: opening, reading and closing each takes at most 1.2 of the time on a minimal
    file system on libfuse that keeps all in memory, and sends nothing; loading a tokenizer at most 1.1 of the time from
    disk."""
    files = model_files()
    plain = stage.folder("plain")
    for name, data in files.items():
        (plain / name).parent.mkdir(exist_ok=True)
        (plain / name).write_text(data)
    flat = stage.folder("flat")
    for name, data in files.items():
        (flat / name.replace("/", "--")).write_text(data)
    world = stage.world()
    repo = stage.add(world, files)
    program, point = stage.programs.cached_fs(), stage.folder("cached")
    with stage.mount(world) as mount, mounted([program, flat, point], point):
        def read(paths):
            before = world.total()
            figures = stage.read("files", None, "\n".join(map(str, paths)), rounds=stage.size(200, 20))
            return figures | {"requests": world.total() - before}
        ours = [mount.file(repo, name) for name in files]
        reference = [point / name.replace("/", "--") for name in files]
        yield Case(f"open, read, close of {len(files)} files", "time", at_most(1.2), also={"requests": at_most(0)},
                   beside="in-memory file system on libfuse", ours=lambda: read(ours),
                   reference=lambda: read(reference))
        with stage.client("transformers-5") as client:
            folder = mount.file(repo, "config.json").parent
            yield Case("AutoTokenizer.from_pretrained, ten times", "time", at_most(1.1), beside="the same from disk",
                       ours=lambda: client.ask("tokenizer", path=folder),
                       reference=lambda: client.ask("tokenizer", path=plain))


@measure("many-files", "small files")
def many_files(stage):
    """200 small files at a round trip time of 30 ms, cold: reading each for the first time takes at most 0.3 of what
    curl takes for one after the other; reading them again sends nothing."""
    world = stage.world()
    source = random.Random("many files")
    files = {f"data/{number:03}.txt": source.randbytes(source.randrange(500, 8000)) for number in
             range(stage.size(COUNT, 40))}
    repo = stage.add(world, files)
    with stage.distant(world, 0.03) as endpoint:
        yield Case(f"{len(files)} files for the first time, 30 ms round trip", "time", at_most(0.3), cold=True,
                   also={"requests the second time": at_most(0)}, beside="curl, one after the other",
                   ours=lambda: first_and_second(stage, world, repo, files, endpoint),
                   reference=lambda: curl([(stage.url(world, repo, name, endpoint), None) for name in files]))


def first_and_second(stage, world, repo, files, endpoint):
    stage.fresh(repo)
    with stage.mount(world, endpoint) as mount:
        paths = "\n".join(str(mount.file(repo, name)) for name in files)
        figures = stage.read("files", None, paths)
        stage.wait_durable(mount)
        before = world.total()
        stage.read("files", None, paths)
        figures["requests the second time"] = world.total() - before
    return figures
