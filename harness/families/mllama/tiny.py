"""Llama 3.2 Vision checkpoints with random weights, laid out as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import transformers
from transformers import PreTrainedTokenizerFast

from harness.families.mllama.trained_state import VISION_STATE
from harness.families.tiny import decoder
from harness.families.tiny.tokenizer import CORPUS, MINI_VOCABULARY, train_tokenizer


def _mllama_tokenizer(size: str, corpus: Sequence[str]) -> PreTrainedTokenizerFast:
    tokenizer = train_tokenizer(
        corpus=corpus,
        vocab_size=MINI_VOCABULARY if size == "mini" else 512,
        special_tokens=[
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|eot_id|>",
            "<|finetune_right_pad_id|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
        ],
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        add_bos=True,
    )
    # The placeholder is one past the vocabulary: the embedding has 8 more rows, the head none.
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    return tokenizer


def mllama_config(tokenizer: PreTrainedTokenizerFast, size: str) -> Any:
    """The configuration of Llama 3.2 Vision 11B, or of a small one like it."""
    shapes = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]
    tiles = _mllama_tiles(size)
    shapes = [shape for shape in shapes if shape[0] * shape[1] <= tiles]
    vision = {**_MLLAMA_VISION[size], "max_num_tiles": tiles, "supported_aspect_ratios": shapes}
    text = _MLLAMA_TEXT[size]
    return transformers.MllamaConfig(
        vision_config=vision,
        text_config={
            **decoder.ids(tokenizer),
            "vocab_size": len(tokenizer) - 1,
            **text,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        image_token_index=decoder.token_id(tokenizer, "<|image|>"),
    )


_MLLAMA_VISION: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "full": {"image_size": 560, "patch_size": 14},  # the rest is the library's
        "mini": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 256,
            # The recipe of the shipped mini was found with it.
            VISION_STATE: "after",
        },
        "tiny": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "intermediate_layers_indices": [0],
            "vision_output_dim": 64,
        },
    }
)
_MLLAMA_TEXT: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "full": {
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
            "max_position_embeddings": 131072,
            "vocab_size": 128256,
        },
        "mini": {
            **decoder.TEXT,
            **decoder.MINI_TEXT,
            "num_hidden_layers": 6,
            "cross_attention_layers": [1, 4],
        },
        "tiny": {**decoder.TEXT, "num_hidden_layers": 3, "cross_attention_layers": [1]},
    }
)


def _mllama_tiles(size: str) -> int:
    """Most tiles that a picture is cut into."""
    return 1 if size == "mini" else 4


def build(
    folder: Path, *, seed: int = 0, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> None:
    """Llama 3.2 vision, which LLaVA-CoT is: cross-attention, one placeholder a picture."""
    tokenizer = _mllama_tokenizer(size, corpus)
    config = mllama_config(tokenizer, size)
    side = config.vision_config.image_size
    processor = transformers.MllamaProcessor(
        image_processor=transformers.MllamaImageProcessorPil(
            size={"height": side, "width": side}, max_image_tiles=_mllama_tiles(size)
        ),
        tokenizer=tokenizer,
    )
    architecture = transformers.MllamaForConditionalGeneration
    decoder.save(folder, architecture, config, processor, seed=seed, size=size)
