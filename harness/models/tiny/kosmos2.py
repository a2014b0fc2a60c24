"""KOSMOS-2 checkpoints with random weights, laid out as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    GenerationConfig,
    Kosmos2Config,
    Kosmos2ForConditionalGeneration,
    Kosmos2Processor,
    XLMRobertaTokenizer,
)

from harness.models.tiny.tokenizer import CORPUS

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
    "full": {},
}


def random_model(
    *,
    size: str = "full",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> Kosmos2ForConditionalGeneration:
    """A model with random weights, made on its device and in its type, ready to answer.

    Args:
        size: "full", the published sizes (1,664,485,376 parameters), or "tiny" (about 170,000).
    """
    device = torch.device(device)
    config = _config(size)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(seed)
        # The only way to give a dtype.
        model: Kosmos2ForConditionalGeneration = Kosmos2ForConditionalGeneration._from_config(  # noqa: SLF001
            config, dtype=dtype
        )
        if size == "tiny":
            _spread(model)
    return model.eval()


def build(folder: Path, *, seed: int = 0, size: str = "tiny") -> None:
    """Write config.json, generation_config.json, preprocessor_config.json, model.safetensors and a
    tokenizer trained on the spot.

    Args:
        size: "tiny", below 2 MB; or "full", the published sizes, 6.7 GB. Both in float32.
    """
    model = random_model(size=size, seed=seed)
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=2, pad_token_id=1)
    model.save_pretrained(folder, max_shard_size="10GB")
    # Saved by the processor, for its name to stand in the tokenizer's file too.
    Kosmos2Processor(CLIPImageProcessorPil(), _tokenizer()).save_pretrained(folder)
    (folder / "processor_config.json").unlink()
    side = model.config.vision_config.image_size
    pixels = CLIPImageProcessorPil(
        size={"height": side, "width": side}, crop_size={"height": side, "width": side}
    )
    published = {**pixels.to_dict(), "processor_class": "Kosmos2Processor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(published, indent=2) + "\n")


def _config(size: str) -> Kosmos2Config:
    if size not in _SIZES:
        raise ValueError(f"no size {size!r}: there are {', '.join(_SIZES)}")
    config = Kosmos2Config(**_SIZES[size])
    if size == "tiny":
        config.text_config.vocab_size = len(_tokenizer())
    return config


def _spread(model: Kosmos2ForConditionalGeneration) -> None:
    """Weights far enough apart that answers are not decided by rounding, as the library's 0.02
    would leave them at this width."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    # Tags and patch indices are most of the vocabulary; without these zeros they would be most of
    # the answers.
    with torch.no_grad():
        model.get_input_embeddings().weight[_tokenizer().convert_tokens_to_ids("</doc>") :] = 0


def _tokenizer() -> XLMRobertaTokenizer:
    """Unigrams in XLM-RoBERTa's order, then the tags and 1,024 patch indices of KOSMOS-2. What is
    not ASCII is unknown to it."""
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=400,
        special_tokens=list(_SPECIAL),
        unk_token="<unk>",
        initial_alphabet=[chr(code) for code in range(ord("!"), ord("~") + 1)],
        show_progress=False,
    )
    trained.train_from_iterator(CORPUS, trainer)
    pieces = [(piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"]]
    tokenizer = XLMRobertaTokenizer(vocab=[*pieces, ("<mask>", 0.0)])
    Kosmos2Processor(CLIPImageProcessorPil(), tokenizer)  # adds its tokens to the tokenizer
    return tokenizer
