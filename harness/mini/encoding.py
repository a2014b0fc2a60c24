"""Training examples as tokens, labels and pixels.

An example is a prompt and the answer to learn. Its tokens and pixels are made by the model's own
`prepare`, so that training and evaluation get the same. Labels stand on the answer and the end
token alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from distill.training.network import Network, Sequences
from harness.core.types import Prompt
from harness.engine.encoded_prompts import EncodedPrompt, per_token
from harness.families import family_of
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
    places: Sequence[bool] = ()
    """Where image features stand; empty without an image."""


class Encoder:
    """Encodes examples for one model, and keeps the pixels of their images or, while its vision
    encoder is frozen, its features of them."""

    def __init__(self, model: GenerativeModel) -> None:
        self._model = model
        self._tokenizer: Any = model.tokenizer
        self._pad: int = model.tokenizer.pad_token_id
        self._network = Network(model.network, family_of(model.network.config.model_type))
        self._prompts: dict[str, EncodedPrompt] = {}
        self._columns: dict[str, dict[str, Tensor]] = {}
        self._features: dict[str, Tensor] = {}

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
        if example.image_key not in self._prompts:
            # Kept with half the bits, as exactly as pixels of eight bits need.
            pixels = {n: t.half() for n, t in inputs.items() if t.is_floating_point()}
            self._prompts[example.image_key] = replace(prepared, inputs={**inputs, **pixels})
        tokens = self._tokenizer(
            example.prefix + example.answer, add_special_tokens=False, return_offsets_mapping=True
        )
        completion = [*tokens["input_ids"], self._tokenizer.eos_token_id]
        prefix = sum(end <= len(example.prefix) for _, end in tokens["offset_mapping"])
        labels = [*[IGNORE_INDEX] * (len(ids) + prefix), *completion[prefix:]]
        places = (*self._network.places(prepared).tolist(), *[False] * len(completion))
        return EncodedExample(
            (*ids, *completion), tuple(labels), columns, example.image_key, places
        )

    def loss(self, rows: Sequence[EncodedExample]) -> tuple[Tensor, int]:
        """The summed negative log-likelihood of all labels, and their number. All rows have an
        image, or none has."""
        if self._features and rows[0].image_key:
            return self._loss_of_features(rows)
        return target_loss(self._network.model, *self.batch(rows))

    def batch(self, rows: Sequence[EncodedExample]) -> tuple[dict[str, Tensor], Tensor]:
        """The model's inputs and the labels, (B, L), padded on the right, where a causal model does
        not attend."""
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
    def freeze(self) -> None:
        """Encode every image now; until `thaw` its features take the place of its pixels."""
        keys = sorted(self._prompts.keys() - self._features.keys())
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            features = self._network.encode_images([self._prompts[key] for key in chunk])
            self._features |= zip(chunk, features, strict=True)

    def thaw(self) -> None:
        """Forget the features: the vision encoder is trained."""
        self._features = {}

    def pixels(self, image_keys: Sequence[str]) -> dict[str, Tensor]:
        """What the processor made of the images, as one batch."""
        each = [self._prompts[key].inputs for key in image_keys]
        columns = {*per_token(each[0]), "input_ids", "attention_mask"}
        joined = {n: torch.cat([one[n] for one in each]) for n in each[0] if n not in columns}
        return {n: t.float() if t.is_floating_point() else t for n, t in joined.items()}

    def _loss_of_features(self, rows: Sequence[EncodedExample]) -> tuple[Tensor, int]:
        ids = padded([row.ids for row in rows], self._pad)
        labels = padded([row.labels for row in rows], IGNORE_INDEX)
        positions = self._network.positions(self._prompts[rows[0].image_key], ids.shape[1])
        sequences = Sequences(
            ids=ids,
            places=padded([row.places for row in rows], 0),
            positions=None if positions is None else positions.repeat(len(rows), 1),
        )
        features = [self._features[row.image_key] for row in rows]
        hidden = self._network.hidden_states(sequences, features, range(len(rows)))
        learned = labels[:, 1:] != IGNORE_INDEX
        return _summed(self._network.head(hidden[:, :-1][learned]), labels[:, 1:][learned])


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
    return _summed(logits, labels[:, 1:][learned])


def _summed(logits: Tensor, wanted: Tensor) -> tuple[Tensor, int]:
    return F.cross_entropy(logits.float(), wanted, reduction="sum"), len(wanted)


def padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """(B, L) of the longest row."""
    tensors = [torch.tensor(row) for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)
