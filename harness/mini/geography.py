"""Geography: states on a map, what lies in them and which is farthest in some direction."""

from __future__ import annotations

from typing import NamedTuple

from harness.mini.chance import Chance
from harness.mini.families import Draft, Family, listed
from harness.mini.scenes import COLOURS, GRID, Mark, Scene

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


def _states(chance: Chance, number: int) -> list[State]:
    """States in cells of their own, in reading order."""
    cells = sorted(chance.sample(range(GRID * GRID), number))
    colours = chance.sample(COLOURS, number)
    return [
        State(colour, chance.pick(SIGHTS), *divmod(cell, GRID))
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


def _opening(chance: Chance, number: int) -> str:
    return chance.pick(
        (
            f"The map shows {number} states.",
            f"This is a map of {number} states.",
            f"There are {number} states on the map.",
        )
    )


def _sights(chance: Chance, states: list[State]) -> str:
    said = chance.pick(("The {0} state has a {1}.", "{0} has a {1}."))
    sentences = [said.format(s.colour, s.sight) for s in states]
    return " ".join([_opening(chance, len(states)), *(s[0].upper() + s[1:] for s in sentences)])


def contains(chance: Chance, number: int) -> Draft:
    """What lies in a state."""
    states = _states(chance, number)
    asked = chance.pick(states)
    return Draft(
        scene=_scene(states),
        question=chance.pick(
            (
                f"What is in the {asked.colour} state?",
                f"What can you find in the {asked.colour} state?",
            )
        ),
        answer=asked.sight,
        wrong=[sight for sight in SIGHTS if sight != asked.sight],
        summary=f"The question asks what is in the {asked.colour} state.",
        caption=_sights(chance, states),
        reasoning=f"The {asked.colour} state has a {asked.sight}.",
    )


def holder(chance: Chance, number: int) -> Draft | None:
    """Which state has something that no other has."""
    states = _states(chance, number)
    alone = [s for s in states if sum(t.sight == s.sight for t in states) == 1]
    if not alone:
        return None
    asked = chance.pick(alone)
    return Draft(
        scene=_scene(states),
        question=chance.pick(
            (f"Which state has a {asked.sight}?", f"In which state is there a {asked.sight}?")
        ),
        answer=asked.colour,
        wrong=[s.colour for s in states if s != asked],
        summary=f"The question asks which state has a {asked.sight}.",
        caption=_sights(chance, states),
        reasoning=f"The {asked.sight} is in the {asked.colour} state.",
    )


def _reach(state: State, direction: str) -> int:
    """How far a state is in a direction, in cells; the larger the farther."""
    down, right = DIRECTIONS[direction]
    return state.row * down + state.column * right


def _place(state: State, direction: str) -> str:
    """Its row or its column, whichever counts in that direction, from 1."""
    if direction in {"north", "south"}:
        return f"row {state.row + 1}"
    return f"column {state.column + 1}"


_WHERE = {"north": "top", "south": "bottom", "west": "left", "east": "right"}


def farthest(chance: Chance, number: int) -> Draft | None:
    """Which of all states is farthest in a direction."""
    states = _states(chance, number)
    direction = chance.pick(tuple(DIRECTIONS))
    ranked = sorted(states, key=lambda s: _reach(s, direction), reverse=True)
    if _reach(ranked[0], direction) == _reach(ranked[1], direction):
        return None
    first = ranked[0]
    places = " ".join(f"{s.colour.capitalize()} is in {_place(s, direction)}." for s in states)
    return Draft(
        scene=_scene(states),
        question=chance.pick(
            (
                f"Which state is farthest {direction}?",
                f"Which of these states is farthest {direction}?",
            )
        ),
        answer=first.colour,
        wrong=[s.colour for s in states if s != first],
        summary=f"The question asks which state is farthest {direction}.",
        caption=f"{_opening(chance, number)} {places}",
        reasoning=f"From the {_WHERE[direction]} the states are "
        f"{listed([f'{s.colour} in {_place(s, direction)}' for s in ranked])}. "
        f"The farthest {direction} is {first.colour}.",
        hint="North is at the top of the map.",
    )


def filtered(chance: Chance, number: int) -> Draft | None:
    """Of the states that have something, which is farthest in a direction."""
    states = _states(chance, number)
    direction, sight = chance.pick(tuple(DIRECTIONS)), chance.pick(SIGHTS)
    having = [s for s in states if s.sight == sight]
    ranked = sorted(having, key=lambda s: _reach(s, direction), reverse=True)
    if len(having) < 2 or _reach(ranked[0], direction) == _reach(ranked[1], direction):
        return None
    first = ranked[0]
    places = " ".join(
        f"{s.colour.capitalize()}: {s.sight}, {_place(s, direction)}." for s in states
    )
    return Draft(
        scene=_scene(states),
        question=chance.pick(
            (
                f"Which state with a {sight} is farthest {direction}?",
                f"Of the states with a {sight}, which is farthest {direction}?",
            )
        ),
        answer=first.colour,
        wrong=[s.colour for s in states if s != first],
        summary=f"The question asks which state with a {sight} is farthest {direction}.",
        caption=f"{_opening(chance, number)} {places}",
        reasoning=f"The states with a {sight} are {listed([s.colour for s in having])}. "
        f"From the {_WHERE[direction]} they are "
        f"{listed([f'{s.colour} in {_place(s, direction)}' for s in ranked])}. "
        f"The farthest {direction} is {first.colour}.",
        hint="North is at the top of the map.",
    )


def direction(chance: Chance, number: int) -> Draft | None:
    """In which direction one state lies from another, both in one row or column."""
    way = chance.pick(tuple(DIRECTIONS))
    states = _states(chance, number)
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
    start, end = chance.pick(pairs)
    places = " ".join(
        f"{s.colour.capitalize()} in row {s.row + 1}, column {s.column + 1}." for s in states
    )
    key = "row" if down else "column"
    return Draft(
        scene=_scene(states),
        question=chance.pick(
            (
                f"In which direction is the {end.colour} state from the {start.colour} state?",
                f"In which direction do you go from the {start.colour} to the {end.colour} state?",
            )
        ),
        answer=way,
        wrong=[name for name in DIRECTIONS if name != way],
        summary=f"The question asks for the direction from {start.colour} to {end.colour}.",
        caption=f"{_opening(chance, number)} {places}",
        reasoning=f"The {start.colour} state is in {_place(start, way)} and the {end.colour} state "
        f"in {_place(end, way)} of the same {'column' if key == 'row' else 'row'}. "
        f"So {end.colour} is more to the {_WHERE[way]}, which is {way}.",
        hint="North is at the top of the map.",
    )


FAMILIES = tuple(
    Family(
        topic="geography",
        skill=make.__name__,
        steps=steps,
        sizes=sizes,
        make=make,
        lecture=LECTURE,
    )
    for make, steps, sizes in (
        (contains, 1, {1: 3, 2: 5}),
        (holder, 1, {1: 3, 2: 5}),
        (farthest, 2, {1: 3, 2: 4, 3: 5}),
        (direction, 2, {1: 3, 2: 5}),
        (filtered, 3, {2: 4, 3: 5}),
    )
)
