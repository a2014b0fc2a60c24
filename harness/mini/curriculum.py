"""A curriculum of texts for in-context copying: a sequence is repeated; the word that stood before
another is recalled; an item of a list is found by its first word; an option is looked up by its
letter, and a letter by its option. First with a few words, then with all.

A pretrained language model can do this, and reasoning that ends in a letter needs it. Trained on
all kinds at once, or with all words from the beginning, a mini did not learn it in several times
the steps. Only recalled spans have labels: the rest of a text is random, and cannot be predicted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_uppercase
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class RecallText:
    """A text, and the spans of it, start and end, that follow from the text before them."""

    text: str
    recalled: tuple[tuple[int, int], ...]


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Every word of the texts once, in lower or upper case as it stands there."""
    return tuple(sorted({word for text in texts for word in re.findall(r"[A-Za-z]{2,}", text)}))


def copies(rng: Random, words: Sequence[str]) -> RecallText:
    """Some words, and the same again, until there are 64."""
    known = rng.choices(words, k=rng.randint(6, 20))
    text = _TextBuilder()
    for number in range(64):
        text.add(f" {known[number % len(known)]}", recalled=number >= len(known))
    return text.finished()


def pairs(rng: Random, words: Sequence[str]) -> RecallText:
    """x1 y1 x2 y2 ... y2 x2 ...: each word is followed by the one that stood before it."""
    number = rng.randint(5, 10)
    drawn = rng.sample(words, 2 * number)
    couples = list(zip(drawn[::2], drawn[1::2], strict=True))
    text = _TextBuilder()
    for first, second in couples:
        text.add(f" {first} {second}")
    rng.shuffle(couples)
    for first, second in couples:
        text.add(f" {second}")
        text.add(f" {first}", recalled=True)
    return text.finished()


def lookup(rng: Random, words: Sequence[str]) -> RecallText:
    """Options as a question has them; several times the letter of one, or the one of a letter."""
    number = rng.randint(2, 5)
    lengths = [1 if rng.random() < 0.7 else rng.randint(2, 3) for _ in range(number)]
    drawn = iter(rng.sample(words, sum(lengths) + 6))
    options = [" ".join(next(drawn) for _ in range(length)) for length in lengths]
    text = _TextBuilder()
    text.add("".join(f" {word}" for word in list(drawn)[: rng.randint(0, 6)]) + "? Options:")
    text.add(",".join(f" {ascii_uppercase[i]}: {option}" for i, option in enumerate(options)))
    text.add(rng.choice(("", "\n", "\n\n")))
    for _ in range(5):
        place = rng.randrange(number)
        letter, option = f" {ascii_uppercase[place]}", f" {options[place]}"
        before, between, after = rng.choice(_WORDINGS)
        given, asked = (letter, option) if rng.random() < 0.25 else (option, letter)
        text.add(f"{before}{given}{between}")
        text.add(asked, recalled=True)
        text.add(after)
    return text.finished()


_WORDINGS = (
    ("", " is", "."),
    (" The answer is", ".\n\nAnswer:", "\n"),
    (" It is", ", so the answer is", "."),
    ("", ":", ","),
    (" So", ".\n\n", "\n\n"),
)
"""The texts before, between and after an option and its letter."""


def lists(rng: Random, words: Sequence[str]) -> RecallText:
    """A list of items of two or three words; several times one of them again, from its first word
    on, then its last word after some others, or the item that follows it."""
    number, size = rng.randint(3, 5), rng.choice((2, 2, 3))
    drawn = iter(rng.sample(words, number * size + 3))
    items = [[next(drawn) for _ in range(size)] for _ in range(number)]
    text = _TextBuilder()
    text.add("".join(f" {word}" for word in list(drawn)[: rng.randint(1, 3)]) + ":")
    text.add(",".join(" " + " ".join(item) for item in items) + ".")
    for _ in range(4):
        place = rng.randrange(number)
        text.add("".join(f" {word}" for word in rng.choices(words, k=rng.randint(0, 3))))
        text.add(f" {items[place][0]}")
        text.add(f" {' '.join(items[place][1:])}", recalled=True)
        if place + 1 < number and rng.random() < 0.3:
            text.add(",")
            place += 1
            text.add(f" {' '.join(items[place])}", recalled=True)
        text.add(rng.choice((".", ". The answer is", ", so it is", ". It is", ":")))
        text.add(f" {items[place][-1]}", recalled=True)
        text.add(".")
    return text.finished()


KINDS: Mapping[str, Callable[[Random, Sequence[str]], RecallText]] = MappingProxyType(
    {"copies": copies, "pairs": pairs, "lookup": lookup, "lists": lists}
)


class _TextBuilder:
    """A text that grows, and its recalled spans."""

    def __init__(self) -> None:
        self._text = ""
        self._recalled: list[tuple[int, int]] = []

    def add(self, text: str, *, recalled: bool = False) -> None:
        if recalled:
            self._recalled.append((len(self._text), len(self._text) + len(text)))
        self._text += text

    def finished(self) -> RecallText:
        return RecallText(self._text, tuple(self._recalled))
