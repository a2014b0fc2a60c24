"""Biology: who eats whom in a pond. Each arrow points from the food to the one that eats it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from harness.synthetic.families import Draft, families, listed
from harness.synthetic.scenes import COLOURS, GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

LECTURE = (
    "A food chain shows how energy moves from one living thing to the next. An arrow points from "
    "the one that is eaten to the one that eats it. The last one in the chain is eaten by no "
    "other. To follow the energy, go from arrow to arrow."
)


def _pond(rng: SeededRandom, number: int) -> tuple[Scene, list[str], list[tuple[str, str]]]:
    """The scene, the chain from the first food to the last eater, and its links from the top."""
    chain = rng.sample(COLOURS, number)
    links = rng.shuffled(list(pairwise(chain)))
    rows = sorted(rng.sample(range(GRID), len(links)))
    marks = []
    for row, (food, eater) in zip(rows, links, strict=True):
        left = rng.below(2)
        marks += [
            Mark("fish", food, row, left),
            Mark("arrow", "ink", row, left + 1),
            Mark("fish", eater, row, left + 2),
        ]
    return Scene("pond", tuple(marks)), chain, links


def _caption(links: list[tuple[str, str]]) -> str:
    return _seen(_arrows(links))


def _seen(arrows: Iterable[str]) -> str:
    return f"The picture shows fish and arrows: {listed(arrows)}."


def _arrows(links: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{food} to {eater}" for food, eater in links]


def eater(rng: SeededRandom, number: int) -> Draft:
    """Who eats a fish: one arrow."""
    scene, chain, links = _pond(rng, number)
    food, answer = rng.pick(links)
    return Draft(
        scene=scene,
        question=rng.pick(
            (f"Which fish eats the {food} fish?", f"By which fish is the {food} fish eaten?")
        ),
        answer=answer,
        wrong=[fish for fish in chain if fish not in {food, answer}],
        summary=f"The question asks which fish eats the {food} fish.",
        caption=_caption(links),
        reasoning=f"It shows {food} to {answer}.",
    )


def food(rng: SeededRandom, number: int) -> Draft:
    """What a fish eats: one arrow, backwards."""
    scene, chain, links = _pond(rng, number)
    answer, eats = rng.pick(links)
    return Draft(
        scene=scene,
        question=rng.pick(
            (f"Which fish does the {eats} fish eat?", f"What does the {eats} fish eat?")
        ),
        answer=answer,
        wrong=[fish for fish in chain if fish not in {eats, answer}],
        summary=f"The question asks which fish the {eats} fish eats.",
        caption=_seen(f"{eater} from {eaten}" for eaten, eater in links),
        reasoning=f"It shows {eats} from {answer}.",
    )


def last(rng: SeededRandom, number: int) -> Draft:
    """Who is eaten by no other: arrow after arrow, from the first one seen."""
    scene, chain, links = _pond(rng, number)
    answer = chain[-1]
    followed = pairwise(chain[chain.index(links[0][0]) :])
    return Draft(
        scene=scene,
        question=rng.pick(
            ("Which fish is last in the food chain?", "Which fish is eaten by no other fish?")
        ),
        answer=answer,
        wrong=chain[:-1],
        summary="The question asks which fish is last in the food chain.",
        caption=_caption(links),
        reasoning=f"The arrows go {listed(_arrows(followed))}, {answer} to none.",
    )


def onward(rng: SeededRandom, number: int) -> Draft:
    """Who gets a fish's energy two arrows on."""
    scene, chain, links = _pond(rng, number)
    at = rng.below(number - 2)
    start, between, answer = chain[at : at + 3]
    return Draft(
        scene=scene,
        question=rng.pick(
            (
                f"Which fish eats the one that eats the {start} fish?",
                f"Which fish gets the energy of the {start} fish in two steps?",
            )
        ),
        answer=answer,
        wrong=[fish for fish in chain if fish not in {start, answer}],
        summary=f"The question asks which fish is two steps after the {start} fish.",
        caption=_caption(links),
        reasoning=f"It shows {start} to {between}, {between} to {answer}.",
    )


FAMILIES = families(
    "biology",
    LECTURE,
    (eater, 1, {1: 3, 2: 4}),
    (food, 1, {1: 3, 2: 4}),
    (onward, 2, {1: 3, 2: 4, 3: 5}),
    (last, 3, {2: 4, 3: 5}),
)
