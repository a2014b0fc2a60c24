"""Text lessons in copying, in an order that small models need: a sequence is repeated; a word that
stood before another is called to mind; an item of a list is found by its first word; an option is
looked up by its letter, and a letter by its option. First on a few words, then on all.

A pretrained language model can do this, and reasoning that ends in a letter needs it. Taught all at
once, or on all words from the beginning, it was not learned in several times the steps. Only what
is recalled is learned: the rest of a line is random, and could not be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_uppercase
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Line:
    """A text, and the stretches of it, from and to, that follow from what stands before them."""

    text: str
    recalled: tuple[tuple[int, int], ...]


def words_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Every word of the texts once, in lower or upper case as it stands there."""
    return tuple(sorted({word for text in texts for word in re.findall(r"[A-Za-z]{2,}", text)}))


def copies(chance: Random, words: Sequence[str]) -> Line:
    """Some words, and the same again, until there are 64."""
    known = chance.choices(words, k=chance.randint(6, 20))
    line = _Writing()
    for number in range(64):
        line.add(f" {known[number % len(known)]}", recalled=number >= len(known))
    return line.finished()


def pairs(chance: Random, words: Sequence[str]) -> Line:
    """x1 y1 x2 y2 ... y2 x2 ...: behind each word comes the one that stood before it."""
    number = chance.randint(5, 10)
    drawn = chance.sample(words, 2 * number)
    couples = list(zip(drawn[::2], drawn[1::2], strict=True))
    line = _Writing()
    for first, second in couples:
        line.add(f" {first} {second}")
    chance.shuffle(couples)
    for first, second in couples:
        line.add(f" {second}")
        line.add(f" {first}", recalled=True)
    return line.finished()


def lookup(chance: Random, words: Sequence[str]) -> Line:
    """Options as a question has them; several times the letter of one, or the one of a letter."""
    number = chance.randint(2, 5)
    lengths = [1 if chance.random() < 0.7 else chance.randint(2, 3) for _ in range(number)]
    drawn = iter(chance.sample(words, sum(lengths) + 6))
    options = [" ".join(next(drawn) for _ in range(length)) for length in lengths]
    line = _Writing()
    line.add("".join(f" {word}" for word in list(drawn)[: chance.randint(0, 6)]) + "? Options:")
    line.add(",".join(f" {ascii_uppercase[i]}: {text}" for i, text in enumerate(options)))
    line.add(chance.choice(("", "\n", "\n\n")))
    for _ in range(5):
        place = chance.randrange(number)
        letter, text = f" {ascii_uppercase[place]}", f" {options[place]}"
        before, between, after = chance.choice(_WORDINGS)
        given, asked = (letter, text) if chance.random() < 0.25 else (text, letter)
        line.add(f"{before}{given}{between}")
        line.add(asked, recalled=True)
        line.add(after)
    return line.finished()


_WORDINGS = (
    ("", " is", "."),
    (" The answer is", ".\n\nAnswer:", "\n"),
    (" It is", ", so the answer is", "."),
    ("", ":", ","),
    (" So", ".\n\n", "\n\n"),
)
"""What stands before, between and behind an option and its letter."""


def lists(chance: Random, words: Sequence[str]) -> Line:
    """A list of items of two or three words; several times one of them again, from its first word
    on, then its last word behind some others, or the item that follows it."""
    number, size = chance.randint(3, 5), chance.choice((2, 2, 3))
    drawn = iter(chance.sample(words, number * size + 3))
    items = [[next(drawn) for _ in range(size)] for _ in range(number)]
    line = _Writing()
    line.add("".join(f" {word}" for word in list(drawn)[: chance.randint(1, 3)]) + ":")
    line.add(",".join(" " + " ".join(item) for item in items) + ".")
    for _ in range(4):
        place = chance.randrange(number)
        line.add("".join(f" {word}" for word in chance.choices(words, k=chance.randint(0, 3))))
        line.add(f" {items[place][0]}")
        line.add(f" {' '.join(items[place][1:])}", recalled=True)
        if place + 1 < number and chance.random() < 0.3:
            line.add(",")
            place += 1
            line.add(f" {' '.join(items[place])}", recalled=True)
        line.add(chance.choice((".", ". The answer is", ", so it is", ". It is", ":")))
        line.add(f" {items[place][-1]}", recalled=True)
        line.add(".")
    return line.finished()


KINDS: Mapping[str, Callable[[Random, Sequence[str]], Line]] = MappingProxyType(
    {"copies": copies, "pairs": pairs, "lookup": lookup, "lists": lists}
)


class _Writing:
    """A line that grows."""

    def __init__(self) -> None:
        self._text = ""
        self._recalled: list[tuple[int, int]] = []

    def add(self, text: str, *, recalled: bool = False) -> None:
        if recalled:
            self._recalled.append((len(self._text), len(self._text) + len(text)))
        self._text += text

    def finished(self) -> Line:
        return Line(self._text, tuple(self._recalled))
