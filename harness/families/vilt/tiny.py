"""ViLT checkpoints with random weights, of both kinds, laid out as published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import normalizers, pre_tokenizers
from transformers import (
    BertTokenizer,
    ViltConfig,
    ViltForMaskedLM,
    ViltForQuestionAnswering,
    ViltImageProcessorPil,
    ViltProcessor,
)

from harness.families.tiny.initial import spread
from harness.families.tiny.tokenizer import CORPUS

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 128,
        "patch_size": 32,
    },
    "mini": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 64,
        "patch_size": 16,
    },
    "full": {},
}
_LABELS = ("yes", "no", "2", "red", "left", "map", "dog", "north")


def random_model(
    *,
    size: str = "full",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
    corpus: Sequence[str] = CORPUS,
) -> ViltForMaskedLM:
    """A model with random weights, made on its device and in its type, ready to answer.

    Args:
        size: "full", the published sizes (135,658,554 parameters), "mini" or "tiny" (about
            200,000).
        corpus: what the vocabulary is made of, unless it is published.
    """
    model: ViltForMaskedLM = _random(
        ViltForMaskedLM, _config(size, corpus), dtype=dtype, device=device, seed=seed
    )
    return model


def build(
    folder: Path, *, seed: int = 0, size: str = "tiny", corpus: Sequence[str] = CORPUS
) -> None:
    """Write a checkpoint for masked language modelling: config.json, preprocessor_config.json,
    model.safetensors and a small tokenizer.

    Args:
        size: "tiny", below 2 MB; "mini"; or "full", the published sizes, 0.5 GB. All in float32.
        corpus: the texts whose words the tokenizer has.
    """
    _save(folder, random_model(size=size, seed=seed, corpus=corpus), corpus)


def build_vqa(folder: Path, *, seed: int = 0, size: str = "tiny") -> None:
    """The same for a classifier: 8 labels if it is tiny; else 3,129, of which the first 8 have
    names."""
    labels = dict(enumerate(_LABELS))
    if size == "full":
        labels = {index: labels.get(index, f"label {index}") for index in range(3129)}
    config = _config(size, CORPUS, id2label=labels, label2id={v: k for k, v in labels.items()})
    _save(
        folder,
        _random(ViltForQuestionAnswering, config, dtype=torch.float32, device="cpu", seed=seed),
        CORPUS,
    )


def _config(size: str, corpus: Sequence[str], **fields: Any) -> ViltConfig:
    if size not in _SIZES:
        raise ValueError(f"no size {size!r}: there are {', '.join(_SIZES)}")
    if size != "full":
        fields["vocab_size"] = len(_tokenizer(corpus))
    config = ViltConfig(**_SIZES[size], **fields)
    # As published; the library's class does not take it as an argument.
    config.tie_word_embeddings = size != "full"
    return config


def _random(
    architecture: Any,
    config: ViltConfig,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    seed: int,
) -> Any:
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(seed)
        model = architecture._from_config(config, dtype=dtype)  # noqa: SLF001  # the only way to give a dtype
        if config.hidden_size == _SIZES["tiny"]["hidden_size"]:
            # The library's 0.02 makes all tokens almost equally likely at this width: answers would
            # be decided by rounding.
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.3)
        elif config.hidden_size == _SIZES["mini"]["hidden_size"]:
            spread(model)
    return model.eval()


def _save(folder: Path, model: Any, corpus: Sequence[str]) -> None:
    model.save_pretrained(folder)
    # Pictures are cut to whole patches, which are 32 pixels wide as published.
    pixels = ViltImageProcessorPil(
        size={"shortest_edge": model.config.image_size},
        size_divisor=model.config.patch_size,  # type: ignore[call-arg]  # it is taken by name
    )
    # Saved by the processor, for its name to stand in the tokenizer's file too.
    ViltProcessor(pixels, _tokenizer(corpus)).save_pretrained(folder)
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels.to_dict(), indent=2) + "\n")


def _tokenizer(corpus: Sequence[str]) -> BertTokenizer:
    """WordPiece in lower case, as BERT's: the words of the corpus, and characters for others."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words = {word for text in corpus for word, _ in split(normalizer.normalize_str(text))}
    characters = sorted({character for word in words for character in word})
    pieces = [*_SPECIAL, *characters, *(f"##{c}" for c in characters), *sorted(words)]
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(dict.fromkeys(pieces))})
