# SPDX-License-Identifier: Apache-2.0
"""The stack and the ways of Open-Sora 1.2: a text encoder that takes a cache directory and no path, and
autoencoder and transformer that only a variable reaches."""
import subprocess

import mounted
import pytest
from client import SCRIPTS
from pair import content_of, fill, run_both

REPOS = {"DeepFloyd/t5-v1_1-xxl": "t5-bin", "acme/t5-safetensors": "t5-safetensors",
         "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers": "pixart", "hpcai-tech/OpenSora-VAE-v1.2": "video-vae",
         "hpcai-tech/OpenSora-STDiT-v3": "stdit"}


@pytest.fixture(scope="module")
def stack(client, hub, folder):
    made = client("opensora-1.2")
    models = folder / "opensora"
    python = mounted.VENVS / "opensora-1.2/bin/python"
    done = subprocess.run([python, SCRIPTS / "make_opensora.py", models], capture_output=True, text=True,
                          env={"HOME": str(folder), "PATH": "/usr/bin:/bin"}, timeout=120)
    assert done.returncode == 0, done.stderr
    for id, name in REPOS.items():
        hub.add_repo("model", id, content_of(models / name))
    assert "pytorch_model.bin.index.json" in hub.repo("DeepFloyd/t5-v1_1-xxl").commit.files
    return made


@pytest.mark.parametrize("mode", ["online", "offline", "down"])
@pytest.mark.parametrize("by", ["variable", "cache_dir"])
def test_models_load(stack, mount, folder, by, mode):
    plain = fill(stack, "opensora.py", folder / f"plain-opensora-{by}", by=by)
    made = mount()
    if mode == "down":
        for id in REPOS:
            made.warm(id)
    # For a .bin it asks the Hub whether there is a safetensors, and takes no answer for an error.
    run_both(stack, "opensora.py", made, plain, mode, by=by).check(
        may_fail={"text encoder"} if mode == "down" else ())


def test_local_files_only_of_models_never_seen(stack, mount, folder):
    plain = fill(stack, "opensora.py", folder / "plain-opensora-variable")
    run_both(stack, "opensora.py", mount(), plain, request={"local_files_only": True}).check()
