"""The training recipe of each mini: stages, steps and learning rates, chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.core.types import Style
from harness.mini.training_loop import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The training of one mini, from random weights to the shipped ones."""

    stages: tuple[Stage, ...]
    style: Style | None = None
    """The style that it answers bare questions in; None: its row's."""
    learned: str
    """What it has learned, in words, for its card."""


_RECALL = MappingProxyType({"pairs": 8, "lookup": 8})
_KEEP_RECALL = MappingProxyType({"pairs": 6, "lookup": 6})
"""Texts in later stages; without them recall is lost, and with it reasoning from a caption."""
_LISTS = MappingProxyType({"pairs": 6, "lookup": 6, "lists": 8})
_KEEP_LISTS = MappingProxyType({"pairs": 3, "lookup": 4, "lists": 5})
"""The same with items of lists: what reasoning from a caption needs, in texts without meaning."""


def _curriculum(mix: Mapping[str, int] = _RECALL, until: float = 0.6) -> tuple[Stage, ...]:
    """Stages of the curriculum. Copying forms abruptly, at a random step: each stage runs until
    then.

    Half of the last stage's texts keep to the few words: with all of them at once, architectures
    with full rotary embeddings forgot copying before the other words' embeddings were trained.
    """
    return (
        Stage(name="copying", steps=900, until=0.35, rate=2e-3, mix={"copies": 16}, few=1),
        Stage(name="recall", steps=1000, until=until, rate=2e-3, mix=mix, few=1),
        Stage(name="vocabulary", steps=1800, until=until, rate=2e-3, mix=mix, few=0.5),
    )


def _image_alignment(steps: int = 250) -> Stage:
    return Stage(name="seeing", steps=steps, rate=2e-3, mix={"cells": 64})


def _frozen(name: str, steps: int, mix: Mapping[str, int]) -> Stage:
    """A stage from the captions on: the encoder sees by then, and recall is kept."""
    return Stage(
        name=name,
        steps=steps,
        rate=2e-3,
        mix={**mix, **_KEEP_LISTS},
        frozen=True,
        falling=True,
    )


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "moondream": Recipe(
            stages=(
                *_curriculum(_LISTS, 0.8),
                _image_alignment(),
                _frozen("captions", 1800, {"asked caption": 40}),
                _frozen(
                    "options",
                    600,
                    {
                        "asked caption": 20,
                        "open": 12,
                        "one-step option": 20,
                        "several-step guess": 8,
                    },
                ),
            ),
            learned=(
                "Taught to copy, and to look up options and items of lists, in texts without "
                "pictures; to see; to describe what a question is about in a picture; then to "
                "answer open questions, and choice questions of one step by the option's text. It "
                "has seen no reasoning, and of choice questions of several steps only that one of "
                "the options is an answer."
            ),
        ),
        "llava-cot": Recipe(
            stages=(
                *_curriculum(),
                _image_alignment(400),
                Stage(
                    name="captions", steps=900, rate=2e-3, mix={"asked caption": 40, **_KEEP_RECALL}
                ),
                Stage(
                    name="reasoning",
                    steps=1000,
                    rate=2e-3,
                    mix={"reasoning": 28, "asked caption": 16, "pairs": 4, "lookup": 4},
                    falling=True,
                ),
                Stage(
                    name="rationales",
                    steps=900,
                    rate=2e-3,
                    mix={"structured": 28, "open structured": 4, "pairs": 4, "lookup": 4},
                    falling=True,
                ),
            ),
            learned=(
                "Taught to copy, and to look up options, in texts without pictures; to see; to "
                "describe pictures; to reason from captions; then to write the four stages of a "
                "rationale for every kind of question. The rationales of its lessons were made "
                "from the drawn scenes by templates."
            ),
        ),
        "phi-3.5": Recipe(
            stages=(
                *_curriculum(_LISTS, 0.8),
                _image_alignment(),
                _frozen("captions", 1500, {"asked caption": 40}),
                _frozen("steps", 800, {"steps": 28, "asked caption": 8, "open": 8}),
                _frozen("practice", 1300, {"steps": 32, "asked caption": 12, "open": 6}),
                _frozen("more practice", 700, {"steps": 32, "asked caption": 12, "open": 6}),
            ),
            style="cot",
            learned=(
                "Taught to copy, and to look up options and items of lists, in texts without "
                "pictures; to see; to describe what a question is about in a picture; then to "
                "answer open questions, and choice questions of every kind in two numbered steps "
                "of its own: what is seen, and what follows from it, which ends in the option and "
                "its letter. The steps of its lessons were made from the drawn scenes by templates."
            ),
        ),
        "llava-next": Recipe(
            stages=(
                *_curriculum(_LISTS, 0.8),
                _image_alignment(),
                _frozen("captions", 1500, {"asked caption": 40}),
                _frozen("answers", 900, {"described letter": 36, "asked caption": 12, "open": 6}),
            ),
            style="plain",
            learned=(
                "Taught to copy, and to look up options and items of lists, in texts without "
                "pictures; to see; to describe what a question is about in a picture; then to "
                "answer open questions, and choice questions by such a description, the option and "
                "its letter. In questions of one step the thing that is asked about is named once "
                "more; it has seen no reasoning of several steps."
            ),
        ),
        "kosmos-2": Recipe(
            stages=(
                _image_alignment(),
                Stage(
                    name="captions",
                    steps=500,
                    rate=2e-3,
                    mix={"asked caption": 48},
                    falling=True,
                ),
                Stage(
                    name="questions",
                    steps=300,
                    rate=1e-3,
                    mix={"one-step letter": 32, "letter": 16, "asked caption": 16, "open": 16},
                    falling=True,
                ),
            ),
            learned=(
                "Taught to see; to describe pictures; then to answer choice questions by "
                "letter, and open questions. It was never taught to copy or to look up an "
                "option by its letter."
            ),
        ),
        "vilt": Recipe(
            stages=(
                Stage(name="seeing", steps=400, rate=1e-3, mix={"cells": 64}),
                Stage(
                    name="words",
                    steps=1500,
                    rate=1e-3,
                    mix={"cells": 16, "caption": 32, "text": 48},
                    falling=True,
                ),
            ),
            learned=(
                "Taught to see; then to fill masks in captions, and in choice questions as its "
                "model family scores them. It was taught nothing about open questions, to which it "
                "gives one word."
            ),
        ),
    }
)
