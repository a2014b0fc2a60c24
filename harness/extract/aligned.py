"""Text that knows where it came from: every rewriting keeps, for each character, the place in the
raw text that it stands for, so that an extracted answer can be shown in the raw text."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Mapping

Replacement = str | Callable[[re.Match[str]], str]


class Aligned:
    """A text with the start and end, in the raw text, of what each of its characters stands for."""

    __slots__ = ("ends", "starts", "text")

    def __init__(self, text: str, starts: array[int], ends: array[int]) -> None:
        self.text = text
        self.starts = starts
        self.ends = ends

    @classmethod
    def of(cls, raw: str) -> Aligned:
        """The raw text itself."""
        return cls(raw, array("q", range(len(raw))), array("q", range(1, len(raw) + 1)))

    def __len__(self) -> int:
        return len(self.text)

    def __bool__(self) -> bool:
        return bool(self.text)

    def __getitem__(self, part: slice) -> Aligned:
        return Aligned(self.text[part], self.starts[part], self.ends[part])

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Where the raw text has what stands at [start, end) here; None where nothing does."""
        if not 0 <= start < end <= len(self.text):
            return None
        return min(self.starts[start:end]), max(self.ends[start:end])

    def sub(self, pattern: re.Pattern[str], replacement: Replacement) -> Aligned:
        """`pattern.sub`. Each new character stands for all of what was matched."""
        edits = []
        for found in pattern.finditer(self.text):
            new = replacement if isinstance(replacement, str) else replacement(found)
            if new != found[0]:
                edits.append((found.start(), found.end(), new))
        return self.edited(edits) if edits else self

    def edited(self, edits: Iterable[tuple[int, int, str]]) -> Aligned:
        """With each (start, end, new text) put in place; edits are in order and do not overlap."""
        pieces: list[str] = []
        starts, ends = array("q"), array("q")
        done = 0
        for start, end, new in edits:
            pieces += self.text[done:start], new
            starts += self.starts[done:start]
            ends += self.ends[done:start]
            if new:
                first, last = self.span(start, end) or self._between(start)
                starts += array("q", [first]) * len(new)
                ends += array("q", [last]) * len(new)
            done = end
        if not pieces:
            return self
        starts += self.starts[done:]
        ends += self.ends[done:]
        return Aligned("".join([*pieces, self.text[done:]]), starts, ends)

    def translated(
        self, table: Mapping[int, str | int | None], pattern: re.Pattern[str]
    ) -> Aligned:
        """`str.translate`; `pattern` matches runs of the characters that are in the table."""
        edits = [
            (at, at + 1, new)
            for found in pattern.finditer(self.text)
            for at in range(found.start(), found.end())
            if (new := self.text[at].translate(table)) != self.text[at]
        ]
        return self.edited(edits)

    def lower(self) -> Aligned:
        """In lower case, as long as before: a letter whose lower case is longer stays."""
        lowered = self.text.lower()
        if len(lowered) != len(self.text):
            lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in self.text)
        return Aligned(lowered, self.starts, self.ends)

    def stripped(self, characters: str | None = None) -> Aligned:
        """`str.strip`."""
        start = len(self.text) - len(self.text.lstrip(characters))
        return self[start : start + len(self.text.strip(characters))]

    def _between(self, at: int) -> tuple[int, int]:
        place = self.ends[at - 1] if at else 0
        return place, place


def with_brackets(raw: str, span: tuple[int, int]) -> tuple[int, int]:
    """The span with the bracket behind it that its words open, or the one before it that they
    close: "(B)" where "(B" was found."""
    start, end = span
    for opening, closing in ("()", "[]", "{}", "\uff08\uff09", "\u3010\u3011"):
        words = raw[start:end]
        open_ones = words.count(opening) - words.count(closing)
        if open_ones > 0 and raw.startswith(closing, end):
            end += 1
        elif open_ones < 0 and start and raw[start - 1] == opening:
            start -= 1
    return start, end


def joined(pieces: Iterable[Aligned], separator: str = "\n") -> Aligned:
    """The pieces with a separator between them, which stands for nothing of its own."""
    text: list[str] = []
    starts, ends = array("q"), array("q")
    for number, piece in enumerate(pieces):
        if number:
            place = ends[-1] if ends else 0
            text.append(separator)
            starts += array("q", [place]) * len(separator)
            ends += array("q", [place]) * len(separator)
        text.append(piece.text)
        starts += piece.starts
        ends += piece.ends
    return Aligned("".join(text), starts, ends)
