"""What follows from the teachers' attempts: what remains to be asked, what is kept, the counts.

Whoever supplies the texts, models (`generate`) or a file (`importing`), adds them to a `Work`; the
`Judge` decides which of them are kept.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from distill.layout import Workspace
from distill.options import RationaleOptions, Round
from distill.quality.measures import Measurement
from distill.questions import Questions
from distill.rationales.fingerprint import Fingerprint, names_of
from distill.rationales.judge import Judge, Verdict, kept_line
from distill.rationales.prompt import PROMPT_VERSION
from distill.rationales.store import Attempt, Gain, Store
from harness.core import environment
from harness.core.errors import Exit, HarnessError, is_beyond_context
from harness.core.mismatch import stop_on_mismatch
from harness.core.types import Sample

log = logging.getLogger(__name__)


class Work:
    """The attempts that are there, and what follows from them."""

    def __init__(
        self,
        workspace: Workspace,
        questions: Questions,
        options: RationaleOptions,
        *,
        teachers: Sequence[str] = (),
    ) -> None:
        """`teachers`: who is asked, by name; empty: the texts come from a file."""
        self.workspace = workspace
        self.questions = questions
        self.options = options
        self.teachers = tuple(teachers)
        self.rounds = tuple(options.rounds(teachers))
        self.store = Store(workspace.folder)
        self.selected = questions.selected()
        self.attempts: dict[str, list[Attempt]] = defaultdict(list)
        self.judge = Judge(questions.data.task, options)
        self.failed: dict[tuple[str, str], str] = {}
        """Sample id and teacher -> why it could not be asked, or gave nothing."""
        self.unmatched: list[Mapping[str, Any]] = []
        """Lines for rejected.jsonl that belong to no selected sample."""
        self.replaces = False
        """Other rationales are there, and stay until there is one to put in their place."""
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
        self.judge.gains = {each.key: each for each in self.store.read_gains()}
        if self._old is None and self.attempts:
            raise HarnessError(
                f"{self.store.attempts_path} is there, but no record of what it was made with.",
                remedy="Use --fresh to move it aside.",
            )

    @cached_property
    def _several(self) -> bool:
        """Whether the attempts are of several teachers; else they are those of the one, whatever
        it is called now."""
        return len(self.teachers) > 1 or len(names_of(self._old)) > 1

    def compare(self, known: Fingerprint) -> None:
        """Refuse to mix the rationales of two settings; raises HarnessError."""
        if self._old is None:
            return
        old, new = known.against(self._old)
        stop_on_mismatch(
            old,
            new,
            what=f"the rationales in {self.store.folder}",
            made_by=self._old.get("command", ()),
            command=self.workspace.command,
        )

    def begin(self, known: Fingerprint, *, about: Sequence[Mapping[str, Any]]) -> None:
        """Write the record, before the first attempt.

        Args:
            about: what a model card says of each teacher.
        """
        data = self.questions.data
        samples = data.samples
        old = self._old or {}
        self._record = {
            "status": "running",
            "fingerprint": known.merged(self._old),
            "teacher": together(about),
            **({"teachers": [dict(each) for each in about]} if self._several else {}),
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
                **({"gain_by": self.options.gain_by} if self.options.scores_by_model else {}),
                **({"teacher_share": self.options.share} if self._several else {}),
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
            **({"scorer": old["scorer"]} if "scorer" in old else {}),
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

    @property
    def is_asked(self) -> bool:
        """Whether nobody remains to be asked."""
        return not any(map(self.lacks, self.rounds))

    def lacks(self, each: Round) -> bool:
        """Whether this round has something to ask; the rounds before it are over, or will be."""
        return any(not self.has(sample, each) for sample in self.samples_of(each))

    def samples_of(self, each: Round) -> list[Sample]:
        """The samples of this round, answered or not; the rounds before it are over."""
        return [s for s in self.selected if not self._fails(s, each) and self.wants(s, each)]

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
        """Whether nothing remains to be asked about this sample, or to be scored."""
        asked = all(self.has(sample, each) for each in self.rounds if self.wants(sample, each))
        return asked and not self.unscored(sample)

    def is_settled(self, sample: Sample) -> bool:
        """Whether it is decided, or whoever has not answered it has failed on it."""
        if not any((sample.id, name) in self.failed for name in self.teachers):
            return self.is_decided(sample)
        return all(
            self.has(sample, each) or self._fails(sample, each)
            for each in self.rounds
            if self.wants(sample, each)
        )

    def _fails(self, sample: Sample, each: Round) -> bool:
        return (sample.id, each.teacher) in self.failed

    def unscored(self, sample: Sample) -> list[Attempt]:
        """The attempts whose gain the method needs, and that have none yet."""
        if not self.options.scores_by_model:
            return []
        return [
            attempt
            for attempt in self.found(sample)
            if attempt.key not in self.judge.gains and not self.judge.reasons(sample, attempt)
        ]

    def add_gains(self, gains: Sequence[Gain], *, replace: bool) -> None:
        """Add scores of attempts to the file; `replace`: in place of those that are there."""
        self.judge.gains |= {each.key: each for each in gains}
        self.store.write_gains(gains, replace=replace)

    def record_scorer(self, about: Mapping[str, Any]) -> None:
        """Put the model that scored the attempts into the record."""
        self._record["scorer"] = dict(about)
        self.store.write_record(self._record)

    def wants(self, sample: Sample, each: Round) -> bool:
        """Whether this sample takes part in this round; the rounds before it decide."""
        if not self.options.gives(sample.id, each.teacher, self.teachers):
            return False
        if not self.options.stops and not each.hinted:
            return True
        earlier = self.rounds[: self.rounds.index(each)]
        before = [a for a in self.attempts[sample.id] if any(self._is_of(a, r) for r in earlier)]
        return all(self.judge.reasons(sample, attempt) for attempt in before)

    def has(self, sample: Sample, each: Round) -> bool:
        return any(self._is_of(attempt, each) for attempt in self.attempts[sample.id])

    def _is_of(self, attempt: Attempt, each: Round) -> bool:
        same = (attempt.attempt, attempt.hinted) == (each.number, each.hinted)
        return same and (attempt.teacher == each.teacher or not self._several)

    def found(self, sample: Sample) -> list[Attempt]:
        """The attempts at this sample that the rounds ask for; of a file all."""
        return [
            attempt
            for attempt in self.attempts[sample.id]
            if not self.rounds or any(self._is_of(attempt, each) for each in self.rounds)
        ]

    def add(self, attempt: Attempt) -> bool:
        """Add an attempt; False where it is there already."""
        mine = self.attempts[attempt.id]
        if any(attempt.key == each.key for each in mine):
            return False
        mine.append(attempt)
        return True

    def verdict(self, sample: Sample) -> Verdict:
        """Which of a sample's attempts is kept, and why the others are not."""
        return self.judge(sample, self.found(sample))

    def views(self, samples: Sequence[Sample]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines of rationales.jsonl and of rejected.jsonl for these samples."""
        kept, rejected = [], []
        for sample in samples:
            verdict = self.verdict(sample)
            if verdict.kept:
                quality = self.judge.quality(sample, verdict.kept)
                choice = verdict.choice(self.options.choose)
                kept.append(kept_line(sample, verdict.kept, quality) | {"choice": choice})
            for attempt, reasons in verdict.rejected:
                score = verdict.scores.get(attempt.key)
                rejected.append(
                    {**asdict(attempt), "topic": sample.topic, "reasons": reasons}
                    | ({} if score is None else {"choice_score": score})
                )
            for name in self.teachers:
                if why := self.failed.get((sample.id, name)):
                    reasons = (f"failed: {why}",)
                    rejected.append({"id": sample.id, "topic": sample.topic, "reasons": reasons})
        return kept, rejected

    def write_views(self) -> None:
        """Rewrite both files from the attempts, in the data's order."""
        done = [sample for sample in self.selected if self.is_settled(sample)]
        kept, rejected = self.views(done)
        self.store.replace_views(kept, [*rejected, *self.unmatched])

    def finish(self, status: str | None = None) -> dict[str, Any]:
        """Count, write the record, and return it."""
        if not self.replaces:
            self._sort()
            self.write_views()
        whole = not self.failed and self.is_over
        self._record |= {
            "status": status or ("complete" if whole else "partial"),
            "counts": self._counts(),
        }
        if not self.replaces:
            self.store.write_record(self._record)
        return self._record

    def _counts(self) -> dict[str, Any]:
        """What became of the selected samples, in numbers."""
        verdicts = {sample.id: self.verdict(sample) for sample in self.selected}
        failed = {sample_id for sample_id, _ in self.failed}
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
            "failed": len(failed),
            "truncated": sum(any(a.truncated for a in self.attempts[s.id]) for s in self.selected),
            "unasked": sum(s.id not in failed and not self.attempts[s.id] for s in self.selected),
            "attempts": sum(len(self.attempts[s.id]) for s in self.selected),
            "teachers": self._by_teacher(kept),
            "reasons": dict(reasons.most_common()),
            "topics": dict(topics),
        }

    def _by_teacher(self, kept: Sequence[Attempt]) -> dict[str, dict[str, int]]:
        """Teacher -> questions and attempts that it wrote, and how many of them are kept."""
        counts: dict[str, dict[str, int]] = {}
        for sample in self.selected:
            found = Counter(attempt.teacher for attempt in self.found(sample))
            for name, attempts in found.items():
                one = counts.setdefault(name, {"questions": 0, "attempts": 0, "kept": 0})
                one["questions"] += 1
                one["attempts"] += attempts
        for attempt in kept:
            counts[attempt.teacher]["kept"] += 1
        return counts

    def _unwritten(self, sample_id: str) -> str:
        """Why there is no attempt at a sample."""
        if any(is_beyond_context(self.failed.get((sample_id, name))) for name in self.teachers):
            return "prompt beyond the teacher's context"
        return "nothing written"

    def _sort(self) -> None:
        """Put the attempts into the order of rounds and data: a resumed run then leaves the file
        of an uninterrupted one, in whichever order the answers came."""
        samples = self.questions.data.samples.samples
        places = {sample.id: place for place, sample in enumerate(samples)}
        attempts = [attempt for each in self.attempts.values() for attempt in each]
        rank = {name: place for place, name in enumerate(self.teachers)} if self._several else {}
        attempts.sort(
            key=lambda a: (
                a.hinted,
                rank.get(a.teacher, len(rank)),
                a.attempt,
                places.get(a.id, len(places)),
            )
        )
        if attempts:
            self.store.replace_attempts(attempts)

    def add_session(self, device: str | None) -> None:
        """Add this session's time to the record."""
        self._record["seconds"] += time.perf_counter() - self._started
        self._record["environment"] = environment.describe(device)

    def measurements(self) -> Iterator[Measurement]:
        """The measures of each selected sample's kept attempt or, where none is, its last one."""
        for sample in self.selected:
            verdict = self.verdict(sample)
            shown = verdict.kept or (verdict.rejected[-1][0] if verdict.rejected else None)
            yield Measurement(
                sample.topic,
                kept=verdict.kept is not None,
                quality=self.judge.quality(sample, shown) if shown else None,
            )


def written_by(record: Mapping[str, Any]) -> str:
    """The teachers by title, and where they are several how many of the kept rationales are of
    each."""
    counts = record.get("counts", {}).get("teachers", {})
    several = record.get("teachers") or []
    if len(several) < 2:
        teacher = record.get("teacher", {})
        return str(teacher.get("title") or teacher.get("name", ""))
    return ", ".join(
        f"{each.get('title') or each['name']} ({counts.get(each['name'], {}).get('kept', 0):,} of "
        "the rationales)"
        for each in several
    )


def together(about: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a card says of all teachers in one: their names, titles and licences."""
    if len(about) == 1:
        return dict(about[0])
    titles = [each.get("title") or each["name"] for each in about]
    licences = dict.fromkeys(each.get("licence") or "not known" for each in about)
    return {
        "name": " + ".join(each["name"] for each in about),
        "title": " and ".join(titles),
        "licence": ", ".join(licences),
    }
