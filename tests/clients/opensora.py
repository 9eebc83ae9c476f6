# SPDX-License-Identifier: Apache-2.0
"""Models like those of Open-Sora 1.2, on the hub once for all modules that load them."""
import subprocess

import mounted
from client import SCRIPTS
from pair import content_of

REPOS = {"DeepFloyd/t5-v1_1-xxl": "t5-bin", "acme/t5-safetensors": "t5-safetensors",
         "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers": "pixart", "hpcai-tech/OpenSora-VAE-v1.2": "video-vae",
         "hpcai-tech/OpenSora-STDiT-v3": "stdit"}


def publish(hub, folder):
    models = folder / "opensora"
    python = mounted.VENVS / "opensora-1.2/bin/python"
    done = subprocess.run([python, SCRIPTS / "make_opensora.py", models], capture_output=True, text=True,
                          env={"HOME": str(folder), "PATH": "/usr/bin:/bin"}, timeout=120)
    assert done.returncode == 0, done.stderr
    for id, name in REPOS.items():
        hub.add_repo("model", id, content_of(models / name))
    assert "pytorch_model.bin.index.json" in hub.repo("DeepFloyd/t5-v1_1-xxl").commit.files
