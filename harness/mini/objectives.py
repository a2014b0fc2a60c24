"""The training objectives of the minis: what each step of a stage adds to the loss.

A causal model predicts answers, and recalled spans of texts; ViLT predicts masked words. Both align
their image tokens with the names of what the images show.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.families import family_of
from harness.families.engine_traits import CrossAttention
from harness.families.vilt.model import Vilt
from harness.mini import curriculum, examples, image_alignment, masked_text
from harness.mini.encoding import EncodedExample, Encoder
from harness.mini.examples import TrainingQuestions
from harness.mini.masked_text import MaskedText, MaskedTextEncoder
from harness.mini.training_loop import EndlessBatches, Stage
from harness.models.generative import GenerativeModel
from harness.synthetic.scenes import Scene

CELLS = "cells"
"""The kind of example that trains the vision encoder alone, by `image_alignment`."""
FEW_WORDS = 64
"""Words of the curriculum's first texts."""
Losses = Callable[[], Iterator[tuple[Tensor, int]]]
"""Makes the parts of a step's loss: each a sum over targets, and their number."""


class Objective(Protocol):
    """The losses of a stage's examples."""

    def losses(self, stage: Stage, rng: Random) -> Losses:
        """A function that makes the parts of each step's loss."""


class CausalObjective:
    """Next-token prediction, for models that generate text."""

    def __init__(
        self, model: GenerativeModel, questions: TrainingQuestions, texts: Sequence[str]
    ) -> None:
        family = family_of(model.network.config.model_type)
        if family.cell_tokens is None:
            raise ValueError(f"{family.title} has no minis")
        self._cell_tokens = family.cell_tokens
        self._cross_attends = isinstance(family.engine, CrossAttention)
        self._model = model
        self._questions = questions
        self._words = curriculum.words_of(texts)
        # The first texts are easier with words of one token.
        single = [
            word
            for word in self._words
            if len(model.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) == 1
        ]
        self._few = single[:: max(1, len(single) // FEW_WORDS)][:FEW_WORDS]
        self._encoder = Encoder(model)
        self._rows: dict[str, list[EncodedExample]] = {}

    def losses(self, stage: Stage, rng: Random) -> Losses:
        texts = {kind: n for kind, n in stage.mix.items() if kind in curriculum.KINDS}
        with_images = [
            (EndlessBatches(self._examples(kind), rng), number)
            for kind, number in stage.mix.items()
            if kind in examples.KINDS
        ]
        cells = self._cells(stage.mix[CELLS], rng) if CELLS in stage.mix else None
        if stage.frozen:
            self._encoder.freeze()
        else:
            self._encoder.thaw()

        # With an image cross-attention runs a text through more layers, and these forget what they
        # are trained on without images only.
        adds_images = with_images and self._cross_attends
        image_keys = self._encoder.image_keys if adds_images else ()

        def parts() -> Iterator[tuple[Tensor, int]]:
            if texts:
                made = [
                    curriculum.KINDS[kind](
                        rng, self._few if index < stage.few * number else self._words
                    )
                    for kind, number in texts.items()
                    for index in range(number)
                ]
                yield self._encoder.loss(
                    [
                        self._encoder.text(text, rng.choice(image_keys) if image_keys else "")
                        for text in made
                    ]
                )
            for batches, number in with_images:
                yield self._encoder.loss(batches(number))
            if cells:
                yield cells.loss(), 1

        return parts

    def _cells(self, number: int, rng: Random) -> _CellAlignment:
        self._examples("caption")  # the encoder has all images from then on
        network: Any = self._model.network
        tokens, neighbours = self._cell_tokens, self._cross_attends

        def make_loss(names: Sequence[str]) -> LabelLoss:
            embeddings = image_alignment.name_embeddings(network, self._model.tokenizer, names)
            if neighbours:
                size = image_alignment.neighbour_size(names)
                more = image_alignment.neighbour_vectors(size, embeddings)
                embeddings = torch.cat([embeddings, more])
            return lambda keys, labels: image_alignment.alignment_loss(
                tokens(network, self._encoder.pixels(keys)), labels, embeddings
            )

        labels_of = (
            image_alignment.cell_and_neighbour_labels if neighbours else image_alignment.cell_labels
        )
        return _CellAlignment(make_loss, self._questions, number, rng, labels_of)

    def _examples(self, kind: str) -> list[EncodedExample]:
        if kind not in self._rows:
            # One by one: the images of all examples together would take gigabytes.
            made = examples.make_examples(self._questions, kind, _wording_rng(kind))
            self._rows[kind] = [self._encoder.example(example) for example in made]
        return self._rows[kind]


class MaskedObjective:
    """Prediction of masked words, for ViLT."""

    def __init__(self, model: Vilt, questions: TrainingQuestions, texts: Sequence[str]) -> None:
        del texts
        self._model = model
        self._questions = questions
        self._encoder = MaskedTextEncoder(model)
        self._rows: dict[str, list[MaskedText]] = {}

    def losses(self, stage: Stage, rng: Random) -> Losses:
        with_images = [
            (kind, EndlessBatches(self._examples(kind), rng), number)
            for kind, number in stage.mix.items()
            if kind in examples.KINDS
        ]
        cells = self._cells(stage.mix[CELLS], rng) if CELLS in stage.mix else None

        def parts() -> Iterator[tuple[Tensor, int]]:
            for kind, batches, number in with_images:
                rows = batches(number)
                if kind == "caption":
                    rows = [self._encoder.masked(row, rng) for row in rows]
                yield self._encoder.loss(rows)
            if cells:
                yield cells.loss(), 1

        return parts

    def _cells(self, number: int, rng: Random) -> _CellAlignment:
        self._examples("caption")
        network: Any = self._model.network

        def make_loss(names: Sequence[str]) -> LabelLoss:
            tokenizer = self._model.tokenizer
            ids = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in names]

            def naming_loss(keys: Sequence[str], labels: Tensor) -> Tensor:
                states = masked_text.patch_states(network, self._encoder.pixels(keys))
                return image_alignment.naming_loss(network.mlm_score(states), labels, ids)

            return naming_loss

        return _CellAlignment(make_loss, self._questions, number, rng)

    def _examples(self, kind: str) -> list[MaskedText]:
        if kind not in self._rows:
            make = self._encoder.caption if kind == "caption" else self._encoder.choice
            made = examples.make_examples(self._questions, kind, _wording_rng(kind))
            self._rows[kind] = [make(example) for example in made]
        return self._rows[kind]


LabelLoss = Callable[[Sequence[str], Tensor], Tensor]
"""(image keys, labels of their cells) -> loss."""


class _CellAlignment:
    """Aligns the image tokens of random images with the labels of their cells."""

    def __init__(
        self,
        make_loss: Callable[[Sequence[str]], LabelLoss],
        questions: TrainingQuestions,
        number: int,
        rng: Random,
        labels_of: Callable[[Scene, Sequence[str]], Tensor] = image_alignment.cell_labels,
    ) -> None:
        self._number = number
        self._rng = rng
        scenes: Mapping[str, Scene] = {repr(item.scene): item.scene for item in questions.choice}
        names = image_alignment.names_of(list(scenes.values()))
        self._keys = sorted(scenes)
        self._labels = {key: labels_of(scene, names) for key, scene in scenes.items()}
        self._loss = make_loss(names)

    def loss(self) -> Tensor:
        keys = self._rng.sample(self._keys, self._number)
        return self._loss(keys, torch.stack([self._labels[key] for key in keys]))


def _wording_rng(kind: str) -> Random:
    """The generator that chooses among wordings: the same in every stage and process."""
    return Random(f"wording of {kind}")  # noqa: S311  # reproducible, not a secret
