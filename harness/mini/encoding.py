"""Training examples as tokens, labels and pixels.

An example is a prompt and the answer to learn. Its tokens and pixels are made by the model's own
`prepare`, so that training and evaluation get the same. Labels stand on the answer and the end
token alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from harness.core.types import Prompt
from harness.engine.encoded_prompts import per_token
from harness.mini.curriculum import RecallText
from harness.models.generative import GenerativeModel

IGNORE_INDEX = -100
"""The label of tokens that are not learned."""
_CHUNK = 64
"""Images that are encoded at a time."""


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """A prompt, and the answer to learn."""

    prompt: Prompt
    answer: str
    image_key: str
    """Names the prompt's image: examples with the same key share its pixels."""
    prefix: str = ""
    """Stands before the answer, without labels."""


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """An example or a text of the curriculum as tokens."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    """The model's other inputs with a column for each token of the prompt, (1, L, ...)."""
    image_key: str = ""


class Encoder:
    """Encodes examples for one model, and keeps the pixels of their images."""

    def __init__(self, model: GenerativeModel) -> None:
        self._model = model
        self._tokenizer: Any = model.tokenizer
        self._pad: int = model.tokenizer.pad_token_id
        self._pixels: dict[str, dict[str, Tensor]] = {}
        self._columns: dict[str, dict[str, Tensor]] = {}

    def text(self, text: RecallText, image_key: str = "") -> EncodedExample:
        """A text of the curriculum, with labels on its recalled spans.

        Args:
            image_key: an image that the model gets in addition; "": none.
        """
        tokens = self._tokenizer(text.text, add_special_tokens=False, return_offsets_mapping=True)
        labels = [IGNORE_INDEX] * len(tokens["input_ids"])
        starts = [start for start, _ in tokens["offset_mapping"]]
        for first, last in text.recalled:
            for place, start in enumerate(starts):
                # Some tokenizers count a word's space to it, some do not.
                if first <= start < last:
                    labels[place] = tokens["input_ids"][place]
        ids = tuple(tokens["input_ids"])
        columns = {
            name: column.expand(-1, len(ids), *column.shape[2:])
            for name, column in self._columns.get(image_key, {}).items()
        }
        return EncodedExample(ids, tuple(labels), columns, image_key)

    def example(self, example: TrainingExample) -> EncodedExample:
        """A prompt with an image, with labels on its answer."""
        (prepared,) = self._model.prepare([example.prompt])
        inputs, ids = prepared.inputs, prepared.inputs["input_ids"][0].tolist()
        columns = {
            name: inputs[name]
            for name in per_token(inputs)
            if name not in {"input_ids", "attention_mask"}
        }
        last = {name: values[:, -1:] for name, values in columns.items()}
        self._columns[example.image_key] = last
        if example.image_key not in self._pixels:
            # Kept with half the bits, as exactly as pixels of eight bits need.
            others = [n for n in inputs if n not in {*columns, "input_ids", "attention_mask"}]
            self._pixels[example.image_key] = {
                name: inputs[name].half() if inputs[name].is_floating_point() else inputs[name]
                for name in others
            }
        tokens = self._tokenizer(
            example.prefix + example.answer, add_special_tokens=False, return_offsets_mapping=True
        )
        completion = [*tokens["input_ids"], self._tokenizer.eos_token_id]
        prefix = sum(end <= len(example.prefix) for _, end in tokens["offset_mapping"])
        labels = [*[IGNORE_INDEX] * (len(ids) + prefix), *completion[prefix:]]
        return EncodedExample((*ids, *completion), tuple(labels), columns, example.image_key)

    def batch(self, rows: Sequence[EncodedExample]) -> tuple[dict[str, Tensor], Tensor]:
        """The model's inputs and the labels, (B, L), padded on the right, where a causal model does
        not attend. All rows have an image, or none has."""
        width = max(len(row.ids) for row in rows)
        inputs = {"input_ids": padded([row.ids for row in rows], self._pad)}
        for name in rows[0].columns:
            # After the prompt everything is as at its last token.
            columns = [row.columns[name] for row in rows]
            inputs[name] = torch.cat(
                [torch.cat([c, *[c[:, -1:]] * (width - c.shape[1])], dim=1) for c in columns]
            )
        if rows[0].image_key:
            inputs |= self.pixels([row.image_key for row in rows])
        return inputs, padded([row.labels for row in rows], IGNORE_INDEX)

    @property
    def image_keys(self) -> Sequence[str]:
        """The images of all examples so far."""
        return tuple(self._columns)

    @torch.no_grad()
    def freeze(self, encode: Callable[[Mapping[str, Tensor]], Tensor]) -> None:
        """Encode every image now, and give the model its features in place of its pixels."""
        keys = sorted(key for key, kept in self._pixels.items() if "image_features" not in kept)
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            for key, features in zip(chunk, encode(self.pixels(chunk)), strict=True):
                self._pixels[key] = {"image_features": features[None]}

    def pixels(self, image_keys: Sequence[str]) -> dict[str, Tensor]:
        """What the processor made of the images, as one batch."""
        each = [self._pixels[key] for key in image_keys]
        joined = {name: torch.cat([one[name] for one in each]) for name in each[0]}
        return {n: t.float() if t.is_floating_point() else t for n, t in joined.items()}


def target_loss(network: Any, inputs: Mapping[str, Tensor], labels: Tensor) -> tuple[Tensor, int]:
    """The summed negative log-likelihood of all labels, and their number. Logits are computed only
    where there are labels."""
    learned = labels[:, 1:] != IGNORE_INDEX  # (B, L - 1)

    def only_labelled(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        return (arguments[0][:, :-1][learned],)

    handle = network.get_output_embeddings().register_forward_pre_hook(only_labelled)
    try:
        logits = network(**inputs, use_cache=False).logits  # (targets, vocabulary)
    finally:
        handle.remove()
    wanted = labels[:, 1:][learned]
    return F.cross_entropy(logits.float(), wanted, reduction="sum"), len(wanted)


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """(B, L) of the longest row."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
