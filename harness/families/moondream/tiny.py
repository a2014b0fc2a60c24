"""Moondream checkpoints with random weights, laid out as published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from harness.families.moondream.classes import MoondreamConfig, MoondreamForConditionalGeneration
from harness.families.tiny.initial import spread
from harness.families.tiny.tokenizer import CORPUS, MINI_VOCABULARY, train_tokenizer

_PUBLISHED: dict[str, Any] = {
    "architectures": ["Moondream"],
    "auto_map": {
        "AutoConfig": "configuration_moondream.MoondreamConfig",
        "AutoModelForCausalLM": "moondream.Moondream",
    },
    "model_type": "moondream1",
    "text_config": {"model_type": "phi"},
}
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        "text_config": {
            "model_type": "phi",
            "vocab_size": 512,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            # The library's 0.02 makes all tokens almost equally likely at this width: answers
            # would be decided by rounding.
            "initializer_range": 0.3,
        },
        "projector_hidden_size": 64,
        "image_token_id": 511,
    },
    "mini": {
        "vision_config": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
        },
        "text_config": {
            "model_type": "phi",
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 1024,
        },
        "projector_hidden_size": 256,
    },
    "full": {},
}


def random_model(
    *,
    size: str = "full",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
    corpus: Sequence[str] = CORPUS,
) -> MoondreamForConditionalGeneration:
    """A model with random weights, made on its device and in its type, ready to answer.

    Args:
        size: "full", the published sizes (1,866,919,792 parameters), "mini" or "tiny" (about
            180,000).
        corpus: what the vocabulary of a mini is made of.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(seed)
        config = MoondreamConfig(**_fields(size, corpus))
        # The only way to give a dtype.
        model: MoondreamForConditionalGeneration = MoondreamForConditionalGeneration._from_config(  # noqa: SLF001
            config, dtype=dtype
        )
        if size == "mini":
            spread(model)
    model.eval()
    return model


def build(
    folder: Path, *, seed: int = 0, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> None:
    """Write config.json, generation_config.json, model.safetensors and a tokenizer trained on the
    spot. There is no preprocessor_config.json, as in the published folder.

    Args:
        size: "tiny", below 2 MB in float32; "mini"; or "full", the published sizes in float16,
            3.7 GB.
        corpus: what the tokenizer is trained on.
    """
    dtype = torch.float16 if size == "full" else torch.float32
    model = random_model(size=size, dtype=dtype, seed=seed, corpus=corpus)
    tokenizer = _tokenizer(size, corpus)
    end = tokenizer.eos_token_id
    model.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=end)
    model.save_pretrained(folder, max_shard_size="10GB")
    tokenizer.save_pretrained(folder)
    config = {**_fields(size, corpus), "torch_dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _fields(size: str, corpus: Sequence[str]) -> dict[str, Any]:
    if size not in _SIZES:
        raise ValueError(f"no size {size!r}: there are {', '.join(_SIZES)}")
    fields = {**_PUBLISHED, **_SIZES[size]}
    if size == "mini":
        # One token after the tokenizer's own, for the image.
        words = len(_tokenizer(size, corpus))
        fields["text_config"] = {**fields["text_config"], "vocab_size": words + 1}
        fields["image_token_id"] = words
    return fields


def _tokenizer(size: str, corpus: Sequence[str]) -> PreTrainedTokenizerFast:
    """Like the published one it has a single special token, for beginning and end, and none for
    padding or for images."""
    end = "<|endoftext|>"
    return train_tokenizer(
        special_tokens=[end],
        corpus=corpus,
        vocab_size=MINI_VOCABULARY if size == "mini" else 500,
        bos_token=end,
        eos_token=end,
        unk_token=end,
    )
