"""Science and engineering practices: bars of a chart, and pots of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from harness.synthetic.families import Draft, extreme, families, listed
from harness.synthetic.scenes import COLOURS, GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

CHART_LECTURE = (
    "A bar chart shows numbers as bars: the taller the bar, the larger the number. Compare bars by "
    "their height. To find how tall two bars are together, add their heights; to find how much "
    "taller one is, subtract."
)
TEST_LECTURE = (
    "A fair test changes one thing only. To test what water does, compare two pots that differ in "
    "water and are equal in everything else."
)


class Bar(NamedTuple):
    """A bar, as many cells high as it says."""

    colour: str
    height: int
    column: int


HEIGHTS = range(1, GRID + 1)


def _bars(rng: SeededRandom, number: int, *, among: Sequence[int] = ()) -> list[Bar]:
    """Bars of different heights, from the left; those of `among` are taken."""
    others = rng.sample([h for h in HEIGHTS if h not in among], number - len(among))
    heights = rng.shuffled([*among, *others])
    columns = sorted(rng.sample(range(GRID), number))
    return list(map(Bar, rng.sample(COLOURS, number), heights, columns))


def _two(
    rng: SeededRandom, number: int, fits: Callable[[int, int], bool]
) -> tuple[list[Bar], Bar, Bar]:
    """Bars, and two of them whose heights fit."""
    pairs = [(a, b) for a in HEIGHTS for b in HEIGHTS if a != b and fits(a, b)]
    wanted = rng.pick(pairs)
    bars = _bars(rng, number, among=wanted)
    first, other = (next(bar for bar in bars if bar.height == height) for height in wanted)
    return bars, first, other


def _chart(bars: list[Bar]) -> Scene:
    marks = [
        Mark("bar", bar.colour, row, bar.column)
        for bar in bars
        for row in range(GRID - bar.height, GRID)
    ]
    return Scene("chart", tuple(marks))


def _in_words(bars: Iterable[Bar]) -> str:
    return listed(f"{bar.colour} {bar.height}" for bar in bars)


def _caption(bars: list[Bar]) -> str:
    return f"The chart has {len(bars)} bars: {_in_words(bars)}."


def _ranking(bars: list[Bar]) -> str:
    heights = listed(f"{bar.height} {bar.colour}" for bar in bars)
    return f"The chart has {len(bars)} bars: {heights}."


def height(rng: SeededRandom, number: int) -> Draft:
    """How tall a bar is."""
    bars = _bars(rng, number)
    asked = rng.pick(bars)
    return Draft(
        scene=_chart(bars),
        question=rng.pick(
            (
                f"How tall is the {asked.colour} bar?",
                f"What is the height of the {asked.colour} bar?",
            )
        ),
        answer=str(asked.height),
        wrong=[str(h) for h in range(1, GRID + 1) if h != asked.height],
        summary=f"The question asks how tall the {asked.colour} bar is.",
        caption=_caption(bars),
        reasoning=f"It shows {_in_words([asked])}.",
    )


def tallest(rng: SeededRandom, number: int) -> Draft:
    """Which bar is the tallest or the shortest."""
    bars = _bars(rng, number)
    word, sign = rng.pick((("tallest", -1), ("shortest", 1)))
    ranked = sorted(bars, key=lambda bar: sign * bar.height)
    found = ranked[0]
    return Draft(
        scene=_chart(bars),
        question=rng.pick((f"Which bar is the {word}?", f"Which of these bars is the {word}?")),
        answer=found.colour,
        wrong=[bar.colour for bar in ranked[1:]],
        summary=f"The question asks which bar is the {word}.",
        caption=_ranking(bars),
        reasoning=extreme(sign, found.height, found.colour),
    )


def second_tallest(rng: SeededRandom, number: int) -> Draft:
    """Which bar is the second tallest or shortest."""
    bars = _bars(rng, number)
    word, sign = rng.pick((("tallest", -1), ("shortest", 1)))
    ranked = sorted(bars, key=lambda bar: sign * bar.height)
    found = ranked[1]
    return Draft(
        scene=_chart(bars),
        question=rng.pick(
            (f"Which bar is the second {word}?", f"Which of these bars is the second {word}?")
        ),
        answer=found.colour,
        wrong=[bar.colour for bar in bars if bar != found],
        summary=f"The question asks which bar is the second {word}.",
        caption=_ranking(bars),
        reasoning=f"{extreme(sign, ranked[0].height, ranked[0].colour)} "
        f"The second is {found.height} {found.colour}.",
    )


def together(rng: SeededRandom, number: int) -> Draft:
    """How tall two bars are together; the sum is chosen first, so that each is as likely."""
    sums = rng.sample(range(3, 2 * GRID), 4)
    total = sums[0]
    bars, first, other = _two(rng, number, lambda a, b: a + b == total)
    return Draft(
        scene=_chart(bars),
        question=rng.pick(
            (
                f"How tall are the {first.colour} bar and the {other.colour} bar together?",
                f"What is the height of the {first.colour} bar plus the {other.colour} bar?",
            )
        ),
        answer=str(total),
        wrong=list(map(str, sums[1:])),
        summary=f"The question asks for the height of {first.colour} plus {other.colour}.",
        caption=_caption(bars),
        reasoning=f"It shows {_in_words([first])} plus {_in_words([other])} is {total}.",
    )


def difference(rng: SeededRandom, number: int) -> Draft:
    """How much taller one bar is than another; the difference is chosen first."""
    wanted = 1 + rng.below(GRID - 1)
    bars, first, other = _two(rng, number, lambda a, b: a - b == wanted)
    return Draft(
        scene=_chart(bars),
        question=rng.pick(
            (
                f"How much taller is the {first.colour} bar than the {other.colour} bar?",
                f"What is the height of the {first.colour} bar minus the {other.colour} bar?",
            )
        ),
        answer=str(wanted),
        wrong=[str(d) for d in range(1, GRID) if d != wanted],
        summary=f"The question asks how much taller {first.colour} is than {other.colour}.",
        caption=_caption(bars),
        reasoning=f"It shows {_in_words([first])} minus {_in_words([other])} is {wanted}.",
    )


class Pot(NamedTuple):
    """A pot with a plant, and what it gets."""

    colour: str
    light: str
    """sun or moon"""
    water: str
    """drop or none"""


def fair_test(rng: SeededRandom, number: int) -> Draft:
    """Which pot differs from another in one thing only."""
    light, water = rng.pick(("sun", "moon")), rng.pick(("drop", "none"))
    dark, dry = {"sun": "moon", "moon": "sun"}[light], {"drop": "none", "none": "drop"}[water]
    own, water_only, light_only, *both = rng.sample(COLOURS, number)
    pots = rng.shuffled(
        [
            Pot(own, light, water),
            Pot(water_only, light, dry),
            Pot(light_only, dark, water),
            *(Pot(colour, dark, dry) for colour in both),
        ]
    )
    columns = sorted(rng.sample(range(GRID), number))
    marks = []
    for pot, column in zip(pots, columns, strict=True):
        marks.append(Mark(pot.light, "ink", 0, column))
        if pot.water == "drop":
            marks.append(Mark("drop", "ink", 1, column))
        marks.append(Mark("plant", "leaf", 2, column))
        marks.append(Mark("pot", pot.colour, 3, column))
    tested, answer = rng.pick((("water", water_only), ("light", light_only)))
    words = listed(f"{_conditions(pot)} {pot.colour}" for pot in pots if pot.colour != own)
    mine, found = (next(pot for pot in pots if pot.colour == c) for c in (own, answer))
    return Draft(
        scene=Scene("shelf", tuple(marks)),
        question=rng.pick(
            (
                f"Which pot shows with the {own} pot what {tested} does?",
                f"Which pot differs from the {own} pot only in {tested}?",
            )
        ),
        answer=answer,
        wrong=[pot.colour for pot in pots if pot.colour not in {own, answer}],
        summary=f"The question asks which pot differs from the {own} pot only in {tested}.",
        caption=f"There are {number} pots: {own} {_conditions(mine)}, and {words}.",
        reasoning=f"It shows {own} {_conditions(mine)}. With other {tested} that is "
        f"{_conditions(found)} {answer}.",
        hint="The sun stands for light, the moon for dark.",
    )


def _conditions(pot: Pot) -> str:
    return f"{pot.light} {'wet' if pot.water == 'drop' else 'dry'}"


_TOPIC = "science-and-engineering-practices"
FAMILIES = (
    *families(
        _TOPIC,
        CHART_LECTURE,
        (height, 1, {1: 3, 2: 4}),
        (tallest, 2, {1: 3, 2: 4}),
        (difference, 2, {1: 2, 2: 3, 3: 4}),
        (together, 3, {2: 3, 3: 4}),
        (second_tallest, 3, {2: 3, 3: 4}),
    ),
    *families(_TOPIC, TEST_LECTURE, (fair_test, 3, {2: 3, 3: 4})),
)
