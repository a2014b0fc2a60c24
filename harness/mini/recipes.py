"""How each mini is trained: what, in which order, how long and how fast. Chosen on validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from harness.mini.training import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One mini's way from random weights to what is shipped."""

    stages: tuple[Stage, ...]
    learned: str
    """What it was taught, in words, for its card."""


def _curriculum() -> tuple[Stage, ...]:
    """Copying forms abruptly, and when is a matter of luck: each stage goes on until it has."""
    recall = {"pairs": 8, "lookup": 8}
    return (
        Stage(name="copying", steps=900, until=0.35, rate=2e-3, mix={"copies": 16}, few=True),
        Stage(name="recall", steps=1000, until=0.6, rate=2e-3, mix=recall, few=True),
        Stage(name="vocabulary", steps=1800, until=0.6, rate=2e-3, mix=recall),
    )


def _seeing(steps: int = 150) -> Stage:
    return Stage(name="seeing", steps=steps, rate=2e-3, mix={"cells": 64})


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "moondream": Recipe(
            stages=(
                *_curriculum(),
                _seeing(300),
                Stage(name="captions", steps=500, rate=2e-3, mix={"caption": 48, "lookup": 12}),
                Stage(
                    name="more captions",
                    steps=1200,
                    rate=2e-3,
                    mix={"caption": 48, "lookup": 8},
                    frozen=True,
                ),
                Stage(
                    name="questions",
                    steps=500,
                    rate=1e-3,
                    mix={"caption": 24, "open": 16, "one-step letter": 24, "lookup": 8},
                    frozen=True,
                    falling=True,
                ),
            ),
            learned="",
        ),
        "llava-cot": Recipe(
            stages=(
                *_curriculum(),
                _seeing(300),
                Stage(name="captions", steps=800, rate=2e-3, mix={"caption": 32, "lookup": 8}),
                Stage(
                    name="rationales",
                    steps=900,
                    rate=1.5e-3,
                    mix={"structured": 20, "open structured": 6},
                    falling=True,
                ),
            ),
            learned="",
        ),
        "phi-3.5": Recipe(
            stages=(
                *_curriculum(),
                _seeing(),
                Stage(name="captions", steps=400, rate=2e-3, mix={"caption": 48, "lookup": 12}),
                Stage(
                    name="questions",
                    steps=500,
                    rate=1e-3,
                    mix={"letter": 48, "text": 32, "caption": 16, "open": 12, "lookup": 8},
                    falling=True,
                ),
            ),
            learned="",
        ),
        "llava-next": Recipe(
            stages=(
                *_curriculum(),
                _seeing(),
                Stage(name="captions", steps=400, rate=2e-3, mix={"caption": 48, "lookup": 12}),
                Stage(
                    name="questions",
                    steps=400,
                    rate=1e-3,
                    mix={"letter": 48, "text": 16, "caption": 16, "open": 16, "lookup": 8},
                    falling=True,
                ),
            ),
            learned="",
        ),
        "kosmos-2": Recipe(
            stages=(
                _seeing(),
                Stage(name="captions", steps=400, rate=2e-3, mix={"caption": 48}),
                Stage(
                    name="questions",
                    steps=300,
                    rate=1e-3,
                    mix={"letter": 48, "caption": 16, "open": 16},
                    falling=True,
                ),
            ),
            learned="",
        ),
        "vilt": Recipe(
            stages=(
                Stage(name="seeing", steps=200, rate=1e-3, mix={"cells": 64}),
                Stage(
                    name="words",
                    steps=1200,
                    rate=1e-3,
                    mix={"caption": 48, "text": 48},
                    falling=True,
                ),
            ),
            learned="",
        ),
    }
)
