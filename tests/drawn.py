"""Questions drawn for the tests, in ScienceQA's fields, where those of the package are not meant."""

from __future__ import annotations

import json
import random
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

PER_TOPIC = 16
SIZE = (320, 200)
GROUND, INK = "#fbfaf7", "#22262e"
COLOURS = {"red": "#c0392b", "blue": "#2f6db5", "green": "#3d8b52", "yellow": "#d9a521"}


def draw_questions(folder: Path, *, seed: int = 0) -> None:
    """Write test.jsonl and its pictures: PER_TOPIC questions of each of four topics, in ScienceQA's
    fields."""
    pictures, lines = _questions(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
    (folder / "test.jsonl").write_text(lines, encoding="utf-8")


@cache
def _questions(seed: int) -> tuple[dict[str, bytes], str]:
    """Pictures as PNG by their paths, and the rows as lines of JSON."""
    chance = random.Random(seed)  # drawing, not secrecy
    pictures, lines = {}, ""
    for topic, draw in _TOPICS.items():
        for number in range(PER_TOPIC):
            picture, question, choices, answer, solution = draw(chance)
            name = f"{topic}-{number:02}"
            file = BytesIO()
            picture.save(file, "PNG")
            pictures[f"images/{name}.png"] = file.getvalue()
            row = {
                "id": name,
                "image": f"images/{name}.png",
                "question": question,
                "choices": choices,
                "answer": choices.index(answer),
                "topic": topic,
                "hint": "",
                "lecture": "",
                "solution": solution,
            }
            lines += json.dumps(row) + "\n"
    return pictures, lines


Drawn = tuple[Image.Image, str, list[str], str, str]
"""Picture, question, choices, the right one, why."""


def _canvas() -> tuple[Image.Image, Any]:
    picture = Image.new("RGB", SIZE, GROUND)
    return picture, ImageDraw.Draw(picture)


def _map(chance: random.Random) -> Drawn:
    """Towns on a map: which is farthest north."""
    picture, pen = _canvas()
    towns = chance.sample(["Arden", "Brill", "Corby", "Dunmore", "Elsing", "Farley"], 4)
    heights = chance.sample(range(30, 190, 20), 4)
    for place, (town, y) in enumerate(zip(towns, heights, strict=True)):
        x = 30 + 70 * place
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=INK)
        pen.text((x + 8, y - 6), town, fill=INK)
    pen.line((300, 40, 300, 15), fill=INK, width=2)
    pen.text((297, 2), "N", fill=INK)
    answer = towns[heights.index(min(heights))]
    return (
        picture,
        "Which town is farthest north?",
        sorted(towns),
        answer,
        f"{answer} is highest up.",
    )


def _ramp(chance: random.Random) -> Drawn:
    picture, pen = _canvas()
    names = chance.sample(sorted(COLOURS), 3)
    heights = chance.sample(range(40, 170, 30), 3)
    for place, (name, y) in enumerate(zip(names, heights, strict=True)):
        x = 60 + 100 * place
        pen.line((x - 25, y + 12, x + 25, y + 12), fill=INK, width=3)
        pen.ellipse((x - 11, y - 11, x + 11, y + 11), fill=COLOURS[name])
    pen.line((0, 190, SIZE[0], 190), fill=INK, width=2)
    answer = names[heights.index(min(heights))]
    question = "The balls have the same mass. Which one has the most potential energy?"
    return picture, question, sorted(names), answer, f"The {answer} ball is the highest."


def _pond(chance: random.Random) -> Drawn:
    """Fish in a pond: how many of them."""
    picture, pen = _canvas()
    count = chance.randint(2, 5)
    for place in range(count):
        x, y = 40 + 55 * place, chance.randint(40, 150)
        pen.ellipse((x - 18, y - 9, x + 18, y + 9), fill=COLOURS["blue"])
        pen.polygon(((x - 16, y), (x - 28, y - 9), (x - 28, y + 9)), fill=COLOURS["blue"])
        pen.ellipse((x + 9, y - 4, x + 12, y - 1), fill="white")
    choices = [str(n) for n in range(2, 6)]
    return picture, "How many fish live in this pond?", choices, str(count), f"Count them: {count}."


def _beakers(chance: random.Random) -> Drawn:
    picture, pen = _canvas()
    dots = chance.sample([3, 6, 9, 12], 2)
    for place, number in enumerate(dots):
        x = 50 + 140 * place
        pen.rectangle((x, 40, x + 80, 170), outline=INK, width=2)
        for _ in range(number):
            left, top = chance.randint(x + 6, x + 68), chance.randint(60, 158)
            pen.ellipse((left, top, left + 7, top + 7), fill=COLOURS["green"])
        pen.text((x + 18, 178), f"Solution {'AB'[place]}", fill=INK)
    answer = "Solution A" if dots[0] > dots[1] else "Solution B"
    question = "Which solution has a higher concentration of green particles?"
    return picture, question, ["Solution A", "Solution B"], answer, f"{answer} has more particles."


_TOPICS = {"geography": _map, "physics": _ramp, "biology": _pond, "chemistry": _beakers}
