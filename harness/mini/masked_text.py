"""ViLT's training examples: masked words, in the prompts by which it scores a choice.

It generates no text, so it learns neither to write captions nor to look up options: of a caption
some words are masked; of a question, the right choice. The others are not shown, as in evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from harness.core.types import Prompt
from harness.families.vilt.model import Vilt
from harness.mini.encoding import IGNORE_INDEX, TrainingExample, padded
from harness.synthetic.scenes import GRID

_MASKED_FRACTION = 0.3
"""Of a caption's words."""


@dataclass(frozen=True, slots=True)
class MaskedText:
    """A text with masks, and the tokens that belong there."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    """IGNORE_INDEX where there is no mask."""
    image_key: str


class MaskedTextEncoder:
    """Encodes examples for one ViLT, and keeps the pixels of their images."""

    def __init__(self, model: Vilt) -> None:
        self._model = model
        self._tokenizer = model.tokenizer
        self._max_words: int = model.network.config.max_position_embeddings - 2
        self._pixels: dict[str, Tensor] = {}

    def choice(self, example: TrainingExample) -> MaskedText:
        """The right choice, a mask for each of its tokens."""
        prompt = example.prompt
        (question,) = self._model.prepare([prompt])
        self._pixels.setdefault(example.image_key, question.pixels.half())
        target = question.targets[prompt.choices.index(example.answer)]
        ids = question.texts[len(target)]
        labels = [IGNORE_INDEX] * len(ids)
        labels[-1 - len(target) : -1] = target  # the masks stand at the end, before [SEP]
        return MaskedText(ids, tuple(labels), example.image_key)

    def caption(self, example: TrainingExample) -> MaskedText:
        """The caption without masks; `masked` masks other words each time."""
        (question,) = self._model.prepare(
            [Prompt(text="", question="", images=example.prompt.images)]
        )
        self._pixels.setdefault(example.image_key, question.pixels.half())
        words = self._tokenizer(example.answer, add_special_tokens=False)["input_ids"][
            : self._max_words
        ]
        ids = (self._tokenizer.cls_token_id, *words, self._tokenizer.sep_token_id)
        return MaskedText(ids, (IGNORE_INDEX,) * len(ids), example.image_key)

    def masked(self, row: MaskedText, rng: Random) -> MaskedText:
        """The text with some of its words masked, one at least."""
        inner = range(1, len(row.ids) - 1)
        places = {p for p in inner if rng.random() < _MASKED_FRACTION} or {rng.choice(inner)}
        mask = self._tokenizer.mask_token_id
        return MaskedText(
            tuple(mask if place in places else token for place, token in enumerate(row.ids)),
            tuple(t if place in places else IGNORE_INDEX for place, t in enumerate(row.ids)),
            row.image_key,
        )

    def loss(self, rows: Sequence[MaskedText]) -> tuple[Tensor, int]:
        """The summed negative log-likelihood of the masked tokens, and their number."""
        network: Any = self._model.network
        ids = padded([row.ids for row in rows], self._tokenizer.pad_token_id)
        labels = padded([row.labels for row in rows], IGNORE_INDEX)
        hidden = network.vilt(
            input_ids=ids,
            attention_mask=padded([[1] * len(row.ids) for row in rows], 0),
            **self.pixels([row.image_key for row in rows]),
        ).last_hidden_state[:, : ids.shape[1]]
        learned = labels != IGNORE_INDEX
        logits = network.mlm_score(hidden[learned])
        return F.cross_entropy(logits, labels[learned], reduction="sum"), int(learned.sum())

    def pixels(self, image_keys: Sequence[str]) -> dict[str, Tensor]:
        """What the processor made of the images, as one batch."""
        values = torch.cat([self._pixels[key] for key in image_keys]).float()
        return {
            "pixel_values": values,
            "pixel_mask": torch.ones_like(values[:, 0], dtype=torch.long),
        }


def patch_states(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    """The last hidden states of image patches without a text, (N, cells, D), row by row.

    The library shuffles the patches and returns their places.
    """
    embedded, mask, (index, _) = network.vilt.embeddings.visual_embed(
        pixels["pixel_values"],
        pixels["pixel_mask"],
        max_image_length=network.config.max_image_length,
    )
    empty = torch.zeros(len(embedded), 1, dtype=torch.long)
    hidden = network.vilt(
        input_ids=empty, attention_mask=empty, image_embeds=embedded, pixel_mask=mask
    ).last_hidden_state[:, 2:]  # after the text and the class token
    places = (index[..., 0] * GRID + index[..., 1]).argsort(dim=1)  # (N, cells)
    ordered: Tensor = hidden.gather(1, places[..., None].expand_as(hidden))
    return ordered
