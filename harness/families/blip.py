"""BLIP: the caption that the model writes begins with the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.checkpoints.checkpoint import Checkpoint
from harness.families.family import ModelFamily, encode_nested


def _encode(
    processor: Any, text: str, images: Sequence[Any], **arguments: Any
) -> Mapping[str, Any]:
    """The question without the [SEP] that would end the caption."""
    inputs = encode_nested(processor, text, images, **arguments)
    if inputs["input_ids"][0, -1] != processor.tokenizer.sep_token_id:
        return inputs
    cut = {name: inputs[name][:, :-1] for name in ("input_ids", "attention_mask")}
    return {**inputs, **cut}


def _repair(network: Any, processor: Any, checkpoint: Checkpoint) -> None:
    """The class's `generate` cuts the last token from any prompt, and ends at [SEP] alone."""
    del processor, checkpoint
    from copy import deepcopy

    from torch.nn.functional import pad

    library = type(network).generate

    def generate(*, input_ids: Any, attention_mask: Any, **arguments: Any) -> Any:
        return library(
            network,
            input_ids=pad(input_ids, (0, 1)),
            attention_mask=pad(attention_mask, (0, 1)),
            **arguments,
        )

    network.generate = generate
    settings = deepcopy(network.generation_config)
    ends, end = settings.eos_token_id, network.config.text_config.sep_token_id
    listed = ends if isinstance(ends, list) else [ends]
    settings.eos_token_id = [*(token for token in listed if token not in {None, end}), end]
    network.generation_config = settings


FAMILY = ModelFamily(
    name="blip",
    title="BLIP",
    turn=lambda _images, text: text,
    max_images=1,
    needs_image=True,
    encode=_encode,
    repair=_repair,
    counts_padding=True,
    untrainable="its text decoder attends to the picture in every layer and writes captions",
)
