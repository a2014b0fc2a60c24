"""Physics: pairs of bar magnets that attract or repel, the nearer the more strongly."""

from __future__ import annotations

from typing import NamedTuple

from harness.synthetic.families import Draft, extreme, families, listed
from harness.synthetic.scenes import GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

LECTURE = (
    "A magnet has two poles, north and south. Different poles attract each other: the magnets pull "
    "together. Equal poles repel each other: the magnets push apart. The nearer two magnets are, "
    "the stronger the force between them."
)
NAMES = {
    3: ("top", "middle", "bottom"),
    4: ("top", "second", "third", "bottom"),
}
"""How the pairs are called from the top, by their number."""
_OTHER = {"north": "south", "south": "north"}


class Pair(NamedTuple):
    """Two magnets in a row."""

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


def _pairs(rng: SeededRandom, number: int) -> list[Pair]:
    rows = sorted(rng.sample(range(GRID), number))
    pairs = []
    for name, row in zip(NAMES[number], rows, strict=True):
        distance = 1 + rng.below(GRID - 1)
        ends = rng.pick(("north", "south")), rng.pick(("north", "south"))
        pairs.append(Pair(name, row, rng.below(GRID - distance), distance, ends))
    return pairs


def _scene(pairs: list[Pair]) -> Scene:
    marks = []
    for pair in pairs:
        marks.append(Mark("magnet", f"{pair.ends[0]}-left", pair.row, pair.left))
        marks.append(Mark("magnet", f"{pair.ends[1]}-left", pair.row, pair.left + pair.distance))
        marks += [Mark("gap", "ink", pair.row, pair.left + at) for at in range(1, pair.distance)]
    return Scene("bench", tuple(marks))


def _caption(words: list[str]) -> str:
    return f"The picture shows {len(words)} pairs of magnets: {listed(words)}."


def _facing(pair: Pair) -> str:
    return f"{pair.facing[0]} {pair.facing[1]}"


def gap(rng: SeededRandom, number: int) -> Draft:
    """How far apart the magnets of a pair are."""
    pairs = _pairs(rng, number)
    pair = rng.pick(pairs)
    return Draft(
        scene=_scene(pairs),
        question=rng.pick(
            (
                f"How far apart are the magnets of the {pair.name} pair?",
                f"What is the distance in the {pair.name} pair?",
            )
        ),
        answer=str(pair.distance),
        wrong=[str(d) for d in range(1, GRID) if d != pair.distance],
        summary=f"The question asks how far apart the {pair.name} pair is.",
        caption=_caption([f"{p.name} {p.distance}" for p in pairs]),
        reasoning=f"It shows {pair.name} {pair.distance}.",
    )


def force(rng: SeededRandom, number: int) -> Draft:
    """Whether a pair attracts or repels."""
    pairs = _pairs(rng, number)
    pair = rng.pick(pairs)
    answer, other = ("attract", "repel") if pair.attracts else ("repel", "attract")
    return Draft(
        scene=_scene(pairs),
        question=rng.pick(
            (
                f"Will the magnets of the {pair.name} pair attract or repel each other?",
                f"What do the magnets of the {pair.name} pair do?",
            )
        ),
        answer=answer,
        wrong=[other],
        summary=f"The question asks if the {pair.name} pair will attract or repel.",
        caption=_caption([f"{p.name} {_facing(p)}" for p in pairs]),
        reasoning=f"It shows {pair.name} {_facing(pair)}. "
        f"{'Different' if pair.attracts else 'Equal'} poles {answer}.",
        hint="The north pole of each magnet is red, the south pole blue.",
    )


def distance(rng: SeededRandom, number: int) -> Draft | None:
    """Which pair is nearest together, or farthest apart."""
    pairs = _pairs(rng, number)
    words, sign = rng.pick((("nearest together", 1), ("farthest apart", -1)))
    ranked = sorted(pairs, key=lambda p: sign * p.distance)
    if ranked[0].distance == ranked[1].distance:
        return None
    answer = ranked[0].name
    return Draft(
        scene=_scene(pairs),
        question=rng.pick(
            (
                f"Which pair of magnets is {words}?",
                f"The magnets of which pair are {words}?",
            )
        ),
        answer=answer,
        wrong=[p.name for p in pairs if p.name != answer],
        summary=f"The question asks which pair is {words}.",
        caption=_caption([f"{p.distance} {p.name}" for p in pairs]),
        reasoning=extreme(sign, ranked[0].distance, answer),
    )


def strongest(rng: SeededRandom, number: int) -> Draft | None:
    """Which pair pulls together, or pushes apart, most strongly: the poles, then the distance."""
    pairs = _pairs(rng, number)
    words, attracts = rng.pick((("pull together", True), ("push apart", False)))
    verb = "attract" if attracts else "repel"
    acting = sorted((p for p in pairs if p.attracts == attracts), key=lambda p: p.distance)
    if not acting or (len(acting) > 1 and acting[0].distance == acting[1].distance):
        return None
    answer = acting[0].name
    sifted = [f"{_facing(p)} {f'{p.distance} {p.name}' if p in acting else 'no'}" for p in pairs]
    return Draft(
        scene=_scene(pairs),
        question=rng.pick(
            (
                f"Which magnets {words} most strongly?",
                f"Which pair of magnets will {words} most strongly?",
            )
        ),
        answer=answer,
        wrong=[p.name for p in pairs if p.name != answer],
        summary=f"The question asks which magnets {words} most strongly.",
        caption=_caption([f"{_facing(p)} {p.distance} {p.name}" for p in pairs]),
        reasoning=f"Those that {verb}: {listed(sifted)}. {extreme(1, acting[0].distance, answer)}",
        hint="The north pole of each magnet is red, the south pole blue.",
    )


FAMILIES = families(
    "physics",
    LECTURE,
    (gap, 1, {1: 3, 2: 4}),
    (force, 2, {1: 3, 2: 4}),
    (distance, 2, {1: 3, 2: 4}),
    (strongest, 3, {2: 3, 3: 4}),
)
