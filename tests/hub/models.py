# SPDX-License-Identifier: Apache-2.0
"""Small models that real transformers load, written with the standard library: safetensors files whose
values are random but always the same, configurations and tokenizers."""
import json
import random
import string
import struct
from pathlib import Path

SIGN_AND_EXPONENT = bytes(0x3C | (value & 0x80) for value in range(256))
ONE = struct.pack("<f", 1.0)


def uniform(count, seed):
    """`count` little-endian float32 of magnitude 2^-7 to 2^-5, either sign: about as layers start out."""
    data = bytearray(random.Random(seed).randbytes(4 * count))
    data[3::4] = data[3::4].translate(SIGN_AND_EXPONENT)
    return bytes(data)


class Tensors(dict):
    """name → (shape, bytes), float32, in the order in which a file holds them."""

    def __init__(self, seed=0):
        super().__init__()
        self._seed = seed

    def add(self, name, *shape):
        count = 1
        for size in shape:
            count *= size
        if name.endswith(("norm.weight", "Norm.weight")):
            data = ONE * count
        elif name.endswith(".bias"):
            data = bytes(4 * count)
        else:
            data = uniform(count, f"{self._seed}:{name}")
        self[name] = (shape, data)

    def add_linear(self, name, out, into):
        self.add(f"{name}.weight", out, into)
        self.add(f"{name}.bias", out)

    def add_norm(self, name, size):
        self.add(f"{name}.weight", size)
        self.add(f"{name}.bias", size)


def safetensors(tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())


def weight_files(tensors, shards):
    """model.safetensors; or an index and numbered files, `shards` lists the names' beginnings of each."""
    if not shards:
        return {"model.safetensors": safetensors(tensors)}
    files, places = {}, {}
    for number, beginnings in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        part = {name: held for name, held in tensors.items()
                if name.startswith(tuple(beginnings)) and name not in places}
        places |= dict.fromkeys(part, file)
        files[file] = safetensors(part)
    if len(places) != len(tensors):
        raise ValueError(f"in no shard: {sorted(tensors.keys() - places.keys())}")
    total = sum(len(data) for _, data in tensors.values())
    files["model.safetensors.index.json"] = as_json({"metadata": {"total_size": total}, "weight_map": places})
    return files


def as_json(value):
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def bert(vocabulary=30522, hidden=256, layers=2, heads=4, sharded=True, seed=0):
    """Files of a BERT. By default 34 MB, of which a second shard holds the 31 MB of word embeddings."""
    tensors = Tensors(seed)
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            tensors.add_linear(f"{at}.attention.self.{name}", hidden, hidden)
        tensors.add_linear(f"{at}.attention.output.dense", hidden, hidden)
        tensors.add_norm(f"{at}.attention.output.LayerNorm", hidden)
        tensors.add_linear(f"{at}.intermediate.dense", 2 * hidden, hidden)
        tensors.add_linear(f"{at}.output.dense", hidden, 2 * hidden)
        tensors.add_norm(f"{at}.output.LayerNorm", hidden)
    tensors.add_linear("pooler.dense", hidden, hidden)
    tensors.add_norm("embeddings.LayerNorm", hidden)
    tensors.add("embeddings.position_embeddings.weight", 512, hidden)
    tensors.add("embeddings.token_type_embeddings.weight", 2, hidden)
    tensors.add("embeddings.word_embeddings.weight", vocabulary, hidden)
    shards = [["encoder.", "pooler."], ["embeddings."]] if sharded else None
    config = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": vocabulary,
              "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
              "intermediate_size": 2 * hidden, "hidden_act": "gelu", "max_position_embeddings": 512,
              "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, "torch_dtype": "float32"}
    words = bert_words(vocabulary)
    return {"README.md": "# A tiny BERT with random weights\n", "config.json": as_json(config),
            "tokenizer.json": as_json(word_piece(words)), "vocab.txt": "\n".join(words) + "\n",
            "tokenizer_config.json": as_json({"tokenizer_class": "BertTokenizer", "do_lower_case": True,
                                              "model_max_length": 512, **BERT_MARKS}),
            "special_tokens_map.json": as_json(BERT_MARKS), **weight_files(tensors, shards)}


BERT_MARKS = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
              "mask_token": "[MASK]"}


def bert_words(count):
    """Every lower-case ASCII text can be said in these."""
    signs = [sign for sign in string.printable if not sign.isspace() and not sign.isupper()]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs),
             "hello", "world", "hub", "file", "##s", "##ing"]
    words = list(dict.fromkeys(words))
    if count < len(words):
        raise ValueError(f"at least {len(words)} words")
    return words + [f"[unused{number}]" for number in range(count - len(words))]


def word_piece(words):
    def mark(word):
        return {"id": words.index(word), "content": word, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True}

    def special(word):
        return {"SpecialToken": {"id": word, "type_id": 0}}
    marks = ("[CLS]", "[SEP]")
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [mark(word) for word in BERT_MARKS.values()],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
            "pair": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]"),
                     {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {word: {"id": word, "ids": [words.index(word)], "tokens": [word]}
                               for word in marks}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: number for number, word in enumerate(words)}}}


def t5_encoder(vocabulary=256, hidden=64, layers=2, heads=4, sharded=False, seed=0):
    """Files of a T5 text encoder with gated GELU, as diffusion models use; 0.6 MB by default."""
    tensors = Tensors(seed)
    for layer in range(layers):
        at = f"encoder.block.{layer}.layer"
        for name in "qkvo":
            tensors.add(f"{at}.0.SelfAttention.{name}.weight", hidden, hidden)
        if layer == 0:
            tensors.add(f"{at}.0.SelfAttention.relative_attention_bias.weight", 32, heads)
        tensors.add(f"{at}.0.layer_norm.weight", hidden)
        for name in ("wi_0", "wi_1"):
            tensors.add(f"{at}.1.DenseReluDense.{name}.weight", 4 * hidden, hidden)
        tensors.add(f"{at}.1.DenseReluDense.wo.weight", hidden, 4 * hidden)
        tensors.add(f"{at}.1.layer_norm.weight", hidden)
    tensors.add("encoder.final_layer_norm.weight", hidden)
    tensors.add("shared.weight", vocabulary, hidden)
    config = {"architectures": ["T5EncoderModel"], "model_type": "t5", "vocab_size": vocabulary,
              "d_model": hidden, "d_kv": hidden // heads, "d_ff": 4 * hidden, "num_layers": layers,
              "num_heads": heads, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": True,
              "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
              "layer_norm_epsilon": 1e-6, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
              "tie_word_embeddings": False, "torch_dtype": "float32"}
    return {"README.md": "# A tiny T5 encoder with random weights\n", "config.json": as_json(config),
            "tokenizer.json": as_json(unigram(vocabulary)),
            "tokenizer_config.json": as_json({"tokenizer_class": "PreTrainedTokenizerFast", **T5_MARKS,
                                              "model_max_length": 512}),
            "special_tokens_map.json": as_json(T5_MARKS),
            **weight_files(tensors, [["encoder."], ["shared."]] if sharded else None)}


T5_MARKS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def unigram(count):
    signs = ["\u2581", *(sign for sign in string.printable if not sign.isspace())]
    words = [*T5_MARKS.values(), *signs]
    if count < len(words):
        raise ValueError(f"at least {len(words)} words")
    words += [f"<extra_{number}>" for number in range(count - len(words))]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for number, word in enumerate(T5_MARKS.values())],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": False,
                  "vocab": [[word, -float(number)] for number, word in enumerate(words)]}}


def write(folder, files):
    """`files` under `folder`; what is there already and the same is left as it is."""
    for name, content in files.items():
        path = Path(folder) / name
        data = content.encode() if isinstance(content, str) else content
        if path.exists() and path.stat().st_size == len(data) and path.read_bytes() == data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_demo(folder):
    write(Path(folder) / "models" / "demo" / "bert", bert())
    write(Path(folder) / "models" / "demo" / "t5-encoder", t5_encoder())
    write(Path(folder) / "datasets" / "demo" / "rows", {
        "README.md": "# Ten rows\n", "data/train.csv": "n,square\n" + "".join(f"{n},{n * n}\n" for n in range(10))})
