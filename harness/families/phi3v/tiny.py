"""Phi-3.5-vision checkpoints with random weights, in the published layout."""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerFast

from harness.families.phi3v.classes import Phi3VConfig, Phi3VForCausalLM
from harness.families.tiny.initial import spread
from harness.families.tiny.tokenizer import CORPUS, MINI_VOCABULARY, train_tokenizer

Size = Literal["tiny", "mini", "full"]

_SPECIAL = ["<unk>", "<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>"]
_SPECIAL += ["<|user|>", "<|image|>"]
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + "
    "'<|end|>\n' }}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != "
    "'assistant' %}{{- '<|assistant|>\n' -}}{% endif %}"
)
_SHAPES: dict[Size, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "projection_dim": 32,
        },
    },
    "mini": {
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vision_config": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 8,
            "projection_dim": 128,
        },
    },
    "full": {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
    },
}


def build(
    folder: Path, *, seed: int = 0, size: Size = "tiny", corpus: Sequence[str] = CORPUS
) -> None:
    """Write a checkpoint folder as the hub has it, file by file, code excepted.

    "tiny" takes under 2 MB. "full" is the published architecture in bfloat16: 8.3 GB. The
    tokenizer of a "mini", which sees a picture as a single crop, is trained on `corpus`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer(size, corpus)
    dtype = torch.bfloat16 if size == "full" else torch.float32
    model = random_model(size=size, dtype=dtype, seed=seed, corpus=corpus)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    # As published: the template and a class of their own in this file, padding on the right.
    words_file = folder / "tokenizer_config.json"
    _write(
        words_file,
        {
            **json.loads(words_file.read_text(encoding="utf-8")),
            "tokenizer_class": "LlamaTokenizer",
            "padding_side": "right",
            "chat_template": _CHAT_TEMPLATE,
        },
    )
    _write(folder / "config.json", {**_fields(size, words), "torch_dtype": str(dtype)[6:]})
    _write(
        folder / "generation_config.json",
        {
            "_from_model_config": True,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.convert_tokens_to_ids(["<|endoftext|>", "<|end|>"]),
            "pad_token_id": words.pad_token_id,
        },
    )
    _write(
        folder / "preprocessor_config.json",
        {
            "auto_map": {
                "AutoProcessor": "processing_phi3_v.Phi3VProcessor",
                "AutoImageProcessor": "processing_phi3_v.Phi3VImageProcessor",
            },
            "num_crops": 1 if size == "mini" else 4,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_processor_type": "Phi3VImageProcessor",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "processor_class": "Phi3VProcessor",
            "num_img_tokens": 144,
        },
    )


def random_model(
    *,
    size: Size = "full",
    dtype: torch.dtype = torch.bfloat16,
    device: str | torch.device = "cpu",
    seed: int = 0,
    corpus: Sequence[str] = CORPUS,
) -> Phi3VForCausalLM:
    """The architecture with random weights, made on `device`; for speed and memory, not answers."""
    words = tokenizer(size, corpus)
    config = Phi3VConfig.from_dict(_fields(size, words))
    on_gpu = torch.device(device).type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []), torch.device(device):
        torch.manual_seed(seed)
        model: Phi3VForCausalLM = Phi3VForCausalLM._from_config(config, dtype=dtype)  # noqa: SLF001  # the library's only way to choose a dtype
        if size == "tiny":
            # The library's 0.02 makes all tokens almost equally likely: answers would be decided by
            # rounding, and an equality of answers would mean nothing.
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.3)
        elif size == "mini":
            spread(model, common=True)
    model.generation_config.eos_token_id = words.convert_tokens_to_ids(["<|endoftext|>", "<|end|>"])
    return model.eval()


def tokenizer(size: Size = "tiny", corpus: Sequence[str] = CORPUS) -> PreTrainedTokenizerFast:
    """The published special tokens (with other ids), and byte pairs trained on the spot."""
    return train_tokenizer(
        special_tokens=_SPECIAL,
        corpus=corpus,
        vocab_size=MINI_VOCABULARY if size == "mini" else 512,
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        add_bos=True,
    )


def _fields(size: Size, words: PreTrainedTokenizerFast) -> dict[str, Any]:
    """config.json in the published form: RoPE of type "su", code named by `auto_map`."""
    shape = {"vocab_size": len(words), **_SHAPES[size]}
    half = shape["hidden_size"] // shape["num_attention_heads"] // 2
    # Straight lines between the ends of the published factors; a mini's text is short, and begins
    # from a language model without them.
    ends = ((1.0, 1.0), (1.0, 1.0)) if size == "mini" else ((1.05, 3.05), (1.03, 64.81))
    longest = 4096 if size == "mini" else 131072
    return {
        **shape,
        "model_type": "phi3_v",
        "architectures": ["Phi3VForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_phi3_v.Phi3VConfig",
            "AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM",
        },
        "img_processor": {
            "name": "clip_vision_model",
            "model_name": "openai/clip-vit-large-patch14-336",
            "image_dim_out": shape.get("vision_config", {}).get("hidden_size", 1024),
            "num_img_tokens": 144,
            # The last layer is not used as published; a mini has none to spare.
            **({"layer_idx": -1} if size == "mini" else {}),
        },
        "embd_layer": {
            "embedding_cls": "image",
            "hd_transform_order": "sub_glb",
            "projection_cls": "mlp",
            "use_hd_transform": True,
            "with_learnable_separator": True,
        },
        "attention_dropout": 0.0,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
        "image_token_id": words.convert_tokens_to_ids("<|image|>"),
        "hidden_act": "silu",
        "max_position_embeddings": longest,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0 if size == "mini" else 10000.0,
        "rope_scaling": {
            "type": "su",
            "short_factor": torch.linspace(*ends[0], half).tolist(),
            "long_factor": torch.linspace(*ends[1], half).tolist(),
        },
        "sliding_window": 262144,
        "tie_word_embeddings": False,
        "use_cache": True,
        "_attn_implementation": "flash_attention_2",
    }


def _write(path: Path, fields: dict[str, Any]) -> None:
    path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
