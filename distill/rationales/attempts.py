"""What follows from a teacher's attempts: what remains to be asked, what is kept, the counts.

Whoever supplies the texts, a model (`generate`) or a file (`importing`), adds them to a `Work`,
which alone decides which of them are kept.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distill.examples import gold
from distill.layout import Workspace
from distill.options import RationaleOptions, Round
from distill.quality.measures import Measurement, Quality, measure
from distill.questions import Questions
from distill.rationales import filters
from distill.rationales.prompt import PROMPT_VERSION
from distill.rationales.store import Attempt, Store
from harness.core import environment
from harness.core.errors import Exit, HarnessError, is_beyond_context
from harness.core.mismatch import stop_on_mismatch
from harness.core.types import Sample

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which of a sample's attempts is kept, and why the others are not."""

    kept: Attempt | None
    rejected: Sequence[tuple[Attempt, tuple[str, ...]]]


class Work:
    """The attempts that are there, and what follows from them."""

    def __init__(
        self,
        workspace: Workspace,
        questions: Questions,
        options: RationaleOptions,
        *,
        imported: bool = False,
    ) -> None:
        """`imported`: the texts come from a file, and nobody is asked."""
        self.workspace = workspace
        self.questions = questions
        self.options = options
        self.rounds = () if imported else tuple(options.rounds())
        self.store = Store(workspace.folder)
        self.selected = questions.selected()
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)
        self.failed: dict[str, str] = {}
        """Sample id -> why the teacher could not be asked, or gave nothing."""
        self.unmatched: list[Mapping[str, Any]] = []
        """Lines for rejected.jsonl that belong to no selected sample."""
        self.replaces = False
        """Other rationales are there, and stay until there is one to put in their place."""
        self._reasons: dict[tuple[str, bool, int], tuple[str, ...]] = {}
        self._qualities: dict[tuple[str, bool, int], Quality] = {}
        self._old: dict[str, Any] | None = None
        self._record: dict[str, Any] = {}
        self._started = time.perf_counter()

    def open(self) -> None:
        """Read what is there, unless it is to be replaced."""
        if self.workspace.fresh and self.store.holds_anything:
            self.replaces = True
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
            command=self.workspace.command,
        )

    def begin(self, known: Mapping[str, Any], *, about: Mapping[str, Any]) -> None:
        """Write the record, before the first attempt."""
        data = self.questions.data
        samples = data.samples
        old = self._old or {}
        self._record = {
            "status": "running",
            "fingerprint": {**old.get("fingerprint", {}), **known},
            "teacher": dict(about),
            "data": {
                "task": data.task.name,
                "title": data.task.title,
                "split": data.options.split,
                "path": str(path.resolve()) if (path := data.options.path) else None,
                "asked_revision": data.options.revision,
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
                "limit": self.questions.limit,
                "sample": self.questions.sample,
                "seed": self.questions.seed,
                "prompt_version": PROMPT_VERSION,
            },
            "counts": old.get("counts", {}),
            "seconds": old.get("seconds", 0.0),
            "environment": old.get("environment", {}),
            "command": list(self.workspace.command),
        }
        if self.replaces:
            return
        if self._old is None or not self.is_over:
            self.store.write_record(self._record)
        self.write_views()

    def append(self, attempts: Sequence[Attempt]) -> None:
        """Append attempts to the file; the first ones replace what is there."""
        if self.replaces and attempts:
            log.info("The rationales that were there are now in %s", self.store.move_aside())
            self.replaces = False
            self.store.write_record(self._record)
        if attempts:
            self.store.append_attempts(attempts)

    def require_any(self) -> None:
        """Refuse to replace what is there with nothing; raises HarnessError."""
        if self.replaces:
            raise HarnessError(
                f"No rationale was written; those in {self.store.folder} are as they were.",
                known=next(iter(self.failed.values()), ""),
                code=Exit.FAILED_SAMPLES,
            )

    @property
    def is_over(self) -> bool:
        """Whether every sample is decided."""
        return all(map(self.is_decided, self.selected))

    def samples_of(self, each: Round) -> list[Sample]:
        """The samples of this round, answered or not; the rounds before it are over."""
        return [s for s in self.selected if s.id not in self.failed and self.wants(s, each)]

    def batches(self, each: Round, *, whole: bool) -> Iterator[Sequence[Sample]]:
        """The samples of this round that have no attempt yet, in batches of neighbours in the data.

        Args:
            whole: with the answered ones of their batch: where texts depend on the batch, a resumed
                run then writes those of an uninterrupted one.
        """
        size = self.options.rows
        asked = {sample.id for sample in self.samples_of(each)}
        for start in range(0, len(self.selected), size):
            batch = [s for s in self.selected[start : start + size] if s.id in asked]
            left = [s for s in batch if not self.has(s, each)]
            if left:
                yield batch if whole else left

    def is_decided(self, sample: Sample) -> bool:
        """Whether nothing remains to be asked about this sample."""
        return all(self.has(sample, each) for each in self.rounds if self.wants(sample, each))

    def wants(self, sample: Sample, each: Round) -> bool:
        """Whether this sample takes part in this round; the rounds before it decide."""
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
        """Add an attempt; False where it is there already."""
        mine = self.attempts[attempt.id]
        if any(attempt.key == each.key for each in mine):
            return False
        mine.append(attempt)
        return True

    def reasons(self, sample: Sample, attempt: Attempt) -> tuple[str, ...]:
        """The reasons against an attempt; computed once, as an attempt never changes."""
        if attempt.key not in self._reasons:
            self._reasons[attempt.key] = filters.why_rejected(
                attempt.raw, sample, self.questions.data.task, keep=self.options.keep
            )
        return self._reasons[attempt.key]

    def judge(self, sample: Sample) -> Verdict:
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
        return Verdict(
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
            verdict = self.judge(sample)
            if verdict.kept:
                kept.append(_kept_line(sample, verdict.kept, self.quality(sample, verdict.kept)))
            for attempt, reasons in verdict.rejected:
                rejected.append({**asdict(attempt), "topic": sample.topic, "reasons": reasons})
            if sample.id in self.failed:
                reason = f"failed: {self.failed[sample.id]}"
                rejected.append({"id": sample.id, "topic": sample.topic, "reasons": (reason,)})
        return kept, rejected

    def write_views(self) -> None:
        """Rewrite both files from the attempts, in the data's order."""
        done = [s for s in self.selected if s.id in self.failed or self.is_decided(s)]
        kept, rejected = self.views(done)
        self.store.replace_views(kept, [*rejected, *self.unmatched])

    def finish(self, status: str | None = None) -> dict[str, Any]:
        """Count, write the record, and return it."""
        if not self.replaces:
            self._sort()
            self.write_views()
        missing = [s for s in self.selected if s.id not in self.failed and not self.is_decided(s)]
        whole = not self.failed and not missing
        self._record |= {
            "status": status or ("complete" if whole else "partial"),
            "counts": self._counts(),
        }
        if not self.replaces:
            self.store.write_record(self._record)
        return self._record

    def _counts(self) -> dict[str, Any]:
        """What became of the selected samples, in numbers."""
        verdicts = {sample.id: self.judge(sample) for sample in self.selected}
        kept = [each.kept for each in verdicts.values() if each.kept]
        reasons = Counter(
            reason
            for sample_id, each in verdicts.items()
            if not each.kept
            for reason in (each.rejected[-1][1] if each.rejected else (self._unwritten(sample_id),))
        )
        topics: dict[str, dict[str, int]] = defaultdict(lambda: {"kept": 0, "dropped": 0})
        for sample in self.selected:
            topics[sample.topic]["kept" if verdicts[sample.id].kept else "dropped"] += 1
        return {
            "selected": len(self.selected),
            "kept": len(kept),
            "dropped": len(self.selected) - len(kept),
            "hinted": sum(attempt.hinted for attempt in kept),
            "failed": len(self.failed),
            "truncated": sum(any(a.truncated for a in self.attempts[s.id]) for s in self.selected),
            "unasked": sum(
                s.id not in self.failed and not self.attempts[s.id] for s in self.selected
            ),
            "attempts": sum(len(self.attempts[s.id]) for s in self.selected),
            "reasons": dict(reasons.most_common()),
            "topics": dict(topics),
        }

    def _unwritten(self, sample_id: str) -> str:
        """Why there is no attempt at a sample."""
        if is_beyond_context(self.failed.get(sample_id)):
            return "prompt beyond the teacher's context"
        return "nothing written"

    def _sort(self) -> None:
        """Put the attempts into the order of rounds and data: a resumed run then leaves the file
        of an uninterrupted one, in whichever order the answers came."""
        samples = self.questions.data.samples.samples
        places = {sample.id: place for place, sample in enumerate(samples)}
        attempts = [attempt for each in self.attempts.values() for attempt in each]
        attempts.sort(key=lambda a: (a.hinted, a.attempt, places.get(a.id, len(places))))
        if attempts:
            self.store.replace_attempts(attempts)

    def add_session(self, device: str | None) -> None:
        """Add this session's time to the record."""
        self._record["seconds"] += time.perf_counter() - self._started
        self._record["environment"] = environment.describe(device)

    def measurements(self) -> Iterator[Measurement]:
        """The measures of each selected sample's kept attempt or, where none is, its last one."""
        for sample in self.selected:
            verdict = self.judge(sample)
            shown = verdict.kept or (verdict.rejected[-1][0] if verdict.rejected else None)
            yield Measurement(
                sample.topic,
                kept=verdict.kept is not None,
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
