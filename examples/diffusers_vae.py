# SPDX-License-Identifier: Apache-2.0
"""diffusers: one part of a pipeline, of which only that part's file is fetched. HF_HUB_CACHE says where it is.

    HF_HUB_CACHE=/mnt/hf python examples/diffusers_vae.py [MODEL]

Needs diffusers with PyTorch."""
import sys

import torch
from diffusers import AutoencoderKL

NAME = sys.argv[1] if len(sys.argv) > 1 else "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"

vae = AutoencoderKL.from_pretrained(NAME, subfolder="vae").eval()
with torch.no_grad():
    picture = vae.decode(torch.zeros(1, vae.config.latent_channels, 8, 8)).sample
print("picture", tuple(picture.shape))
