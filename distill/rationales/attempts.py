"""What follows from a teacher's attempts: what is still to be asked, what is kept, what is counted.

Whoever writes the texts, a model (`generate`) or a file (`importing`), adds them to a `Work`, which
alone decides what becomes of them.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from distill.config import TeacherInput
from distill.examples import gold
from distill.quality.measures import Measured, Quality, measure
from distill.rationales import filters
from distill.rationales.filters import Filter
from distill.rationales.store import Attempt, Store
from distill.rationales.teacher import INPUTS, PROMPT_VERSION
from harness.core import environment
from harness.core.errors import Exit, HarnessError, is_beyond_context
from harness.core.mismatch import stop_on_mismatch
from harness.core.options import Selection
from harness.core.structured import Rationale
from harness.core.types import Sample
from harness.data.selection import select
from harness.run.task_data import Data

log = logging.getLogger(__name__)

Choose = Literal["best", "first"]
"""best: make all attempts and keep the one that scores highest. first: stop at the first that
passes the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RationaleOptions:
    """Which questions, how often they are asked, and what is kept."""

    folder: Path
    inputs: Sequence[TeacherInput] = INPUTS
    """What the teacher is given beside the image."""
    attempts: int = 1
    """Per question: the first greedy, the others sampled."""
    choose: Choose = "best"
    hint_on_retry: bool = False
    """Ask once more, with the answer as a hint, where every attempt was rejected."""
    truncate: bool = False
    """Shorten the context text of prompts beyond the teacher's context."""
    keep: Filter = "none"
    temperature: float = 0.7
    """Of attempts from the second on, as `top_p`."""
    top_p: float = 0.95
    limit: int | None = 2000
    sample: Selection = "first"
    seed: int = 0
    """Of stratified selection and of sampled attempts."""
    batch_size: int = 4
    max_new_tokens: int | None = None
    """Of each rationale; None: the teacher's own limit."""
    fresh: bool = False
    command: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over a batch."""

    number: int
    hinted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of a sample's attempts."""

    kept: Attempt | None
    rejected: Sequence[tuple[Attempt, tuple[str, ...]]]


def check(data: Data, options: RationaleOptions) -> None:
    """Refuse, before anything is loaded, what cannot be asked; raises HarnessError."""
    filters.check_filter(options.keep, data.task)
    if not options.inputs:
        raise HarnessError("--teacher-input names nothing.", known=f"Known: {', '.join(INPUTS)}.")


def rounds(options: RationaleOptions, imported: Path | None = None) -> list[Round]:
    """Every pass that a batch may need, in order; none where the texts come from a file."""
    if imported is not None:
        return []
    plain = [Round(number, hinted=False) for number in range(1, options.attempts + 1)]
    return [*plain, Round(1, hinted=True)] if options.hint_on_retry else plain


def read_rationales(folder: Path) -> dict[str, Rationale]:
    """Sample id -> its kept rationale, which concludes with the gold answer.

    Raises:
        DataError: a line of rationales.jsonl is not one.
    """
    return {
        row["id"]: Rationale(row["summary"], row["caption"], row["reasoning"], row["conclusion"])
        for row in Store(folder).read_kept()
    }


def data_fingerprint(data: Data, options: RationaleOptions) -> dict[str, Any]:
    """The part of a fingerprint that says which questions are asked."""
    stratified = f"{options.sample}, seed {options.seed}"
    transparency = data.looked.transparency
    return {
        "task": data.task.name,
        "split": data.options.split,
        "data": data.fingerprint,
        **({"transparency": transparency} if transparency else {}),
        "sample": "first" if options.sample == "first" else stratified,
    }


class Work:
    """The attempts that are there, and what follows from them."""

    def __init__(self, data: Data, options: RationaleOptions, *, rounds: Sequence[Round]) -> None:
        """`rounds` are every pass that a batch may need, in order; none where nobody is asked."""
        self.data = data
        self.options = options
        self.rounds = tuple(rounds)
        self.store = Store(options.folder)
        self.selected = select(
            data.samples.samples, limit=options.limit, how=options.sample, seed=options.seed
        )
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)
        self.failed: dict[str, str] = {}
        """Sample id -> why the teacher could not be asked, or gave nothing."""
        self.strays: list[Mapping[str, Any]] = []
        """Lines for rejected.jsonl that belong to no selected sample."""
        self.waits = False
        """Other rationales are there, and stay until there is one to put in their place."""
        self._reasons: dict[tuple[str, bool, int], tuple[str, ...]] = {}
        self._qualities: dict[tuple[str, bool, int], Quality] = {}
        self._old: dict[str, Any] | None = None
        self._record: dict[str, Any] = {}
        self._started = time.perf_counter()

    def open(self) -> None:
        """Read what is there, unless it is to be replaced."""
        if self.options.fresh and self.store.holds_anything:
            self.waits = True
            return
        self._old = self.store.read_record()
        for attempt in self.store.read_attempts():
            self.add(attempt)
        if self._old is None and self.attempts:
            raise HarnessError(
                f"{self.store.attempts_path} is there, but no record of what it was made with.",
                remedy="Use --fresh to move it aside.",
            )

    def compare(self, known: Mapping[str, Any]) -> None:
        """Refuse to mix the rationales of two settings; raises HarnessError."""
        if self._old is None:
            return
        old = dict(self._old["fingerprint"])
        if "sampling" in known:
            # Until now nothing was sampled: a second attempt may be added.
            old.setdefault("sampling", known["sampling"])
        stop_on_mismatch(
            old,
            known,
            what=f"the rationales in {self.store.folder}",
            made_by=self._old.get("command", ()),
            command=self.options.command,
        )

    def begin(self, known: Mapping[str, Any], *, about: Mapping[str, Any]) -> None:
        """Write down what is made before anything is."""
        samples = self.data.samples
        old = self._old or {}
        self._record = {
            "status": "running",
            "fingerprint": {**old.get("fingerprint", {}), **known},
            "teacher": dict(about),
            "data": {
                "task": self.data.task.name,
                "title": self.data.task.title,
                "split": self.data.options.split,
                "path": str(path.resolve()) if (path := self.data.options.path) else None,
                "asked_revision": self.data.options.revision,
                "source": samples.source,
                "revision": samples.revision,
                "licence": samples.licence,
            },
            "settings": {
                "teacher_input": list(self.options.inputs),
                "attempts": self.options.attempts,
                "choose": self.options.choose,
                "hint_on_retry": self.options.hint_on_retry,
                "truncate": self.options.truncate,
                "filter": self.options.keep,
                "limit": self.options.limit,
                "sample": self.options.sample,
                "seed": self.options.seed,
                "prompt_version": PROMPT_VERSION,
            },
            "counts": old.get("counts", {}),
            "seconds": old.get("seconds", 0.0),
            "environment": old.get("environment", {}),
            "command": list(self.options.command),
        }
        if self.waits:
            return
        if self._old is None or not self.is_over:
            self.store.write_record(self._record)
        self.write_views()

    def keep(self, attempts: Sequence[Attempt]) -> None:
        """Write down attempts that were added; the first ones take the place of what is there."""
        if self.waits and attempts:
            log.info("The rationales that were there are now in %s", self.store.move_aside())
            self.waits = False
            self.store.write_record(self._record)
        if attempts:
            self.store.append_attempts(attempts)

    def refuse_nothing(self) -> None:
        """Raises HarnessError where there is nothing to put in the place of what is there."""
        if self.waits:
            raise HarnessError(
                f"No rationale was written; those in {self.store.folder} are as they were.",
                known=next(iter(self.failed.values()), ""),
                code=Exit.FAILED_SAMPLES,
            )

    @property
    def is_over(self) -> bool:
        """Nothing more is to be asked about any sample."""
        return all(map(self.is_decided, self.selected))

    def asked_in(self, each: Round) -> list[Sample]:
        """Who is asked in this round, whether it has answered or not; the rounds before it are
        over."""
        return [s for s in self.selected if s.id not in self.failed and self.wants(s, each)]

    def batches(self, each: Round, *, whole: bool) -> Iterator[Sequence[Sample]]:
        """Those of them that have not answered, in batches of samples that are together in the
        data.

        Args:
            whole: with those of their batch that have answered: where texts depend on the batch, a
                resumed run makes the same ones as an uninterrupted one.
        """
        size = self.options.batch_size
        asked = {sample.id for sample in self.asked_in(each)}
        for start in range(0, len(self.selected), size):
            batch = [s for s in self.selected[start : start + size] if s.id in asked]
            left = [s for s in batch if not self.has(s, each)]
            if left:
                yield batch if whole else left

    def is_decided(self, sample: Sample) -> bool:
        """Nothing more is to be asked about this sample."""
        return all(self.has(sample, each) for each in self.rounds if self.wants(sample, each))

    def wants(self, sample: Sample, each: Round) -> bool:
        """Whether this round is for this sample, going by the rounds before it alone."""
        if each.number == 1 and not each.hinted:
            return True
        if self.options.choose == "best" and not each.hinted:
            return True
        before = [
            attempt
            for attempt in self.attempts[sample.id]
            if not attempt.hinted and (each.hinted or attempt.attempt < each.number)
        ]
        return all(self.reasons(sample, attempt) for attempt in before)

    def has(self, sample: Sample, each: Round) -> bool:
        key = (sample.id, each.hinted, each.number)
        return any(attempt.key == key for attempt in self.attempts[sample.id])

    def add(self, attempt: Attempt) -> bool:
        """Take an attempt in; False where it is there already."""
        mine = self.attempts[attempt.id]
        if any(attempt.key == each.key for each in mine):
            return False
        mine.append(attempt)
        return True

    def reasons(self, sample: Sample, attempt: Attempt) -> tuple[str, ...]:
        """Why it is not kept; computed once, as an attempt never changes."""
        if attempt.key not in self._reasons:
            self._reasons[attempt.key] = filters.why_rejected(
                attempt.raw, sample, self.data.task, keep=self.options.keep
            )
        return self._reasons[attempt.key]

    def judge(self, sample: Sample) -> Judged:
        """The best of a sample's attempts, and why the others are not it.

        One that needed no hint comes before one that did, then the score decides, then the earlier.
        """
        found = [
            attempt
            for attempt in self.attempts[sample.id]
            if not self.rounds or Round(attempt.attempt, attempt.hinted) in self.rounds
        ]
        reasons = {attempt.key: self.reasons(sample, attempt) for attempt in found}
        passed = [attempt for attempt in found if not reasons[attempt.key]]
        kept = min(
            passed,
            key=lambda a: (a.hinted, -self.quality(sample, a).score, a.attempt),
            default=None,
        )
        return Judged(
            kept=kept,
            rejected=[
                (attempt, reasons[attempt.key] or ("another attempt is better",))
                for attempt in found
                if attempt is not kept
            ],
        )

    def quality(self, sample: Sample, attempt: Attempt) -> Quality:
        """Its measures; computed once, as an attempt never changes."""
        if attempt.key not in self._qualities:
            self._qualities[attempt.key] = measure(
                attempt.raw,
                choices=sample.choices,
                target=sample.target,
                solution=sample.solution,
            )
        return self._qualities[attempt.key]

    def views(self, samples: Sequence[Sample]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of rationales.jsonl and of rejected.jsonl for these samples."""
        kept, rejected = [], []
        for sample in samples:
            judged = self.judge(sample)
            if judged.kept:
                kept.append(_kept_line(sample, judged.kept, self.quality(sample, judged.kept)))
            for attempt, reasons in judged.rejected:
                rejected.append({**asdict(attempt), "topic": sample.topic, "reasons": reasons})
            if sample.id in self.failed:
                reason = f"failed: {self.failed[sample.id]}"
                rejected.append({"id": sample.id, "topic": sample.topic, "reasons": (reason,)})
        return kept, rejected

    def write_views(self) -> None:
        """Make both files what follows from the attempts, in the data's order."""
        done = [s for s in self.selected if s.id in self.failed or self.is_decided(s)]
        kept, rejected = self.views(done)
        self.store.replace_views(kept, [*rejected, *self.strays])

    def finish(self, status: str | None = None) -> dict[str, Any]:
        """Count, write the record, and return it."""
        if not self.waits:
            self._sort()
            self.write_views()
        judged = {sample.id: self.judge(sample) for sample in self.selected}
        kept = [each.kept for each in judged.values() if each.kept]
        missing = [s for s in self.selected if s.id not in self.failed and not self.is_decided(s)]
        reasons = Counter(
            reason
            for sample_id, each in judged.items()
            if not each.kept
            for reason in (each.rejected[-1][1] if each.rejected else (self._unwritten(sample_id),))
        )
        topics: dict[str, dict[str, int]] = defaultdict(lambda: {"kept": 0, "dropped": 0})
        for sample in self.selected:
            topics[sample.topic]["kept" if judged[sample.id].kept else "dropped"] += 1
        whole = not self.failed and not missing
        self._record |= {
            "status": status or ("complete" if whole else "partial"),
            "counts": {
                "selected": len(self.selected),
                "kept": len(kept),
                "dropped": len(self.selected) - len(kept),
                "hinted": sum(attempt.hinted for attempt in kept),
                "failed": len(self.failed),
                "truncated": sum(
                    any(a.truncated for a in self.attempts[s.id]) for s in self.selected
                ),
                "unasked": sum(
                    s.id not in self.failed and not self.attempts[s.id] for s in self.selected
                ),
                "attempts": sum(len(self.attempts[s.id]) for s in self.selected),
                "reasons": dict(reasons.most_common()),
                "topics": dict(topics),
            },
        }
        if not self.waits:
            self.store.write_record(self._record)
        return self._record

    def _unwritten(self, sample_id: str) -> str:
        """Why there is no attempt at a sample."""
        if is_beyond_context(self.failed.get(sample_id)):
            return "prompt beyond the teacher's context"
        return "nothing written"

    def _sort(self) -> None:
        """Put the attempts into the order of rounds and data: a resumed run then leaves the file
        of an uninterrupted one, in whichever order the answers came."""
        places = {sample.id: place for place, sample in enumerate(self.data.samples.samples)}
        attempts = [attempt for each in self.attempts.values() for attempt in each]
        attempts.sort(key=lambda a: (a.hinted, a.attempt, places.get(a.id, len(places))))
        if attempts:
            self.store.replace_attempts(attempts)

    def worked(self, device: str | None) -> None:
        """Add this session's time to the record."""
        self._record["seconds"] += time.perf_counter() - self._started
        self._record["environment"] = environment.describe(device)

    def measured(self) -> Iterator[Measured]:
        """The measures of each selected sample's kept attempt or, where none is, its last one."""
        for sample in self.selected:
            judged = self.judge(sample)
            shown = judged.kept or (judged.rejected[-1][0] if judged.rejected else None)
            yield Measured(
                sample.topic,
                kept=judged.kept is not None,
                quality=self.quality(sample, shown) if shown else None,
            )


def _kept_line(sample: Sample, attempt: Attempt, quality: Quality) -> dict[str, Any]:
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
