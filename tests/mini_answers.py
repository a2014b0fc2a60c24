"""The drawn choice questions worked out a second time, from the scene and the question alone.

Nothing here is shared with the code that makes them: it knows what the things on a picture mean,
and finds the answer as a person would who looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.synthetic.scenes import Scene

COLOURS = "red|blue|green|yellow|purple|black"
Cell = tuple[int, int]


def named(question: str) -> list[str]:
    """The colours that a question names, in their order."""
    return re.findall(rf"\b({COLOURS})\b", question)


def lands(scene: Scene) -> dict[str, tuple[int, int, str]]:
    """Colour -> row, column and what is drawn on it."""
    found = {}
    for mark in scene.marks:
        if mark.shape == "land":
            (sign,) = [m for m in scene.at(mark.row, mark.column) if m.shape != "land"]
            found[mark.colour] = (mark.row, mark.column, sign.shape)
    return found


def extreme(places: dict[str, tuple[int, int, str]], question: str) -> str:
    """The land farthest in the direction that the question names."""
    (direction,) = re.findall("north|south|west|east", question)
    at = {"north": 0, "south": 0, "west": 1, "east": 1}[direction]
    values = {colour: place[at] for colour, place in places.items()}
    best = min(values.values()) if direction in {"north", "west"} else max(values.values())
    (answer,) = [colour for colour, value in values.items() if value == best]
    return answer


def contains(scene: Scene, question: str) -> str:
    return lands(scene)[named(question)[0]][2]


def holder(scene: Scene, question: str) -> str:
    (sight,) = re.findall("mountain|lake|town|forest", question)
    (answer,) = [colour for colour, place in lands(scene).items() if place[2] == sight]
    return answer


def farthest(scene: Scene, question: str) -> str:
    return extreme(lands(scene), question)


def filtered(scene: Scene, question: str) -> str:
    (sight,) = re.findall("mountain|lake|town|forest", question)
    return extreme({c: p for c, p in lands(scene).items() if p[2] == sight}, question)


def direction(scene: Scene, question: str) -> str:
    one, two = named(question)
    start, end = (two, one) if " is the " in question else (one, two)
    places = lands(scene)
    down, right = (places[end][axis] - places[start][axis] for axis in (0, 1))
    assert (down == 0) != (right == 0)
    return {(-1, 0): "north", (1, 0): "south", (0, -1): "west", (0, 1): "east"}[
        (down > 0) - (down < 0), (right > 0) - (right < 0)
    ]


def magnets(scene: Scene) -> dict[str, tuple[int, bool]]:
    """Name of a pair -> the distance of its magnets, and whether they attract."""
    rows = sorted({mark.row for mark in scene.marks})
    names = ["top", "second", "third", "bottom"] if len(rows) == 4 else ["top", "middle", "bottom"]
    found = {}
    for name, row in zip(names, rows, strict=True):
        pair = [m for m in scene.marks if m.row == row and m.shape == "magnet"]
        left, right = sorted(pair, key=lambda mark: mark.column)
        # Turned the same way, the right end of one faces the left end of the other.
        found[name] = (right.column - left.column, left.colour == right.colour)
    return found


def pair_named(question: str) -> str:
    (name,) = re.findall("top|second|third|middle|bottom", question)
    return name


def gap(scene: Scene, question: str) -> str:
    return str(magnets(scene)[pair_named(question)][0])


def force(scene: Scene, question: str) -> str:
    return "attract" if magnets(scene)[pair_named(question)][1] else "repel"


def distance(scene: Scene, question: str) -> str:
    pairs = {name: pair[0] for name, pair in magnets(scene).items()}
    best = max(pairs.values()) if "farthest" in question else min(pairs.values())
    (answer,) = [name for name, value in pairs.items() if value == best]
    return answer


def strongest(scene: Scene, question: str) -> str:
    wanted = "pull together" in question
    acting = {name: pair[0] for name, pair in magnets(scene).items() if pair[1] == wanted}
    (answer,) = [name for name, value in acting.items() if value == min(acting.values())]
    return answer


def arrows(scene: Scene) -> dict[str, str]:
    """Food -> eater."""
    found = {}
    for arrow in (mark for mark in scene.marks if mark.shape == "arrow"):
        (food,) = scene.at(arrow.row, arrow.column - 1)
        (eater,) = scene.at(arrow.row, arrow.column + 1)
        found[food.colour] = eater.colour
    return found


def eater(scene: Scene, question: str) -> str:
    return arrows(scene)[named(question)[0]]


def food(scene: Scene, question: str) -> str:
    (answer,) = [f for f, e in arrows(scene).items() if e == named(question)[0]]
    return answer


def onward(scene: Scene, question: str) -> str:
    return arrows(scene)[arrows(scene)[named(question)[0]]]


def last(scene: Scene, question: str) -> str:
    (answer,) = set(arrows(scene).values()) - set(arrows(scene))
    return answer


def layers(scene: Scene) -> list[tuple[str, str]]:
    """Colour and fossil, from the top."""
    found = []
    for layer in sorted((m for m in scene.marks if m.shape == "layer"), key=lambda m: m.row):
        (fossil,) = [m for m in scene.marks if m.row == layer.row and m.shape != "layer"]
        found.append((layer.colour, fossil.shape))
    return found


def fossil(scene: Scene, question: str) -> str:
    return dict(layers(scene))[named(question)[0]]


def oldest(scene: Scene, question: str) -> str:
    return layers(scene)[-1 if "oldest" in question else 0][1]


def second(scene: Scene, question: str) -> str:
    return layers(scene)[-2 if "oldest" in question else 1][1]


def neighbour(scene: Scene, question: str) -> str:
    (asked,) = re.findall("shell|leaf|bone|star|tooth", question)
    order = layers(scene)
    (at,) = [n for n, (_, shape) in enumerate(order) if shape == asked]
    return order[at + 1 if "under" in question else at - 1][0]


def bars(scene: Scene) -> dict[str, int]:
    """Colour -> height."""
    found: dict[str, int] = {}
    for mark in scene.marks:
        found[mark.colour] = found.get(mark.colour, 0) + 1
    return found


def height(scene: Scene, question: str) -> str:
    return str(bars(scene)[named(question)[0]])


def ranked(values: dict[str, int]) -> list[str]:
    assert len(set(values.values())) == len(values)
    return sorted(values, key=lambda name: values[name])


def tallest(scene: Scene, question: str) -> str:
    return ranked(bars(scene))[-1 if "tallest" in question else 0]


def second_tallest(scene: Scene, question: str) -> str:
    return ranked(bars(scene))[-2 if "tallest" in question else 1]


def together(scene: Scene, question: str) -> str:
    one, two = named(question)
    return str(bars(scene)[one] + bars(scene)[two])


def difference(scene: Scene, question: str) -> str:
    one, two = named(question)
    return str(bars(scene)[one] - bars(scene)[two])


def fair_test(scene: Scene, question: str) -> str:
    pots = {
        mark.colour: {
            "light": any(m.shape == "sun" for m in scene.at(0, mark.column)),
            "water": any(m.shape == "drop" for m in scene.at(1, mark.column)),
        }
        for mark in scene.marks
        if mark.shape == "pot"
    }
    (mine,) = named(question)
    (tested,) = re.findall("light|water", question)
    wanted = {**pots[mine], tested: not pots[mine][tested]}
    (answer,) = [colour for colour, pot in pots.items() if pot == wanted]
    return answer


def beakers(scene: Scene) -> dict[str, list[int]]:
    """Colour of the stopper -> particles in each part of the liquid."""
    return {
        mark.colour: [
            int(m.colour)
            for m in scene.marks
            if m.column == mark.column and m.shape.startswith("glass") and m.colour != "0"
        ]
        for mark in scene.marks
        if mark.shape == "stopper"
    }


def one_best(values: dict[str, int], question: str) -> str:
    best = max(values.values()) if "most" in question else min(values.values())
    (answer,) = [name for name, value in values.items() if value == best]
    return answer


def level(scene: Scene, question: str) -> str:
    return str(len(beakers(scene)[named(question)[0]]))


def concentrated(scene: Scene, question: str) -> str:
    return one_best({c: parts[0] for c, parts in beakers(scene).items()}, question)


def dissolved(scene: Scene, question: str) -> str:
    return one_best({c: sum(parts) for c, parts in beakers(scene).items()}, question)


def timeline(scene: Scene) -> list[str]:
    """The colonies' colours in the order in which they were founded."""
    by_flag = {place[2]: colour for colour, place in lands(scene).items()}
    signs = sorted((m for m in scene.marks if m.row == 3), key=lambda m: m.column)
    return [by_flag[sign.shape] for sign in signs]


def flag(scene: Scene, question: str) -> str:
    return contains(scene, question)


def first(scene: Scene, question: str) -> str:
    return timeline(scene)[0 if "first" in question else -1]


def order(scene: Scene, question: str) -> str:
    pick = min if "earlier" in question else max
    return pick(named(question), key=timeline(scene).index)


def following(scene: Scene, question: str) -> str:
    founded = timeline(scene)
    at = founded.index(named(question)[0])
    return founded[at + 1 if re.search("after", question, re.IGNORECASE) else at - 1]


SOLVERS: dict[str, Callable[[Scene, str], str]] = {
    name.replace("_", "-"): function
    for name, function in list(globals().items())
    if callable(function) and getattr(function, "__module__", None) == __name__
}


def solve(skill: str, scene: Scene, question: str) -> str:
    """The right option's text."""
    return SOLVERS[skill](scene, question)
