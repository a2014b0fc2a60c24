"""Which of a question's attempts is kept: what passes the filter, and of these what the method of
`--choose` scores highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from distill.examples import gold
from distill.options import RationaleOptions
from distill.quality.measures import Quality, measure, overlap
from distill.rationales import filters
from distill.rationales.selection import METHODS
from distill.rationales.store import Attempt, Gain, Key
from harness.core import structured
from harness.core.types import Answer, Sample, Task, gold_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which of a sample's attempts is kept, and why the others are not."""

    kept: Attempt | None
    rejected: Sequence[tuple[Attempt, tuple[str, ...]]]
    scores: Mapping[Key, float | None]
    """What the method gave each attempt that passed the filter; None: it could give nothing."""

    def choice(self, method: str) -> dict[str, Any]:
        """Why the kept attempt was chosen, for its line: the method, its score, and among how many
        attempts, and how many that passed the filter, it is the highest."""
        assert self.kept is not None
        return {
            "method": method,
            "score": self.scores[self.kept.key],
            "attempts": 1 + len(self.rejected),
            "passed": len(self.scores),
        }


class Judge:
    """`judge(sample, attempts)`: the verdict. What it finds of an attempt is computed once, as an
    attempt never changes."""

    def __init__(self, task: Task, options: RationaleOptions) -> None:
        self.gains: dict[Key, Gain] = {}
        """Of the attempts that a model has scored."""
        self._task = task
        self.options = options
        self._reasons: dict[Key, tuple[str, ...]] = {}
        self._qualities: dict[Key, Quality] = {}
        self._conclusions: dict[Key, Answer | None] = {}

    def __call__(self, sample: Sample, attempts: Sequence[Attempt]) -> Verdict:
        """One that needed no hint comes before one that did, then the score decides, then the
        order of the attempts."""
        reasons = {attempt.key: self.reasons(sample, attempt) for attempt in attempts}
        passed = [attempt for attempt in attempts if not reasons[attempt.key]]
        scores = self._scores(sample, passed, attempts) if passed else {}
        kept = min(passed, key=lambda a: (a.hinted, -scores[a.key]), default=None)
        return Verdict(
            kept=kept,
            rejected=[
                (attempt, reasons[attempt.key] or ("another attempt is better",))
                for attempt in attempts
                if attempt is not kept
            ],
            scores={k: round(v, 4) if isfinite(v) else None for k, v in scores.items()},
        )

    def reasons(self, sample: Sample, attempt: Attempt) -> tuple[str, ...]:
        """The reasons against an attempt."""
        if attempt.key not in self._reasons:
            self._reasons[attempt.key] = filters.why_rejected(
                attempt.raw, sample, self._task, keep=self.options.keep
            )
        return self._reasons[attempt.key]

    def quality(self, sample: Sample, attempt: Attempt) -> Quality:
        """The measures of an attempt."""
        if attempt.key not in self._qualities:
            self._qualities[attempt.key] = measure(
                attempt.raw,
                choices=sample.choices,
                target=sample.target,
                solution=sample.solution,
            )
        return self._qualities[attempt.key]

    def conclusion(self, sample: Sample, attempt: Attempt) -> Answer | None:
        """What an attempt concludes, as the task extracts it."""
        if attempt.key not in self._conclusions:
            found = self._task.extract(attempt.raw, sample.choices)
            self._conclusions[attempt.key] = found.answer
        return self._conclusions[attempt.key]

    def _scores(
        self, sample: Sample, passed: Sequence[Attempt], attempts: Sequence[Attempt]
    ) -> dict[Key, float]:
        score = METHODS[self.options.choose].score
        candidates = {each.key: _Candidate(self, sample, each) for each in attempts}
        among = list(candidates.values())
        return {attempt.key: score(candidates[attempt.key], among) for attempt in passed}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """See `distill.rationales.selection.Candidate`."""

    judge: Judge
    sample: Sample
    attempt: Attempt

    @property
    def quality(self) -> Quality:
        return self.judge.quality(self.sample, self.attempt)

    @property
    def conclusion(self) -> Answer | None:
        return self.judge.conclusion(self.sample, self.attempt)

    @property
    def agreement(self) -> float:
        target = self.sample.target
        if isinstance(target, int):
            return float(self.conclusion == target)
        concluded = structured.conclusion(self.attempt.raw) or ""
        return overlap(concluded, gold_text(target)) or 0.0

    @property
    def gain(self) -> float | None:
        found = self.judge.gains.get(self.attempt.key)
        return found.gain if found else None


def kept_line(sample: Sample, attempt: Attempt, quality: Quality) -> dict[str, Any]:
    """The line of a kept attempt in rationales.jsonl."""
    found = filters.rationale(attempt.raw, sample)
    return {
        **asdict(attempt),
        "topic": sample.topic,
        "answer": gold(sample),
        "score": round(quality.score, 4),
        "summary": found.summary,
        "caption": found.caption,
        "reasoning": found.reasoning,
        "conclusion": found.conclusion,
    }
