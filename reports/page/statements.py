"""Sentences of the page's summary: questions, and statements that answer them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One part of an answer."""

    lead: str
    """What it is about: a task, "in the paper"."""
    verdict: str
    """The answer in a few words."""
    text: str
    """The evidence."""
    link: str = ""
    """The fragment with the details."""
    section: str = ""
    """The id of the section that it is about; empty: it is about none, or about the paper."""
    compare: str = ""
    """The fragment that leads to the questions which decide between two runs."""
    is_printed: bool = False
    """It is about what the paper reports."""
    is_total: bool = False
    """It sums up the others, which are many."""


IN_SHORT = 3
"""Statements that an answer has in short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of the opening with its answer, part by part."""

    lead: str
    """In a word or two."""
    text: str
    answer: tuple[Statement, ...]

    @property
    def printed(self) -> tuple[Statement, ...]:
        """What the paper says."""
        return tuple(part for part in self.answer if part.is_printed)

    @property
    def _told(self) -> tuple[Statement, ...]:
        """What is measured, summed up where it is much; only where nothing is measured, what the
        paper says."""
        total = tuple(part for part in self.answer if part.is_total)
        measured = tuple(part for part in self.answer if not part.is_printed)
        return total or measured or self.answer

    @property
    def in_short(self) -> tuple[Statement, ...]:
        return self._told[:IN_SHORT]

    @property
    def more(self) -> int:
        """Statements that are left out in short."""
        return len(self._told) - len(self.in_short)
