"""The synthetic questions: families in turn, each split with scenes of its own.

    family -> draft (scene, question, options) -> Item

A scene belongs to one split by its hash (see `harness.synthetic.scenes`), so no picture of the test
split is ever seen in training, whatever the seed. What an item is depends on the split, the seed
and its number alone; pictures are drawn when they are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count as numbers
from itertools import islice
from string import ascii_uppercase
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from harness.core.errors import HarnessError
from harness.synthetic import (
    biology,
    chemistry,
    earth_science,
    forum,
    geography,
    physics,
    practices,
    us_history,
)
from harness.synthetic.families import Draft, Family
from harness.synthetic.scenes import Scene
from harness.synthetic.seeded_random import SeededRandom

if TYPE_CHECKING:
    from PIL.Image import Image

FAMILIES: tuple[Family, ...] = (
    *geography.FAMILIES,
    *physics.FAMILIES,
    *biology.FAMILIES,
    *earth_science.FAMILIES,
    *practices.FAMILIES,
    *chemistry.FAMILIES,
    *us_history.FAMILIES,
)
"""Of the choice questions; those of the open ones are in `harness.synthetic.forum`."""
SIZES = {"train": 6300, "validation": 350, "test": 1050}
"""Choice questions of a split, where no other number is asked for."""
OPEN_SIZES = {"train": 2000, "validation": 100, "test": 250}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One synthetic question with everything that a teacher could say about it."""

    id: str
    topic: str
    skill: str
    steps: int
    """1: one step, read off the picture; more: several."""
    level: int
    """Difficulty, 1 to 3."""
    scene: Scene
    question: str
    choices: tuple[str, ...]
    """In random order; none for an open question."""
    answer: int | str
    """The right choice's index; for an open question the text, of several sentences."""
    hint: str
    """The context of an open question."""
    lecture: str
    solution: str
    summary: str
    """What the question asks."""
    caption: str
    """What is seen; enough to answer from."""
    reasoning: str
    """From the caption to the answer: its text and, last, its letter."""

    @property
    def letter(self) -> str:
        """The right choice's letter; "" for an open question."""
        return ascii_uppercase[self.answer] if isinstance(self.answer, int) else ""

    def draw(self) -> Image:
        """The picture: RGB, 256 pixels wide and high."""
        from harness.synthetic.drawing import draw

        return draw(self.scene)


class ItemFields(NamedTuple):
    """The fields of an item that its id holds."""

    topic: str
    skill: str
    steps: int
    level: int


def parse_id(sample_id: str) -> ItemFields | None:
    """The fields in the id of a synthetic question, to report results by; None for any other id."""
    found = re.fullmatch(r"(.+)_(.+)_s(\d)_l(\d)_\d+", sample_id)
    return ItemFields(found[1], found[2], int(found[3]), int(found[4])) if found else None


def questions(split: str, seed: int = 0, count: int | None = None) -> Sequence[Item]:
    """The choice questions of a split; the first ones are the same whatever the count.

    Args:
        split: train, validation or test.
        seed: another one gives other questions, from the scenes of the same split.
        count: how many; None: as many as the task has.
    """
    return _first("choice", split, seed, _count(SIZES, split, count))


def open_questions(split: str, seed: int = 0, count: int | None = None) -> Sequence[Item]:
    """The open questions of a split, as `questions` gives those with choices."""
    return _first("open", split, seed, _count(OPEN_SIZES, split, count))


GENERATORS = MappingProxyType({"scienceqa-mini": questions, "vqaonline-mini": open_questions})
"""Task -> what generates its questions."""


def _count(sizes: Mapping[str, int], split: str, count: int | None) -> int:
    if split not in sizes:
        raise HarnessError(f"There is no split {split!r}.", known=f"There are {', '.join(sizes)}.")
    return sizes[split] if count is None else count


@lru_cache(maxsize=8)
def _first(kind: str, split: str, seed: int, count: int) -> tuple[Item, ...]:
    families = FAMILIES if kind == "choice" else forum.FAMILIES
    return tuple(islice(_items(families, split, seed), count))


def _items(families: Sequence[Family], split: str, seed: int) -> Iterator[Item]:
    topics = tuple(dict.fromkeys(family.topic for family in families))
    rng = SeededRandom(f"{topics[0]} {split} {seed}")
    turns = {t: _turns([f for f in families if f.topic == t], rng) for t in topics}
    places = _Places(rng)
    seen: set[tuple[Scene, str]] = set()
    for number in numbers():
        if number % len(topics) == 0:
            order = rng.shuffled(topics)
        family, level = next(turns[order[number % len(topics)]])
        yield _item(family, level, number, _draft(family, level, split, rng, seen), places)


def _item(family: Family, level: int, number: int, draft: Draft, places: _Places) -> Item:
    choices, answer, end = [], draft.answer, ""
    if draft.wrong:
        place = places.next(1 + len(draft.wrong))
        choices = places.rng.shuffled(draft.wrong)
        choices.insert(place, draft.answer)
        end = f" The answer is {draft.answer}, {ascii_uppercase[place]}."
    return Item(
        id=f"{family.topic}_{family.skill}_s{family.steps}_l{level}_{number:05}",
        topic=family.topic,
        skill=family.skill,
        steps=family.steps,
        level=level,
        scene=draft.scene,
        question=draft.question,
        choices=tuple(choices),
        answer=choices.index(answer) if choices else answer,
        hint=draft.hint,
        lecture=family.lecture,
        solution=f"{draft.caption} {draft.reasoning}",
        summary=draft.summary,
        caption=draft.caption,
        reasoning=f"{draft.reasoning}{end}",
    )


def _turns(families: Sequence[Family], rng: SeededRandom) -> Iterator[tuple[Family, int]]:
    """Families in turn, and the levels of each in turn."""
    left: dict[str, list[int]] = {family.skill: [] for family in families}
    while True:
        for family in rng.shuffled(families):
            if not left[family.skill]:
                left[family.skill] = rng.shuffled(tuple(family.sizes))
            yield family, left[family.skill].pop()


class _Places:
    """Where the right choice stands: each place as often, in random order."""

    def __init__(self, rng: SeededRandom) -> None:
        self.rng = rng
        self._left: dict[int, list[int]] = {}

    def next(self, k: int) -> int:
        if not self._left.get(k):
            self._left[k] = self.rng.shuffled(range(k))
        return self._left[k].pop()


_TRIES = 5000
"""Drafts after which nothing new is to be expected."""


def _draft(
    family: Family, level: int, split: str, rng: SeededRandom, seen: set[tuple[Scene, str]]
) -> Draft:
    """A draft that belongs to the split and is new."""
    for _ in range(_TRIES):
        draft = family.make(rng, family.sizes[level])
        if draft is None or draft.scene.split != split:
            continue
        key = draft.scene, draft.question
        if key not in seen:
            seen.add(key)
            return draft
    raise HarnessError(
        f"{family.topic} has nothing new to ask of the skill {family.skill} in {split}.",
        known=f"{len(seen):,} questions were generated.",
        remedy="Generate fewer, or more with another seed.",
    )
