# SPDX-License-Identifier: Apache-2.0
"""Saves small models of the kinds that Open-Sora 1.2 loads: make_opensora.py DIR."""
import os
import sys

import sentencepiece
import torch
from diffusers import AutoencoderKL
from opensora_models import STDiT, STDiTConfig, VideoAutoencoder, VideoAutoencoderConfig
from transformers import T5Config, T5EncoderModel, T5Tokenizer

WORDS = "a cat and a dog walk over the green hill while the sun sets behind the old town by the sea".split()


def save_text_encoder(folder, **how):
    torch.manual_seed(1)
    model = T5EncoderModel(T5Config(vocab_size=64, d_model=128, d_kv=32, d_ff=1024, num_layers=6, num_heads=4,
                                    feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    model.save_pretrained(folder, max_shard_size="4MB", **how)
    text = os.path.join(folder, "text")
    with open(text, "w") as out:
        for start in range(len(WORDS)):
            out.write(" ".join(WORDS[start:] + WORDS[:start]) + "\n")
    sentencepiece.SentencePieceTrainer.train(input=text, model_prefix=os.path.join(folder, "spiece"), vocab_size=40,
                                             pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2)
    os.remove(text)
    os.remove(os.path.join(folder, "spiece.vocab"))
    T5Tokenizer(os.path.join(folder, "spiece.model"), extra_ids=0).save_pretrained(folder)


def save_image_autoencoder(folder):
    torch.manual_seed(2)
    AutoencoderKL(block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2,
                  up_block_types=("UpDecoderBlock2D",) * 2).save_pretrained(os.path.join(folder, "vae"))


top = sys.argv[1]
save_text_encoder(os.path.join(top, "t5-bin"), safe_serialization=False)
save_text_encoder(os.path.join(top, "t5-safetensors"))
save_image_autoencoder(os.path.join(top, "pixart"))
torch.manual_seed(3)
spatial = {"pretrained_model_name_or_path": os.path.join(top, "pixart"), "subfolder": "vae"}
VideoAutoencoder(VideoAutoencoderConfig(spatial)).save_pretrained(os.path.join(top, "video-vae"))
STDiT(STDiTConfig()).save_pretrained(os.path.join(top, "stdit"))
