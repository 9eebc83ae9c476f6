# SPDX-License-Identifier: Apache-2.0
"""huggingface_hub, in its own environment, over the mount: again and again until standard input ends. Says what it met."""
import hashlib
import json
import os
import random
import sys
import threading

files, seed = json.load(open(sys.argv[1])), int(sys.argv[2])

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache  # noqa: E402

stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
turns = random.Random(seed)
met = {"passes": 0, "bytes": 0, "errors": 0, "wrong": 0, "troubles": []}


def look(path, digest):
    with open(path, "rb") as file:
        data = file.read()
    met["bytes"] += len(data)
    if hashlib.sha256(data).hexdigest() != digest:
        met["wrong"] += 1
        met["troubles"].append(f"wrong bytes: {path}")


while not stopped.is_set():
    repo = turns.choice(list(files))
    try:
        way = turns.randrange(3)
        if way == 0:
            folder = snapshot_download(repo)
            for name, digest in files[repo].items():
                look(os.path.join(folder, name), digest)
        else:
            name = turns.choice(list(files[repo]))
            path = hf_hub_download(repo, name) if way == 1 else try_to_load_from_cache(repo, name)
            look(path, files[repo][name])
        met["passes"] += 1
    except Exception as error:  # noqa: BLE001: it is counted, and told in the end
        met["errors"] += 1
        if len(met["troubles"]) < 10:
            met["troubles"].append(f"{type(error).__name__}: {error}"[:300])
    stopped.wait(0.05)
print(json.dumps(met), flush=True)
os._exit(0)
