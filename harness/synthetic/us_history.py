"""US history: colonies on an old map, their flags, and a timeline of when each was founded."""

from __future__ import annotations

from typing import NamedTuple

from harness.synthetic.families import Draft, families, listed
from harness.synthetic.scenes import COLOURS, GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

FLAGS = ("star", "circle", "square", "triangle", "cross")
LECTURE = (
    "A colony is land that is ruled by a country far away. Colonies were founded at different "
    "times. A timeline shows events in order: the first is on the left, the last on the right. A "
    "sign on the map and the same sign on the timeline stand for the same colony."
)
HINT = "The bottom row is a timeline. It shows the flags of the colonies as they were founded."


class Colony(NamedTuple):
    """A colony, one cell large."""

    colour: str
    flag: str
    row: int
    column: int


def _colonies(rng: SeededRandom, number: int) -> tuple[Scene, list[Colony], list[Colony]]:
    """The scene; the colonies in reading order; and the same in the order of their founding."""
    cells = sorted(rng.sample(range((GRID - 1) * GRID), number))
    named = zip(rng.sample(COLOURS, number), rng.sample(FLAGS, number), cells, strict=True)
    colonies = [Colony(colour, flag, *divmod(cell, GRID)) for colour, flag, cell in named]
    founded = rng.shuffled(colonies)
    marks = []
    for colony in colonies:
        marks.append(Mark("land", colony.colour, colony.row, colony.column))
        marks.append(Mark(colony.flag, "white", colony.row, colony.column))
    marks += [Mark(c.flag, "ink", GRID - 1, column) for column, c in enumerate(founded)]
    return Scene("parchment", tuple(marks)), colonies, founded


def _in_words(colonies: list[Colony]) -> str:
    return listed(f"{c.flag} {c.colour}" for c in colonies)


def _caption(colonies: list[Colony], order: list[Colony], end: str) -> str:
    """`order`: of their founding, from the first or the last."""
    times = listed(colony.flag for colony in order)
    return (
        f"The map shows {len(colonies)} colonies: {_in_words(colonies)}. Timeline from the {end}: "
        f"{times}."
    )


def flag(rng: SeededRandom, number: int) -> Draft:
    """Which flag a colony has."""
    scene, colonies, _ = _colonies(rng, number)
    asked = rng.pick(colonies)
    words = listed(f"{c.colour} {c.flag}" for c in colonies)
    return Draft(
        scene=scene,
        question=rng.pick(
            (
                f"What is on the flag of the {asked.colour} colony?",
                f"Which sign does the {asked.colour} colony have on its flag?",
            )
        ),
        answer=asked.flag,
        wrong=[c.flag for c in colonies if c != asked],
        summary=f"The question asks for the flag of the {asked.colour} colony.",
        caption=f"The map shows {number} colonies: {words}.",
        reasoning=f"It shows {asked.colour} {asked.flag}.",
    )


def first(rng: SeededRandom, number: int) -> Draft:
    """Which colony was founded first or last: the timeline, then the map."""
    scene, colonies, founded = _colonies(rng, number)
    word, order = rng.pick((("first", founded), ("last", founded[::-1])))
    found = order[0]
    return Draft(
        scene=scene,
        question=rng.pick(
            (f"Which colony was founded {word}?", f"Which of these colonies was founded {word}?")
        ),
        answer=found.colour,
        wrong=[c.colour for c in colonies if c != found],
        summary=f"The question asks which colony was founded {word}.",
        caption=_caption(colonies, order, word),
        reasoning=f"The {word} is {_in_words([found])}.",
        hint=HINT,
    )


def order(rng: SeededRandom, number: int) -> Draft:
    """Which of two colonies was founded earlier or later."""
    scene, colonies, founded = _colonies(rng, number)
    one, two = rng.sample(colonies, 2)
    word = rng.pick(("earlier", "later"))
    order, end = (founded, "first") if word == "earlier" else (founded[::-1], "last")
    found, other = sorted((one, two), key=order.index)
    return Draft(
        scene=scene,
        question=rng.pick(
            (
                f"Which was founded {word}, the {one.colour} or the {two.colour} colony?",
                f"Was the {one.colour} or the {two.colour} colony founded {word}?",
            )
        ),
        answer=found.colour,
        wrong=[other.colour],
        summary=f"The question asks if {one.colour} or {two.colour} was founded {word}.",
        caption=_caption(colonies, order, end),
        reasoning=f"Timeline until {one.colour} or {two.colour}: "
        f"{_in_words(order[: order.index(found) + 1])}.",
        hint=HINT,
    )


def following(rng: SeededRandom, number: int) -> Draft:
    """Which colony was founded right after, or right before, another: map, timeline, map."""
    scene, colonies, founded = _colonies(rng, number)
    at = rng.below(number - 1)
    word, end, order = rng.pick((("after", "first", founded), ("before", "last", founded[::-1])))
    asked, found = order[at : at + 2]
    return Draft(
        scene=scene,
        question=rng.pick(
            (
                f"Which colony was founded right {word} the {asked.colour} colony?",
                f"Right {word} the {asked.colour} colony, which one was founded?",
            )
        ),
        answer=found.colour,
        wrong=[c.colour for c in colonies if c not in {asked, found}],
        summary=f"The question asks which colony was founded right {word} {asked.colour}.",
        caption=_caption(colonies, order, end),
        reasoning=f"Timeline until {word} {asked.colour}: {_in_words(order[: at + 2])}.",
        hint=HINT,
    )


FAMILIES = families(
    "us-history",
    LECTURE,
    (flag, 1, {1: 3, 2: 4}),
    (first, 2, {1: 3, 2: 4}),
    (order, 3, {2: 3, 3: 4}),
    (following, 3, {2: 3, 3: 4}),
)
