"""MMMU's accuracy (Yue et al., 2024): options and written answers, as the official evaluation
finds them in a text.

The official evaluation draws an option at random where a text names none. Here such an answer is
wrong and counted: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from harness.core.types import Metric, Prediction

_ENDS = (",", ".", "!", "?", ";", ":", "'")
"""Taken off both ends of an answer, each in its turn."""
_WORDS_OF_TEXT = 5
"""An option's text is looked for in answers of more words than this."""
_ANNOUNCE = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
"""What comes before the answer in a line; in the last line an equals sign too."""
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
"""With commas, in scientific notation, and plain ones."""
_DIGITS = 2
"""Decimals of a number that are compared."""

Form = str | float


def option_of(raw: str, choices: Sequence[str]) -> int | None:
    """The option that a text names: "(B)" before " B " before the option's own text, and the last
    one of several; None where it names none."""
    for end in _ENDS:
        raw = raw.strip(end)
    raw = f" {raw} "
    letters = ascii_uppercase[: len(choices)]
    places = _last_places(raw, [f"({letter})" for letter in letters])
    places = places or _last_places(raw, [f" {letter} " for letter in letters])
    if not places and len(raw.split()) > _WORDS_OF_TEXT:
        places = _last_places(raw.lower(), [choice.lower() for choice in choices])
    # Of two that end the text together, the first.
    return max(places, key=lambda option: (places[option], -option)) if places else None


def _last_places(text: str, wanted: Sequence[str]) -> Mapping[int, int]:
    """The index of each text that is there -> where it is last."""
    places = {index: text.rfind(each) for index, each in enumerate(wanted)}
    return {index: place for index, place in places.items() if place >= 0}


def answers_match(raw: str, references: Sequence[str]) -> bool:
    """Whether one of the accepted answers is in a written answer: equal to one of its numbers, or a
    part of one of its texts."""
    wanted = {form for reference in references for form in _forms(reference)}
    texts = [form for form in wanted if isinstance(form, str)]
    given = [form for part in _parts(raw) for form in _forms(part)]
    return any(
        any(text in form for text in texts) if isinstance(form, str) else form in wanted
        for form in given
    )


def _forms(text: str) -> list[Form]:
    """A number rounded to 2 decimals; any other text in lower case, a single letter with a space
    on either side, that it is not found in words."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), _DIGITS)]
    except (ValueError, OverflowError):
        pass
    text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def _parts(raw: str) -> list[str]:
    """What a written answer may be: what follows an announcement in each of its lines, or the whole
    where nothing is announced; and the numbers in these."""
    text = raw.strip().strip(".").lower()
    found: list[str] = []
    announce = list(_ANNOUNCE)
    lines = text.split("\n")
    for place, line in enumerate(lines, start=1):
        if place == len(lines):
            announce.append("=")
        tails = [line.rpartition(each)[2].strip() for each in announce if each in line]
        # An empty one gives way to the next, whatever its length.
        shortest = ""
        for tail in tails:
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in _ENDS:
            found.append(shortest)
    found = found or [text]
    return found + [number for part in found for each in _NUMBERS for number in each.findall(part)]


def _by_likelihood(prediction: Prediction) -> bool:
    """Whether the option was chosen by its likelihood: no text says it."""
    return bool(prediction.log_likelihoods)


def _option(prediction: Prediction) -> int | None:
    order = prediction.order or range(len(prediction.choices))
    place = option_of(prediction.raw, [prediction.choices[i] for i in order])
    return None if place is None else order[place]


def _official(prediction: Prediction) -> float:
    if not prediction.choices:
        return float(answers_match(prediction.raw, prediction.references))
    given = prediction.answer if _by_likelihood(prediction) else _option(prediction)
    return float(given is not None and given == prediction.target)


def _guessed(prediction: Prediction) -> float:
    """1 where the official evaluation would draw an option."""
    drawn = prediction.choices and not _by_likelihood(prediction) and _option(prediction) is None
    return float(bool(drawn))


def _ours(prediction: Prediction) -> float:
    if prediction.answer is None:
        return 0.0
    if prediction.choices:
        return float(prediction.answer == prediction.target)
    return float(answers_match(prediction.text, prediction.references))


MMMU_ACCURACY = Metric(
    "mmmu_accuracy",
    "Accuracy without guesses",
    _official,
    interval="wilson",
    meaning="over all questions, by MMMU's reading of options, numbers and texts; an answer "
    "that names no option is wrong, where MMMU's evaluation guesses one",
)
MMMU_GUESSED = Metric(
    "mmmu_guessed",
    "Guessed by the official evaluation",
    _guessed,
    higher_is_better=False,
    interval="wilson",
    meaning="answers in which the official reading finds no option; they count as wrong here",
    by_topic=False,
)
MMMU_EXTRACTED = Metric(
    "mmmu_extracted",
    "Accuracy by our extractor",
    _ours,
    interval="wilson",
    meaning="over all questions: options as our extractor finds them, written answers compared as "
    "MMMU does; not its official figure",
)
