"""How good a rationale is, as far as text can tell (the paper's second limitation, section 6).

Each measure is a function of texts; `measure` puts them together, `summarise` averages them by
topic. They apply alike to what a teacher wrote and to what a student writes. The one measure that
needs a model, the dependence on the image, is in `distill.quality.dependence`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from statistics import fmean

from harness.core import structured
from harness.core.structured import Parsed
from harness.core.types import Extraction, Target, Value
from harness.extract import extract_choice
from harness.metrics.statistics import wilson

NGRAM = 4
"""Words in the n-grams whose repetition is counted: shorter ones repeat in any good text."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_NOTHING = "not computed: applies to none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The measures of one rationale. None: does not apply (no options, solution, or reasoning)."""

    complete: bool
    """All four stages are there, none is empty, each once and in order."""
    well_formed: bool
    """Complete, every tag closed, and nothing outside the stages."""
    conclusion_right: bool | None
    """The conclusion, as the harness reads it, is the gold option."""
    reasoning_right: bool | None
    """The reasoning arrives at the gold option and at no other."""
    reasoning_agrees: bool | None
    """The reasoning arrives at the option that the conclusion names."""
    leaks: tuple[str, ...]
    """Those of SUMMARY and CAPTION that give the gold option away."""
    repetition: float
    """Share of the word n-grams that had been there before, 0 to 1."""
    rouge_l: float | None
    """F1 of the reasoning against the gold solution, 0 to 1."""
    words: int
    """In all stages together."""

    @property
    def score(self) -> float:
        """One number to choose among attempts, 0 to 1: the mean of the parts that apply.

        ROUGE-L is not among them: a good reasoning need not use the solution's words.
        """
        parts = [
            (self.complete + self.well_formed) / 2,
            self.conclusion_right,
            self.reasoning_right,
            self.reasoning_agrees,
            None if self.conclusion_right is None else not self.leaks,
            1 - self.repetition,
        ]
        return fmean(float(part) for part in parts if part is not None)


def measure(raw: str, *, choices: Sequence[str], target: Target, solution: str = "") -> Quality:
    """Every measure of one raw text.

    Args:
        raw: what the model wrote, tags included.
        choices: the options; empty for open questions, whose agreement is not measured.
        target: the gold option's 0-based index, or a reference text; None: not public.
        solution: the data set's own explanation; "" where there is none.
    """
    return _measure(raw, tuple(choices), target, solution)


@lru_cache(maxsize=1 << 14)  # of the same rationales when they are kept, and in each report
def _measure(raw: str, choices: tuple[str, ...], target: Target, solution: str) -> Quality:
    parsed = structured.parse(raw)
    reasoning = parsed.reasoning or ""
    concluded = extract_choice(raw, choices).answer if choices else None
    arrived = arrives_at(reasoning, choices).answer if choices and reasoning else None
    stages = (parsed.summary, parsed.caption, parsed.reasoning)
    text = " ".join(stage for stage in stages if stage) or parsed.outside
    return Quality(
        complete=is_complete(parsed),
        well_formed=parsed.well_formed,
        conclusion_right=concluded == target if choices and target is not None else None,
        reasoning_right=arrived == target if choices and reasoning and target is not None else None,
        reasoning_agrees=arrived is not None and arrived == concluded
        if choices and reasoning
        else None,
        leaks=leaks(parsed, choices, target),
        repetition=repetition(text),
        rouge_l=overlap(reasoning, solution),
        words=len(text.split()),
    )


def is_complete(parsed: Parsed) -> bool:
    """All four stages are there, none is empty, each once and in the paper's order.

    A tag that is not closed does no harm, the next one ends it: the paper's own Figure 5 has one.
    """
    return not parsed.missing and not parsed.repeated and parsed.in_order


def arrives_at(reasoning: str, choices: Sequence[str]) -> Extraction:
    """The option that a reasoning arrives at, by letter or text, with the rule that found it.

    A reasoning weighs options, and Figure 5's names all four, so naming is not enough. Its option
    is the only one that it names without rejecting it, or the one that it commits to ("Therefore,
    the state that is farthest west is Illinois"): what `extract_choice` makes of the
    whole. Where that finds none, the last sentence decides ("... The state farthest west is
    Illinois."), if it names one option and only that. None otherwise: never guessed.
    """
    reading = extract_choice(reasoning, choices)
    if reading.answer is not None or reading.rule not in {"two options", "two letters"}:
        return reading
    last = extract_choice(_last_sentence(reasoning), choices)
    return Extraction(last.answer, "last sentence") if last.answer is not None else reading


def leaks(parsed: Parsed, choices: Sequence[str], target: Target) -> tuple[str, ...]:
    """The stages before the reasoning that name the gold option and only that.

    A caption that lists every label on a map gives nothing away; one that says "Illinois, farthest
    west" leaves nothing to reason about.
    """
    if target is None:
        return ()
    stages = {"SUMMARY": parsed.summary, "CAPTION": parsed.caption}
    return tuple(
        name
        for name, text in stages.items()
        if choices and text and extract_choice(text, choices).answer == target
    )


def repetition(text: str, n: int = NGRAM) -> float:
    """Share of the word n-grams that repeat an earlier one, 0 to 1; 0 for a text shorter than n.

    1 - distinct / all, on lower-cased words. Degenerate generation ("the the the") is near 1.
    """
    words = text.lower().split()
    grams = Counter(zip(*(islice(words, start, None) for start in range(n)), strict=False))
    return 1 - len(grams) / grams.total() if grams else 0.0


def overlap(reasoning: str, solution: str) -> float | None:
    """ROUGE-L F1, 0 to 1, as rouge-score has it; None where either text is missing."""
    if not reasoning.strip() or not solution.strip():
        return None
    from harness.metrics.overlap import rouge

    return float(rouge([reasoning], [solution])["rougeL"][0])


@dataclass(frozen=True, slots=True)
class Measurement:
    """A rationale's measures, and what they are counted under."""

    topic: str
    kept: bool
    quality: Quality | None
    """None: there was no text to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The measures of some rationales together."""

    n: int
    """Rationales."""
    kept: int
    dropped: int
    measures: Mapping[str, Value]
    """Mean of each measure over the rationales that it applies to: that is its n. Shares have a
    95% Wilson interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The measures of a whole set of rationales, kept and dropped alike."""

    all: Figures
    topics: Mapping[str, Figures]
    """From the most frequent topic to the rarest, by name where equal."""


def summarise(measured: Iterable[Measurement]) -> Summary:
    """Kept and dropped counts and the mean of each measure, over all and by topic."""
    rows = list(measured)
    topics = Counter(row.topic for row in rows)
    order = sorted(topics, key=lambda topic: (-topics[topic], topic))
    return Summary(
        all=_figures(rows),
        topics={topic: _figures([row for row in rows if row.topic == topic]) for topic in order},
    )


def _figures(rows: Sequence[Measurement]) -> Figures:
    found = [row.quality for row in rows if row.quality]
    kept = sum(row.kept for row in rows)
    return Figures(
        n=len(rows),
        kept=kept,
        dropped=len(rows) - kept,
        measures={
            "complete": share(q.complete for q in found),
            "well_formed": share(q.well_formed for q in found),
            "conclusion_right": share(q.conclusion_right for q in found),
            "reasoning_right": share(q.reasoning_right for q in found),
            "reasoning_agrees": share(q.reasoning_agrees for q in found),
            "leaks_in_summary": share("SUMMARY" in q.leaks for q in found),
            "leaks_in_caption": share("CAPTION" in q.leaks for q in found),
            "repetition": mean(q.repetition for q in found),
            "rouge_l": mean(q.rouge_l for q in found),
            "words": mean(q.words for q in found),
            "score": mean(q.score for q in found),
        },
    )


def share(values: Iterable[bool | None]) -> Value:
    """How many of those that are known are true, 0 to 1, with its 95% Wilson interval."""
    known = [value for value in values if value is not None]
    if not known:
        return Value(value=None, n=0, note=_NOTHING)
    low, high = wilson(sum(known), len(known))
    return Value(value=fmean(known), n=len(known), low=low, high=high, note="95% Wilson interval")


def mean(values: Iterable[float | None]) -> Value:
    """The mean of those that are known."""
    known = [value for value in values if value is not None]
    if not known:
        return Value(value=None, n=0, note=_NOTHING)
    return Value(value=fmean(known), n=len(known))


def _last_sentence(text: str) -> str:
    return _SENTENCE_END.split(text.strip())[-1]
