# SPDX-License-Identifier: Apache-2.0
"""Models put together as Open-Sora 1.2 does it: own classes on transformers and diffusers, and names of
repositories in the code, with whatever hook its own classes offer for a cache directory."""
import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import AutoTokenizer, PretrainedConfig, PreTrainedModel, T5EncoderModel

TEXT_ENCODER = "DeepFloyd/t5-v1_1-xxl"
IMAGE_AUTOENCODER = "PixArt-alpha/pixart_sigma_sdxlvae_T5_diffusers"
VIDEO_AUTOENCODER = "hpcai-tech/OpenSora-VAE-v1.2"
TRANSFORMER = "hpcai-tech/OpenSora-STDiT-v3"


class TextEncoder:
    """Only a name and a cache directory can be given, never a path."""

    def __init__(self, name=TEXT_ENCODER, cache_dir=None, local_files_only=False):
        where = {"cache_dir": cache_dir, "local_files_only": local_files_only}
        self.tokenizer = AutoTokenizer.from_pretrained(name, **where)
        self.model = T5EncoderModel.from_pretrained(
            name, low_cpu_mem_usage=True, torch_dtype=torch.float32,
            device_map={"shared": torch.device("cpu"), "encoder": torch.device("cpu")}, **where).eval()

    def encode(self, text):
        tokens = self.tokenizer(text, max_length=20, padding="max_length", truncation=True, return_tensors="pt")
        with torch.no_grad():
            return self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])[0]


class VideoAutoencoderConfig(PretrainedConfig):
    model_type = "video_autoencoder"

    def __init__(self, spatial=None, channels=32, **other):
        super().__init__(**other)
        self.spatial, self.channels = spatial, channels


class VideoAutoencoder(PreTrainedModel):
    """Its spatial half comes from another repository, while this one is being loaded, without a hook for the
    cache directory."""
    config_class = VideoAutoencoderConfig

    def __init__(self, config):
        super().__init__(config)
        self.temporal = nn.Conv3d(4, config.channels, 3, padding=1)
        self.back = nn.Conv3d(config.channels, 4, 3, padding=1)
        self.spatial = AutoencoderKL.from_pretrained(**config.spatial)

    def decode(self, latent):
        with torch.no_grad():
            frame = self.back(self.temporal(latent))[:, :, 0]
            return self.spatial.decode(frame).sample


def video_autoencoder(name=VIDEO_AUTOENCODER, local_files_only=False):
    spatial = {"pretrained_model_name_or_path": IMAGE_AUTOENCODER, "subfolder": "vae",
               "local_files_only": local_files_only}
    return VideoAutoencoder.from_pretrained(name, spatial=spatial).eval()


class STDiTConfig(PretrainedConfig):
    model_type = "STDiT3"

    def __init__(self, depth=4, hidden_size=192, **other):
        super().__init__(**other)
        self.depth, self.hidden_size = depth, hidden_size


class STDiT(PreTrainedModel):
    config_class = STDiTConfig

    def __init__(self, config):
        super().__init__(config)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(config.hidden_size, 4, 4 * config.hidden_size)
                                    for _ in range(config.depth))

    def forward(self, latent):
        for block in self.blocks:
            latent = block(latent)
        return latent
