"""Earth science: layers of rock, the fossils in them, and which of them is older."""

from __future__ import annotations

from typing import NamedTuple

from harness.synthetic.families import Draft, families, listed
from harness.synthetic.scenes import COLOURS, GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

FOSSILS = ("shell", "leaf", "bone", "star", "tooth")
LECTURE = (
    "Rock forms in layers, one on top of the other. The bottom layer is the oldest and the top "
    "layer is the youngest. A fossil is as old as the layer in which it lies."
)


class Layer(NamedTuple):
    """A layer, one row high, and its fossil."""

    colour: str
    fossil: str
    column: int
    """Where the fossil lies."""


def _layers(rng: SeededRandom, number: int) -> list[Layer]:
    """From the top down; the youngest first."""
    colours, fossils = rng.sample(COLOURS, number), rng.sample(FOSSILS, number)
    return [Layer(c, f, rng.below(GRID)) for c, f in zip(colours, fossils, strict=True)]


def _scene(layers: list[Layer]) -> Scene:
    marks = []
    for row, layer in enumerate(layers, start=GRID - len(layers)):
        marks.append(Mark("layer", layer.colour, row, 0))
        marks.append(Mark(layer.fossil, "white", row, layer.column))
    return Scene("sky", tuple(marks))


def _in_words(layers: list[Layer]) -> str:
    return listed(f"{layer.colour} {layer.fossil}" for layer in layers)


def _caption(words: str, number: int, end: str = "top") -> str:
    return f"The rock has {number} layers from the {end}: {words}."


def fossil(rng: SeededRandom, number: int) -> Draft:
    """Which fossil lies in a layer."""
    layers = _layers(rng, number)
    asked = rng.pick(layers)
    return Draft(
        scene=_scene(layers),
        question=rng.pick(
            (
                f"Which fossil is in the {asked.colour} layer?",
                f"What lies in the {asked.colour} layer?",
            )
        ),
        answer=asked.fossil,
        wrong=[layer.fossil for layer in layers if layer != asked],
        summary=f"The question asks which fossil is in the {asked.colour} layer.",
        caption=_caption(_in_words(layers), number),
        reasoning=f"It shows {_in_words([asked])}.",
    )


def oldest(rng: SeededRandom, number: int) -> Draft:
    """Which fossil is the oldest or the youngest."""
    layers = _layers(rng, number)
    word, where, at = rng.pick((("oldest", "bottom", -1), ("youngest", "top", 0)))
    found = layers[at]
    return Draft(
        scene=_scene(layers),
        question=rng.pick(
            (f"Which fossil is the {word}?", f"Which of these fossils is the {word}?")
        ),
        answer=found.fossil,
        wrong=[layer.fossil for layer in layers if layer != found],
        summary=f"The question asks which fossil is the {word}.",
        caption=_caption(_in_words(layers), number),
        reasoning=f"The {word} is at the {where}, {_in_words([found])}.",
    )


def second(rng: SeededRandom, number: int) -> Draft:
    """Which fossil is the second oldest or youngest."""
    layers = _layers(rng, number)
    word, where = rng.pick((("oldest", "bottom"), ("youngest", "top")))
    order = layers[::-1] if word == "oldest" else layers
    found = order[1]
    return Draft(
        scene=_scene(layers),
        question=rng.pick(
            (f"Which fossil is the second {word}?", f"Which of these is the second {word} fossil?")
        ),
        answer=found.fossil,
        wrong=[layer.fossil for layer in layers if layer != found],
        summary=f"The question asks which fossil is the second {word}.",
        caption=_caption(_in_words(order), number, where),
        reasoning=f"From the {where} come {_in_words(order[:2])}.",
    )


def neighbour(rng: SeededRandom, number: int) -> Draft:
    """Which layer lies right under, or right above, the layer with a fossil."""
    layers = _layers(rng, number)
    at = rng.below(number - 1)
    word, end, asked, found = rng.pick(
        (
            ("under", "top", layers[at], layers[at + 1]),
            ("above", "bottom", layers[at + 1], layers[at]),
        )
    )
    order = layers if word == "under" else layers[::-1]
    words = {layer: f"{layer.fossil} {layer.colour}" for layer in order}
    return Draft(
        scene=_scene(layers),
        question=rng.pick(
            (
                f"Which layer is right {word} the {asked.fossil}?",
                f"Which layer lies right {word} the layer with the {asked.fossil}?",
            )
        ),
        answer=found.colour,
        wrong=[layer.colour for layer in layers if layer not in {asked, found}],
        summary=f"The question asks which layer is right {word} the {asked.fossil}.",
        caption=_caption(listed(words.values()), number, end),
        reasoning=f"It shows {words[asked]}, {words[found]}.",
    )


FAMILIES = families(
    "earth-science",
    LECTURE,
    (fossil, 1, {1: 3, 2: 4}),
    (oldest, 2, {1: 3, 2: 4}),
    (neighbour, 2, {1: 3, 2: 4}),
    (second, 3, {2: 3, 3: 4}),
)
