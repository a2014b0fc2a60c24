"""KOSMOS-2 checkpoints with random weights, laid out as published."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPImageProcessorPil,
    GenerationConfig,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    Kosmos2Processor,
    XLMRobertaTokenizer,
)

from harness.families.tiny.initial import spread
from harness.families.tiny.tokenizer import CORPUS

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""Ids 0 to 3. The ids that follow are ordinary pieces, and stand in for the image tokens."""
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "text_config": {"embed_dim": 48, "layers": 2, "ffn_dim": 96, "attention_heads": 4},
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        "latent_query_num": 8,
    },
    "mini": {
        "text_config": {"embed_dim": 128, "layers": 4, "ffn_dim": 256, "attention_heads": 4},
        "vision_config": {
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
        },
        "latent_query_num": 16,
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
) -> Kosmos2ForConditionalGeneration:
    """A model with random weights, made on its device and in its type, ready to answer.

    Args:
        size: "full", the published sizes (1,664,485,376 parameters), "mini" or "tiny" (about
            144,000).
        corpus: what the vocabulary is made of, unless it is published.
    """
    device = torch.device(device)
    config = _config(size, corpus)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(seed)
        # The only way to give a dtype.
        model: Kosmos2ForConditionalGeneration = Kosmos2ForConditionalGeneration._from_config(  # noqa: SLF001
            config, dtype=dtype
        )
        if size == "tiny":
            _spread(model)
        elif size == "mini":
            spread(model)
    return model.eval()


def build(
    folder: Path, *, seed: int = 0, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> None:
    """Write config.json, generation_config.json, preprocessor_config.json, model.safetensors and a
    small tokenizer.

    Args:
        size: "tiny", below 2 MB; "mini"; or "full", the published sizes, 6.7 GB. All in float32.
        corpus: the texts whose words the tokenizer has.
    """
    model = random_model(size=size, seed=seed, corpus=corpus)
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=2, pad_token_id=1)
    model.save_pretrained(folder, max_shard_size="10GB")
    # Saved by the processor, for its name to stand in the tokenizer's file too.
    Kosmos2Processor(CLIPImageProcessorPil(), _tokenizer(corpus)).save_pretrained(folder)
    (folder / "processor_config.json").unlink()
    config: Any = model.config
    side = config.vision_config.image_size
    pixels = CLIPImageProcessorPil(
        size={"height": side, "width": side}, crop_size={"height": side, "width": side}
    )
    published = {**pixels.to_dict(), "processor_class": "Kosmos2Processor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(published, indent=2) + "\n")


def _config(size: str, corpus: Sequence[str]) -> Kosmos2Config:
    if size not in _SIZES:
        raise ValueError(f"no size {size!r}: there are {', '.join(_SIZES)}")
    fields = {**_SIZES[size]}
    if size != "full":
        fields["text_config"] = {**fields["text_config"], "vocab_size": len(_tokenizer(corpus))}
    return Kosmos2Config(**fields)


def _spread(model: Kosmos2ForConditionalGeneration) -> None:
    """Weights far enough apart that answers are not decided by rounding, as the library's 0.02
    would leave them at this width."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.6)
    # The embedding is the head too: a token's own part in it must not outweigh all else, or the
    # last token is repeated. Tags and patch indices are most of the vocabulary; without zeros they
    # would be most of the answers.
    embedding: torch.nn.Parameter = model.get_parameter("text_model.model.embed_tokens.weight")
    torch.nn.init.normal_(embedding, std=0.1)
    torch.nn.init.zeros_(embedding[_tokenizer().convert_tokens_to_ids("</doc>") :])


def _tokenizer(corpus: Sequence[str] = CORPUS) -> XLMRobertaTokenizer:
    """Unigrams in XLM-RoBERTa's order: the words of the corpus, and ASCII characters for others;
    then the tags and the 1,024 patch indices of KOSMOS-2."""
    words = sorted(
        {f"\u2581{word}" for text in corpus for word in re.findall(r"\w+", text)}
        | {f"\u2581{word}" for text in CORPUS for word in text.split()}
    )
    characters = ["\u2581", *map(chr, range(ord("!"), ord("~") + 1))]
    pieces = [*((word, -6.0) for word in words), *((c, -9.0) for c in characters)]
    special = [(token, 0.0) for token in _SPECIAL]
    tokenizer = XLMRobertaTokenizer(vocab=[*special, *dict(pieces).items(), ("<mask>", 0.0)])
    Kosmos2Processor(CLIPImageProcessorPil(), tokenizer)  # adds its tokens to the tokenizer
    return tokenizer
