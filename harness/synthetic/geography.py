"""Geography: states on a map, what lies in them and which is farthest in some direction."""

from __future__ import annotations

from typing import NamedTuple

from harness.synthetic.families import Draft, extreme, families, listed
from harness.synthetic.scenes import COLOURS, GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

SIGHTS = ("mountain", "lake", "town", "forest")
DIRECTIONS = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}
"""Name -> the step of one cell, (row, column)."""

LECTURE = (
    "A map shows places as seen from above. North is at the top of a map, south at the bottom, "
    "west on the left and east on the right. To find the state that is farthest north, look for "
    "the one that is highest on the map."
)


class State(NamedTuple):
    """A state, one cell large."""

    colour: str
    sight: str
    row: int
    column: int


def _states(rng: SeededRandom, number: int) -> list[State]:
    """States in cells of their own, in reading order."""
    cells = sorted(rng.sample(range(GRID * GRID), number))
    colours = rng.sample(COLOURS, number)
    return [
        State(colour, rng.pick(SIGHTS), *divmod(cell, GRID))
        for colour, cell in zip(colours, cells, strict=True)
    ]


def _scene(states: list[State]) -> Scene:
    marks = [
        mark
        for state in states
        for mark in (
            Mark("land", state.colour, state.row, state.column),
            Mark(state.sight, "white", state.row, state.column),
        )
    ]
    return Scene("sea", tuple(marks))


def _caption(words: list[str], what: str = "") -> str:
    return f"The map shows {len(words)} states{what}: {listed(words)}."


def contains(rng: SeededRandom, number: int) -> Draft:
    """What lies in a state."""
    states = _states(rng, number)
    asked = rng.pick(states)
    return Draft(
        scene=_scene(states),
        question=rng.pick(
            (
                f"What is in the {asked.colour} state?",
                f"What can you find in the {asked.colour} state?",
            )
        ),
        answer=asked.sight,
        wrong=[sight for sight in SIGHTS if sight != asked.sight],
        summary=f"The question asks what is in the {asked.colour} state.",
        caption=_caption([f"{s.colour} {s.sight}" for s in states]),
        reasoning=f"It shows {asked.colour} {asked.sight}.",
    )


def holder(rng: SeededRandom, number: int) -> Draft | None:
    """Which state has something that no other has."""
    states = _states(rng, number)
    alone = [s for s in states if sum(t.sight == s.sight for t in states) == 1]
    if not alone:
        return None
    asked = rng.pick(alone)
    return Draft(
        scene=_scene(states),
        question=rng.pick(
            (f"Which state has a {asked.sight}?", f"In which state is there a {asked.sight}?")
        ),
        answer=asked.colour,
        wrong=[s.colour for s in states if s != asked],
        summary=f"The question asks which state has a {asked.sight}.",
        caption=_caption([f"{s.sight} {s.colour}" for s in states]),
        reasoning=f"It shows {asked.sight} {asked.colour}.",
    )


def _reach(state: State, direction: str) -> int:
    """How far a state is in a direction, in cells; the larger the farther."""
    down, right = DIRECTIONS[direction]
    return state.row * down + state.column * right


def _axis(direction: str) -> str:
    return "row" if direction in {"north", "south"} else "column"


def _place(state: State, direction: str) -> int:
    """Its row or its column, whichever counts in that direction, from 1."""
    return 1 + (state.row if _axis(direction) == "row" else state.column)


def _farthest(direction: str, first: State) -> str:
    """North is the smallest row, west the smallest column."""
    sign = -sum(DIRECTIONS[direction])
    return extreme(sign, _place(first, direction), first.colour)


def farthest(rng: SeededRandom, number: int) -> Draft | None:
    """Which of all states is farthest in a direction."""
    states = _states(rng, number)
    direction = rng.pick(tuple(DIRECTIONS))
    ranked = sorted(states, key=lambda s: _reach(s, direction), reverse=True)
    if _reach(ranked[0], direction) == _reach(ranked[1], direction):
        return None
    first = ranked[0]
    return Draft(
        scene=_scene(states),
        question=rng.pick(
            (
                f"Which state is farthest {direction}?",
                f"Which of these states is farthest {direction}?",
            )
        ),
        answer=first.colour,
        wrong=[s.colour for s in states if s != first],
        summary=f"The question asks which state is farthest {direction}.",
        caption=_caption(
            [f"{_place(s, direction)} {s.colour}" for s in states],
            f" by {_axis(direction)}",
        ),
        reasoning=_farthest(direction, first),
        hint="North is at the top of the map.",
    )


def filtered(rng: SeededRandom, number: int) -> Draft | None:
    """Of the states that have something, which is farthest in a direction."""
    states = _states(rng, number)
    direction, sight = rng.pick(tuple(DIRECTIONS)), rng.pick(SIGHTS)
    having = [s for s in states if s.sight == sight]
    ranked = sorted(having, key=lambda s: _reach(s, direction), reverse=True)
    if len(having) < 2 or _reach(ranked[0], direction) == _reach(ranked[1], direction):
        return None
    first = ranked[0]
    sifted = [
        f"{s.sight} {f'{_place(s, direction)} {s.colour}' if s in having else 'no'}" for s in states
    ]
    return Draft(
        scene=_scene(states),
        question=rng.pick(
            (
                f"Which state with a {sight} is farthest {direction}?",
                f"Of the states with a {sight}, which is farthest {direction}?",
            )
        ),
        answer=first.colour,
        wrong=[s.colour for s in states if s != first],
        summary=f"The question asks which state with a {sight} is farthest {direction}.",
        caption=_caption(
            [f"{s.sight} {_place(s, direction)} {s.colour}" for s in states],
            f" by {_axis(direction)}",
        ),
        reasoning=f"With a {sight}: {listed(sifted)}. {_farthest(direction, first)}",
        hint="North is at the top of the map.",
    )


def _both(state: State) -> str:
    return f"{state.colour} {state.row + 1} {state.column + 1}"


def direction(rng: SeededRandom, number: int) -> Draft | None:
    """In which direction one state lies from another, both in one row or column."""
    way = rng.pick(tuple(DIRECTIONS))
    states = _states(rng, number)
    down, _ = DIRECTIONS[way]
    pairs = [
        (start, end)
        for start in states
        for end in states
        if start != end
        and (start.column == end.column if down else start.row == end.row)
        and _reach(end, way) > _reach(start, way)
    ]
    if not pairs:
        return None
    start, end = rng.pick(pairs)
    return Draft(
        scene=_scene(states),
        question=rng.pick(
            (
                f"In which direction is the {end.colour} state from the {start.colour} state?",
                f"In which direction do you go from the {start.colour} to the {end.colour} state?",
            )
        ),
        answer=way,
        wrong=[name for name in DIRECTIONS if name != way],
        summary=f"The question asks for the direction from {start.colour} to {end.colour}.",
        caption=_caption(list(map(_both, states)), " by row and column"),
        reasoning=f"It shows {_both(start)}, {_both(end)}. From {_axis(way)} {_place(start, way)} "
        f"to {_place(end, way)} is {way}.",
        hint="North is at the top of the map.",
    )


FAMILIES = families(
    "geography",
    LECTURE,
    (contains, 1, {1: 3, 2: 5}),
    (holder, 1, {1: 3, 2: 5}),
    (farthest, 2, {1: 3, 2: 4, 3: 5}),
    (direction, 2, {1: 3, 2: 5}),
    (filtered, 3, {2: 4, 3: 5}),
)
