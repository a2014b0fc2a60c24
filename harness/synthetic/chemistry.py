"""Chemistry: beakers with a solution, how concentrated it is and how much is dissolved in it."""

from __future__ import annotations

from typing import NamedTuple

from harness.synthetic.families import Draft, extreme, families, listed
from harness.synthetic.scenes import COLOURS, GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

MOST = 3
"""Parts of liquid in a beaker, and particles in a part."""
LECTURE = (
    "A solution is a liquid with particles of something dissolved in it. The more particles there "
    "are in each part of the liquid, the more concentrated it is. The number of all particles is "
    "the number of parts times the particles in each part."
)


class Beaker(NamedTuple):
    """A beaker, one column wide."""

    colour: str
    """Of its stopper."""
    parts: int
    """How high the liquid stands."""
    particles: int
    """In each part."""
    column: int

    @property
    def total(self) -> int:
        return self.parts * self.particles


def _beakers(rng: SeededRandom, number: int) -> list[Beaker]:
    columns = sorted(rng.sample(range(GRID), number))
    return [
        Beaker(colour, 1 + rng.below(MOST), 1 + rng.below(MOST), column)
        for colour, column in zip(rng.sample(COLOURS, number), columns, strict=True)
    ]


def _scene(beakers: list[Beaker]) -> Scene:
    marks = []
    for beaker in beakers:
        marks.append(Mark("stopper", beaker.colour, 0, beaker.column))
        for row in range(1, GRID):
            filled = row >= GRID - beaker.parts
            bottom = "-bottom" if row == GRID - 1 else ""
            dots = beaker.particles if filled else 0
            marks.append(Mark(f"glass{bottom}", str(dots), row, beaker.column))
    return Scene("lab", tuple(marks))


def _caption(what: str, words: list[str]) -> str:
    return f"There are {len(words)} beakers with {what}: {listed(words)}."


def level(rng: SeededRandom, number: int) -> Draft:
    """How high the liquid stands in a beaker."""
    beakers = _beakers(rng, number)
    asked = rng.pick(beakers)
    return Draft(
        scene=_scene(beakers),
        question=rng.pick(
            (
                f"How many parts of liquid are in the {asked.colour} beaker?",
                f"How high is the liquid in the {asked.colour} beaker?",
            )
        ),
        answer=str(asked.parts),
        wrong=[str(n) for n in range(1, MOST + 1) if n != asked.parts],
        summary=f"The question asks how much liquid is in the {asked.colour} beaker.",
        caption=_caption("parts of liquid", [f"{b.colour} {b.parts}" for b in beakers]),
        reasoning=f"It shows {asked.colour} {asked.parts}.",
    )


def concentrated(rng: SeededRandom, number: int) -> Draft | None:
    """Which solution is the most or the least concentrated."""
    beakers = _beakers(rng, number)
    word, sign = rng.pick((("most", -1), ("least", 1)))
    ranked = sorted(beakers, key=lambda b: sign * b.particles)
    if ranked[0].particles == ranked[1].particles:
        return None
    found = ranked[0]
    return Draft(
        scene=_scene(beakers),
        question=rng.pick(
            (
                f"Which beaker is the {word} concentrated?",
                f"In which beaker is the solution {word} concentrated?",
            )
        ),
        answer=found.colour,
        wrong=[b.colour for b in beakers if b != found],
        summary=f"The question asks which beaker is the {word} concentrated.",
        caption=_caption("particles in each part", [f"{b.particles} {b.colour}" for b in beakers]),
        reasoning=extreme(sign, found.particles, found.colour),
    )


def dissolved(rng: SeededRandom, number: int) -> Draft | None:
    """Which beaker has the most or the fewest particles in all."""
    beakers = _beakers(rng, number)
    word, sign = rng.pick((("most", -1), ("fewest", 1)))
    ranked = sorted(beakers, key=lambda b: sign * b.total)
    if ranked[0].total == ranked[1].total:
        return None
    found = ranked[0]
    products = listed(f"{b.parts} times {b.particles} is {b.total} {b.colour}" for b in beakers)
    return Draft(
        scene=_scene(beakers),
        question=rng.pick(
            (
                f"Which beaker has the {word} particles in all?",
                f"Which beaker holds the {word} particles?",
            )
        ),
        answer=found.colour,
        wrong=[b.colour for b in beakers if b != found],
        summary=f"The question asks which beaker has the {word} particles in all.",
        caption=_caption(
            "parts, and particles in each",
            [f"{b.parts} {b.particles} {b.colour}" for b in beakers],
        ),
        reasoning=f"In all: {products}. {extreme(sign, found.total, found.colour)}",
    )


FAMILIES = families(
    "chemistry",
    LECTURE,
    (level, 1, {1: 3, 2: 4}),
    (concentrated, 2, {1: 3, 2: 4}),
    (dissolved, 3, {2: 3, 3: 4}),
)
