"""Physics: pairs of bar magnets that attract or repel, the nearer the more strongly."""

from __future__ import annotations

from typing import NamedTuple

from harness.mini.chance import Chance
from harness.mini.families import Draft, Family
from harness.mini.scenes import GRID, Mark, Scene

LECTURE = (
    "A magnet has two poles, north and south. Different poles attract each other: the magnets pull "
    "together. Equal poles repel each other: the magnets push apart. The nearer two magnets are, "
    "the stronger the force between them."
)
NAMES = {
    1: ("top",),
    2: ("top", "bottom"),
    3: ("top", "middle", "bottom"),
    4: ("top", "second", "third", "bottom"),
}
"""How the pairs are called from the top, by their number."""
_OTHER = {"north": "south", "south": "north"}


class Pair(NamedTuple):
    name: str
    row: int
    left: int
    """The left magnet's column."""
    distance: int
    """Columns from the left magnet to the right one; 1: side by side."""
    ends: tuple[str, str]
    """The pole at the left end of each magnet."""

    @property
    def facing(self) -> tuple[str, str]:
        """The poles that face each other."""
        return _OTHER[self.ends[0]], self.ends[1]

    @property
    def attracts(self) -> bool:
        return self.ends[0] == self.ends[1]


def _pairs(chance: Chance, number: int) -> list[Pair]:
    rows = sorted(chance.sample(range(GRID), number))
    pairs = []
    for name, row in zip(NAMES[number], rows, strict=True):
        left, right = sorted(chance.sample(range(GRID), 2))
        ends = chance.pick(("north", "south")), chance.pick(("north", "south"))
        pairs.append(Pair(name, row, left, right - left, ends))
    return pairs


def _scene(pairs: list[Pair]) -> Scene:
    marks = []
    for pair in pairs:
        marks.append(Mark("magnet", f"{pair.ends[0]}-left", pair.row, pair.left))
        marks.append(Mark("magnet", f"{pair.ends[1]}-left", pair.row, pair.left + pair.distance))
    return Scene("bench", tuple(marks))


def _opening(chance: Chance, number: int) -> str:
    pairs = "1 pair" if number == 1 else f"{number} pairs"
    return chance.pick((f"There are {pairs} of magnets.", f"The picture shows {pairs} of magnets."))


def _facing(pairs: list[Pair]) -> str:
    return " ".join(
        f"{pair.name.capitalize()} pair: {pair.facing[0]} faces {pair.facing[1]}." for pair in pairs
    )


def pole(chance: Chance, number: int) -> Draft:
    """Which pole is at one end of a pair."""
    pairs = _pairs(chance, number)
    pair, end = chance.pick(pairs), chance.pick(("left", "right"))
    ends = {p: {"left": p.ends[0], "right": _OTHER[p.ends[1]]}[end] for p in pairs}
    answer = ends[pair]
    said = " ".join(f"{p.name.capitalize()} pair: {ends[p]} on the {end} end." for p in pairs)
    return Draft(
        scene=_scene(pairs),
        question=chance.pick(
            (
                f"Which pole is on the {end} end of the {pair.name} pair?",
                f"Which pole does the {pair.name} pair have on its {end} end?",
            )
        ),
        answer=answer,
        wrong=[_OTHER[answer]],
        summary=f"The question asks for the pole on the {end} end of the {pair.name} pair.",
        caption=f"{_opening(chance, number)} {said}",
        reasoning=f"The {end} end of the {pair.name} pair is {answer}.",
        hint="The north pole of each magnet is red, the south pole blue.",
    )


def force(chance: Chance, number: int) -> Draft:
    """Whether a pair attracts or repels."""
    pairs = _pairs(chance, number)
    pair = chance.pick(pairs)
    answer, other = ("attract", "repel") if pair.attracts else ("repel", "attract")
    return Draft(
        scene=_scene(pairs),
        question=chance.pick(
            (
                f"Will the magnets of the {pair.name} pair attract or repel each other?",
                f"What do the magnets of the {pair.name} pair do?",
            )
        ),
        answer=answer,
        wrong=[other],
        summary=f"The question asks if the {pair.name} pair will attract or repel.",
        caption=f"{_opening(chance, number)} {_facing(pairs)}",
        reasoning=f"In the {pair.name} pair {pair.facing[0]} faces {pair.facing[1]}. "
        f"The poles are {'different' if pair.attracts else 'equal'}, so they {answer}.",
        hint="The north pole of each magnet is red, the south pole blue.",
    )


def distance(chance: Chance, number: int) -> Draft | None:
    """Which pair is nearest together, or farthest apart."""
    pairs = _pairs(chance, number)
    words, sign = chance.pick((("nearest together", 1), ("farthest apart", -1)))
    ranked = sorted(pairs, key=lambda p: sign * p.distance)
    if ranked[0].distance == ranked[1].distance:
        return None
    answer = ranked[0].name
    said = " ".join(f"{p.name.capitalize()} pair: {p.distance} apart." for p in pairs)
    return Draft(
        scene=_scene(pairs),
        question=chance.pick(
            (
                f"Which pair of magnets is {words}?",
                f"The magnets of which pair are {words}?",
            )
        ),
        answer=answer,
        wrong=[p.name for p in pairs if p.name != answer],
        summary=f"The question asks which pair is {words}.",
        caption=f"{_opening(chance, number)} {said}",
        reasoning=f"The {'smallest' if sign == 1 else 'largest'} distance is "
        f"{ranked[0].distance}, of the {answer} pair.",
    )


def strongest(chance: Chance, number: int) -> Draft | None:
    """Which pair pulls together, or pushes apart, most strongly: the poles, then the distance."""
    pairs = _pairs(chance, number)
    words, attracts = chance.pick((("pull together", True), ("push apart", False)))
    verb = "attract" if attracts else "repel"
    acting = sorted((p for p in pairs if p.attracts == attracts), key=lambda p: p.distance)
    if not acting or (len(acting) > 1 and acting[0].distance == acting[1].distance):
        return None
    answer = acting[0].name
    said = " ".join(
        f"{p.name.capitalize()} pair: {p.facing[0]} faces {p.facing[1]}, {p.distance} apart."
        for p in pairs
    )
    which = " ".join(
        f"{p.name.capitalize()}: {'attract' if p.attracts else 'repel'}, {p.distance}."
        for p in pairs
    )
    return Draft(
        scene=_scene(pairs),
        question=chance.pick(
            (
                f"Which magnets {words} most strongly?",
                f"Which pair of magnets will {words} most strongly?",
            )
        ),
        answer=answer,
        wrong=[p.name for p in pairs if p.name != answer],
        summary=f"The question asks which magnets {words} most strongly.",
        caption=said,
        reasoning=f"{which} Of those that {verb}, the {answer} pair is nearest at "
        f"{acting[0].distance}.",
        hint="The north pole of each magnet is red, the south pole blue.",
    )


FAMILIES = tuple(
    Family(
        topic="physics", skill=make.__name__, steps=steps, sizes=sizes, make=make, lecture=LECTURE
    )
    for make, steps, sizes in (
        (pole, 1, {1: 2, 2: 3, 3: 4}),
        (force, 2, {1: 2, 2: 3, 3: 4}),
        (distance, 2, {1: 2, 2: 3, 3: 4}),
        (strongest, 3, {1: 2, 2: 3, 3: 4}),
    )
)
