"""ViLT's lessons: words behind masks, asked just as its adapter asks when it scores a choice.

It writes no text, so there are no captions to write and no options to look up: of a caption some
words are masked; of a question, the right choice. The others are not shown, as in evaluation.
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
from harness.mini.training import IGNORED, Lesson, padded
from harness.models.vilt import Vilt
from harness.synthetic.scenes import GRID

_MASKED = 0.3
"""Share of a caption's words that are masked."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A text with masks, and what belongs at them."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    """IGNORED where there is no mask."""
    picture: str


class MaskEncoder:
    """Makes texts with masks for one ViLT, and keeps the pixels of their pictures."""

    def __init__(self, model: Vilt) -> None:
        self._model = model
        self._tokenizer = model.tokenizer
        self._room: int = model.network.config.max_position_embeddings - 2
        self._pixels: dict[str, Tensor] = {}

    def choice(self, lesson: Lesson) -> Filled:
        """The right choice at as many masks as it has tokens."""
        prompt = lesson.prompt
        (question,) = self._model.prepare([prompt])
        self._pixels.setdefault(lesson.picture, question.pixels.half())
        target = question.targets[prompt.choices.index(lesson.answer)]
        ids = question.texts[len(target)]
        labels = [IGNORED] * len(ids)
        labels[-1 - len(target) : -1] = target  # the masks stand at the end, before [SEP]
        return Filled(ids, tuple(labels), lesson.picture)

    def caption(self, lesson: Lesson) -> Filled:
        """The caption, all of it to be seen; `masked` masks it anew each time."""
        (question,) = self._model.prepare(
            [Prompt(text="", question="", images=lesson.prompt.images)]
        )
        self._pixels.setdefault(lesson.picture, question.pixels.half())
        words = self._tokenizer(lesson.answer, add_special_tokens=False)["input_ids"][: self._room]
        ids = (self._tokenizer.cls_token_id, *words, self._tokenizer.sep_token_id)
        return Filled(ids, (IGNORED,) * len(ids), lesson.picture)

    def masked(self, row: Filled, chance: Random) -> Filled:
        """Some of the words masked, one at least."""
        inner = range(1, len(row.ids) - 1)
        places = {p for p in inner if chance.random() < _MASKED} or {chance.choice(inner)}
        mask = self._tokenizer.mask_token_id
        return Filled(
            tuple(mask if place in places else token for place, token in enumerate(row.ids)),
            tuple(t if place in places else IGNORED for place, t in enumerate(row.ids)),
            row.picture,
        )

    def loss(self, rows: Sequence[Filled]) -> tuple[Tensor, int]:
        """The summed negative log-likelihood of what is behind the masks, and their number."""
        network: Any = self._model.network
        ids = padded([row.ids for row in rows], self._tokenizer.pad_token_id)
        labels = padded([row.labels for row in rows], IGNORED)
        hidden = network.vilt(
            input_ids=ids,
            attention_mask=padded([[1] * len(row.ids) for row in rows], 0),
            **self.pixels([row.picture for row in rows]),
        ).last_hidden_state[:, : ids.shape[1]]
        learned = labels != IGNORED
        logits = network.mlm_score(hidden[learned])
        return F.cross_entropy(logits, labels[learned], reduction="sum"), int(learned.sum())

    def pixels(self, pictures: Sequence[str]) -> dict[str, Tensor]:
        """What the processor made of the pictures, as one batch."""
        values = torch.cat([self._pixels[picture] for picture in pictures]).float()
        return {
            "pixel_values": values,
            "pixel_mask": torch.ones_like(values[:, 0], dtype=torch.long),
        }


def patches(network: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    """What the encoder makes of the patches of pictures without a text, (N, cells, D), row by row.

    The library shuffles the patches and says how.
    """
    embedded, mask, (index, _) = network.vilt.embeddings.visual_embed(
        pixels["pixel_values"],
        pixels["pixel_mask"],
        max_image_length=network.config.max_image_length,
    )
    empty = torch.zeros(len(embedded), 1, dtype=torch.long)
    hidden = network.vilt(
        input_ids=empty, attention_mask=empty, image_embeds=embedded, pixel_mask=mask
    ).last_hidden_state[:, 2:]  # behind the text and the class token
    places = (index[..., 0] * GRID + index[..., 1]).argsort(dim=1)  # (N, cells)
    ordered: Tensor = hidden.gather(1, places[..., None].expand_as(hidden))
    return ordered
