"""What a family of questions is: a way to make a scene and to ask about it.

Families know nothing of splits, letters and ids; `harness.synthetic.questions` adds those. Each
must leave a reader of the text alone at chance: whatever is asked and offered, every option is as
likely to be right as any other. The things of a scene are exchangeable, or the answer is chosen
first and the scene made to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.synthetic.scenes import Scene
from harness.synthetic.seeded_random import SeededRandom


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A question that is not yet an item."""

    scene: Scene
    question: str
    answer: str
    wrong: Sequence[str]
    """The other options, in no order that means anything."""
    summary: str
    caption: str
    reasoning: str
    """From the caption to the answer; the answer's letter follows it."""
    hint: str = ""


Make = Callable[[SeededRandom, int], Draft | None]
"""(rng, number of things) -> a draft; None where the scene has no single answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Questions of one kind."""

    topic: str
    """As ScienceQA calls it."""
    skill: str
    steps: int
    """1: to be read off the picture; more: what is read off is compared, filtered or joined."""
    sizes: Mapping[int, int]
    """Level of difficulty, 1 to 3 -> how many things the scene has."""
    make: Make
    lecture: str
    """What one must know to answer, as ScienceQA's lectures say it."""


def families(
    topic: str, lecture: str, *kinds: tuple[Make, int, Mapping[int, int]]
) -> tuple[Family, ...]:
    """The families of a topic, each of (make, steps, sizes) and called as its `make` is."""
    return tuple(
        Family(
            topic=topic,
            skill=make.__name__.replace("_", "-"),
            steps=steps,
            sizes=sizes,
            make=make,
            lecture=lecture,
        )
        for make, steps, sizes in kinds
    )


def listed(things: Iterable[str]) -> str:
    """One thing after another: red town, blue lake."""
    return ", ".join(things)


def extreme(sign: int, number: int, name: str) -> str:
    """The sentence that finds whose number is the smallest (`sign` 1) or the largest (-1)."""
    return f"The {'smallest' if sign > 0 else 'largest'} is {number} {name}."
