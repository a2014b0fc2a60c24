"""Open questions as people ask them online, about synthetic pictures, answered in sentences.

An answer says what the picture shows and what to do about it. Which of several wordings a sentence
has is left to chance, as it is between people, so that no answer can be foretold word by word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from harness.synthetic.families import Draft, Family, listed
from harness.synthetic.scenes import COLOURS, GRID, Mark, Scene
from harness.synthetic.seeded_random import SeededRandom

CONDITIONS = ("fine", "dry", "spotted", "eaten")
_TROUBLE = {"dry": ("is dry", "are dry"), "spotted": ("has spots", "have spots")}
_TROUBLE |= {"eaten": ("is eaten", "are eaten"), "fine": ("is fine", "are fine")}
_CARE = {
    "dry": ("so give {it} water early each day", "so water {it} more often"),
    "spotted": ("so cut off the leaves with spots", "so take the bad leaves off"),
    "eaten": ("so look for snails at night", "so put sand around {it} to keep snails away"),
}


def care(rng: SeededRandom, number: int) -> Draft:
    """Gardening: which plants have what trouble, and what helps."""
    colours = rng.sample(COLOURS[:-1], number)
    columns = sorted(rng.sample(range(GRID), number))
    states = [rng.pick(CONDITIONS) for _ in colours]
    marks = []
    for colour, state, column in zip(colours, states, columns, strict=True):
        marks.append(Mark("bloom", colour, 1, column))
        marks.append(Mark("stem", state, 2, column))
        marks.append(Mark("pot", "clay", 3, column))
    plants = list(zip(colours, states, strict=True))
    alike = {each: [c for c, state in plants if state == each] for each in CONDITIONS}
    sentences = []
    for state, those in alike.items():
        if those and state != "fine":
            advice = rng.pick(_CARE[state]).format(it="them" if len(those) > 1 else "it")
            sentences.append(f"{_plants(those, state)}, {advice}.")
    if not sentences:
        sentences.append(rng.pick(("Your plants look fine.", "I see no trouble.")))
        sentences.append(rng.pick(("Go on as you do.", "Do not change a thing.")))
    else:
        sentences.insert(0, rng.pick(("Thank you for the picture.", "You are right to ask.")))
        if alike["fine"]:
            sentences.append(f"{_plants(alike['fine'], 'fine')}.")
    ill = [colour for colour, state in plants if state != "fine"]
    return Draft(
        scene=Scene("shelf", tuple(marks)),
        question=rng.pick(
            (
                "What is wrong with my plants?",
                "What should I do for my plants?",
                "Do my plants need help?",
            )
        ),
        hint=rng.pick(
            (
                "They stand in a row at the window.",
                "I have had them for a month and water them when I think of it.",
                "A friend gave them to me.",
            )
        ),
        answer=" ".join(sentences),
        wrong=(),
        summary="The question asks what the plants need.",
        caption=" ".join(
            [f"There are {number} plants.", *(f"{_plants([c], state)}." for c, state in plants)]
        ),
        reasoning=f"In need of help: {listed(ill)}." if ill else "No plant is in need of help.",
    )


def _plants(colours: Sequence[str], state: str) -> str:
    """What is so with some plants: the red and blue plants are dry."""
    many = len(colours) > 1
    return f"The {listed(colours)} plant{'s' if many else ''} {_TROUBLE[state][many]}"


STAPLES = {"bread": "Bake the bread for 5 minutes", "rice": "Boil the rice for 20 minutes"}
FOODS = {
    "tomato": "cut the tomato",
    "carrot": "boil the carrot",
    "egg": "fry the egg",
    "cheese": "put the cheese on top",
    "mushroom": "fry the mushroom",
    "fish": "fry the fish",
}


def meal(rng: SeededRandom, number: int) -> Draft:
    """Cooking: what to make of what is on the table."""
    staple = rng.pick(tuple(STAPLES))
    things = rng.sample(tuple(FOODS), number)
    cells = rng.sample(range(GRID * GRID), number + 1)
    places = sorted(zip(cells, [staple, *things], strict=True))
    foods = [name for _, name in places if name != staple]
    marks = [
        Mark(name, "blue" if name == "fish" else "own", *divmod(cell, GRID))
        for cell, name in places
    ]
    steps = [FOODS[name] for name in foods]
    names = listed([name for _, name in places])
    sentences = [
        rng.pick((f"You have {names}.", f"I see {names} on your table.")),
        rng.pick((f"{STAPLES[staple]}.", f"{STAPLES[staple]} first.")),
        f"Then {steps[0]}{''.join(f', {step}' for step in steps[1:-1])}"
        + (f" and {steps[-1]}." if len(steps) > 1 else "."),
    ]
    sentences.append(rng.pick((f"Serve it with the {staple}.", f"Put all of it on the {staple}.")))
    return Draft(
        scene=Scene("table", tuple(marks)),
        question=rng.pick(
            (
                "What can I cook with this?",
                "What can I make with what I have here?",
                "How do I make a meal of this?",
            )
        ),
        hint=rng.pick(
            ("I have one pan and one oven.", "It should not take long.", "The shop is closed.")
        ),
        answer=" ".join(sentences),
        wrong=(),
        summary="The question asks for a meal from the things on the table.",
        caption=f"On the table there are {names}.",
        reasoning=f"The meal needs {staple} first. To go with it: {listed(foods)}.",
    )


MINUTES = 5
"""To walk one block."""


def way(rng: SeededRandom, number: int) -> Draft | None:
    """Travel: how to walk from the station to the hotel."""
    cells = rng.sample(range(GRID * GRID), 2 + number)
    station, hotel = divmod(cells[0], GRID), divmod(cells[1], GRID)
    sights = sorted(zip(cells[2:], rng.sample(("lake", "forest", "mountain"), number), strict=True))
    legs = _legs(station, hotel)
    blocks = [f"{length} block{'s' if length > 1 else ''} {to}" for length, to in legs]
    total = sum(length for length, _ in legs)
    near = [name for cell, name in sights if _adjacent(divmod(cell, GRID), hotel)]
    beside = listed([f"the {name}" for name in near])
    sentences = [
        rng.pick(("You can walk.", "It is easy to walk.", "There is no need for a bus.")),
        f"Go {' and then '.join(blocks)}.",
        rng.pick(
            (
                f"It takes about {MINUTES * total} minutes.",
                f"You will be there in {MINUTES * total} minutes.",
            )
        ),
    ]
    if near:
        sentences.append(f"The hotel is next to {beside}.")
    else:
        sentences.append("There is no sight next to the hotel.")
    return Draft(
        scene=_street_map(station, hotel, sights),
        question=rng.pick(
            (
                "How do I get from the station to the hotel?",
                "Can I walk from the station to the hotel?",
                "Which way is it from the station to the hotel?",
            )
        ),
        hint=rng.pick(
            (
                "I will be there for one night.",
                "My train comes in late.",
                f"A block takes me about {MINUTES} minutes.",
            )
        ),
        answer=" ".join(sentences),
        wrong=(),
        summary="The question asks for the way from the station to the hotel.",
        caption=f"The station is in row {station[0] + 1}, column {station[1] + 1}. "
        f"The hotel is in row {hotel[0] + 1}, column {hotel[1] + 1}. "
        + (f"Next to the hotel is {beside}." if near else "No sight is next to the hotel."),
        reasoning=f"The hotel is {' and '.join(blocks)} of the station. "
        f"{total} block{'s' if total > 1 else ''} at {MINUTES} minutes is {MINUTES * total}.",
    )


def _legs(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, str]]:
    """The way from cell to cell as (blocks, direction), first along the row."""
    down, right = end[0] - start[0], end[1] - start[1]
    legs = []
    if right:
        legs.append((abs(right), "east" if right > 0 else "west"))
    if down:
        legs.append((abs(down), "south" if down > 0 else "north"))
    return legs


def _street_map(
    station: tuple[int, int], hotel: tuple[int, int], sights: Sequence[tuple[int, str]]
) -> Scene:
    marks = [
        Mark("land", "black", *station),
        Mark("train", "white", *station),
        Mark("land", "red", *hotel),
        Mark("town", "white", *hotel),
    ]
    for cell, name in sights:
        marks.append(Mark("land", "green", *divmod(cell, GRID)))
        marks.append(Mark(name, "white", *divmod(cell, GRID)))
    return Scene("streets", tuple(marks))


def _adjacent(one: tuple[int, int], two: tuple[int, int]) -> bool:
    return abs(one[0] - two[0]) + abs(one[1] - two[1]) == 1


def tank(rng: SeededRandom, number: int) -> Draft:
    """Pets: whether a tank is right for its fish."""
    cells = rng.sample(range(GRID * 3), number)
    colours = [rng.pick(COLOURS) for _ in range(number)]
    fish = [colour for _, colour in sorted(zip(cells, colours, strict=True))]
    weeds = rng.below(3)
    is_clean = rng.below(2) == 0
    marks = [
        Mark("fish", colour, *divmod(cell, GRID))
        for colour, (cell, _) in zip(fish, sorted(zip(cells, colours, strict=True)), strict=True)
    ]
    marks += [
        Mark("weed", "leaf", GRID - 1, column) for column in sorted(rng.sample(range(GRID), weeds))
    ]
    counts = Counter(fish)
    kinds = listed([f"{n} {colour}" for colour, n in sorted(counts.items())])
    lonely = sorted(colour for colour, n in counts.items() if n == 1)
    sentences = [rng.pick((f"I see {kinds} fish.", f"You have {kinds} fish."))]
    if is_clean:
        sentences.append(rng.pick(("The water is clear.", "Your water looks clear.")))
    else:
        sentences.append(
            rng.pick(
                (
                    "The water is green, so change some of it each week.",
                    "Your water is green. Give the fish less to eat.",
                )
            )
        )
    if weeds == 0:
        sentences.append(
            rng.pick(("Add a plant so that they can hide.", "There is no plant, so add one."))
        )
    else:
        plants = "plant is" if weeds == 1 else "plants are"
        sentences.append(f"The {'' if weeds == 1 else f'{weeds} '}{plants} good for them.")
    if lonely:
        sentences.append(f"The {listed(lonely)} fish would like a friend.")
    water = "clear" if is_clean else "green"
    return Draft(
        scene=Scene(f"tank-{water}", tuple(marks)),
        question=rng.pick(
            ("Is my tank right for my fish?", "What do my fish need?", "Are my fish fine?")
        ),
        hint=rng.pick(
            ("I am new to this.", "I feed them two times a day.", "The tank stands at the window.")
        ),
        answer=" ".join(sentences),
        wrong=(),
        summary="The question asks if the tank is right for the fish.",
        caption=f"The tank has {kinds} fish. The water is {water}. "
        f"There {'is' if weeds == 1 else 'are'} {weeds or 'no'} plant{'' if weeds == 1 else 's'}.",
        reasoning=f"The water is {'fine' if is_clean else 'not fine'}. "
        f"{'A plant is there.' if weeds else 'A plant is needed.'} "
        f"{f'Alone: {listed(lonely)}.' if lonely else 'None is alone.'}",
    )


WEATHER = ("sun", "cloud", "rain", "snow")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday")
_PACK = {
    "sun": "Take a hat and a lot of water.",
    "cloud": "Take a warm shirt.",
    "rain": "Take a coat against the rain.",
    "snow": "Take warm boots.",
}


class Day(NamedTuple):
    """A column of the forecast."""

    name: str
    weather: str
    warmth: int
    """Height of its bar, 1 to 3."""


def hike(rng: SeededRandom, number: int) -> Draft | None:
    """Outdoors: which day is best for a hike, and what to take."""
    days = [Day(name, rng.pick(WEATHER), 1 + rng.below(3)) for name in DAYS[:number]]
    ranked = sorted(days, key=lambda day: (WEATHER.index(day.weather), -day.warmth))
    best, second = ranked[:2]
    if (best.weather, best.warmth) == (second.weather, second.warmth):
        return None
    marks = []
    for column, day in enumerate(days):
        marks.append(Mark(day.weather, "own", 0, column))
        marks += [Mark("bar", "red", row, column) for row in range(GRID - day.warmth, GRID)]
    bad = [day for day in days if day.weather in {"rain", "snow"} and day != best]
    why = {"sun": "there is sun", "cloud": "it is dry", "rain": "there is no snow"}.get(
        best.weather, "it is the least cold"
    )
    sentences = [
        rng.pick((f"Go on {best.name}, when {why}.", f"I would go on {best.name}: {why}.")),
        _PACK[best.weather],
    ]
    if bad:
        storms = listed([f"{day.weather} on {day.name}" for day in bad])
        sentences.append(rng.pick((f"There will be {storms}.", f"They expect {storms}.")))
    else:
        sentences.append("The other days are dry too.")
    words = " ".join(f"{day.name}: {day.weather}, {day.warmth}." for day in days)
    return Draft(
        scene=Scene("chart", tuple(marks)),
        question=rng.pick(
            (
                "On which day should I go for a hike?",
                "Which day is best for a walk in the mountains?",
                "When should we go for a hike, and what should we take?",
            )
        ),
        hint=rng.pick(
            (
                "The bars show how warm it will be. The first column is Monday.",
                "The first column is Monday. We need one day.",
            )
        ),
        answer=" ".join(sentences),
        wrong=(),
        summary="The question asks which day is best for a hike.",
        caption=f"The picture shows the weather of {number} days. {words}",
        reasoning=f"The best weather is {best.weather}. "
        f"The warmest day with {best.weather} is {best.name}.",
    )


FAMILIES = tuple(
    Family(topic=topic, skill=make.__name__, steps=steps, sizes=sizes, make=make, lecture="")
    for make, topic, steps, sizes in (
        (care, "gardening", 2, {1: 2, 2: 3, 3: 4}),
        (meal, "cooking", 1, {1: 1, 2: 2, 3: 3}),
        (way, "travel", 3, {1: 1, 2: 2, 3: 3}),
        (tank, "pets", 2, {1: 2, 2: 3, 3: 4}),
        (hike, "outdoors", 2, {1: 3, 2: 4}),
    )
)
