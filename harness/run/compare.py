"""Two runs on the questions that both answered: who is better, by how much, and is that certain."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import Exit, HarnessError
from harness.core.options import TOKENIZE
from harness.core.types import Metric, Prediction, RunMetric
from harness.metrics.clusters import clusters
from harness.metrics.figures import aggregate, contributions
from harness.metrics.questions import digests, shared
from harness.metrics.registry import CONTEXT
from harness.metrics.statistics import (
    Difference,
    paired_bootstrap,
    paired_difference,
    paired_proportions,
)
from harness.run.folder import RunFolder
from harness.run.records import MetricInfo, RunRecord
from harness.run.scores import known_metric, scored_predictions, with_descriptions
from harness.run.scoring import tokenize_of
from harness.run.verdicts import Verdict, verdict

Floats = NDArray[np.float64]
Rights = NDArray[np.bool_]
"""Whether a run got each of some questions right, (n,)."""

BOOTSTRAP = "95% and p: paired bootstrap, 1,000 resamples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The second of two runs against the first."""

    first: str
    second: str
    """Titles of the models."""
    task: str
    n: int
    """Questions that both answered, with the same text, options, pictures and target."""
    left_out: int
    """Questions that only one of them answered."""
    changed: int = 0
    """Questions left out because their text, options, pictures or target differ."""
    answered: tuple[int, int] | None = None
    """Questions that each of them answered."""
    differences: dict[str, Difference]
    """Metric -> second minus first, as fractions; the first entry is the one that decides."""
    metric_info: dict[str, MetricInfo] = field(default_factory=dict)
    """Metric -> its description."""
    only_first: int | None = None
    only_second: int | None = None
    """Questions that only this one got right; None where answers are graded."""
    interval: str = ""
    """How the intervals were made."""
    label: str = ""
    """That the runs are of the miniature, where they are."""

    @property
    def decisive(self) -> Difference:
        return next(iter(self.differences.values()))

    @property
    def second_is_worse(self) -> bool:
        """Whether the whole 95% interval of the decisive difference is on the worse side of 0."""
        name = next(iter(self.differences))
        if self.metric_info[name].higher_is_better:
            return self.decisive.high < 0
        return self.decisive.low > 0

    @property
    def verdict(self) -> Verdict:
        """The verdict by the metric that decides."""
        return _verdict(self, next(iter(self.differences)))

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "second_is_worse": self.second_is_worse,
            "verdict": asdict(self.verdict),
            "words": words(self),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """One metric's difference."""

    difference: Difference
    interval: str
    outcomes: tuple[Rights, Rights] | None = None
    """Of the first run and of the second, where answers are right or wrong."""


def compare(
    first: RunFolder, second: RunFolder, *, metrics: Sequence[Metric | RunMetric] = ()
) -> Comparison:
    """Pair two runs on the questions that they share: with one id, text, options and target.

    Right or wrong: Bonett and Price's interval and exact McNemar's p; where questions share a group
    or an image, an interval from standard errors clustered by it. Graded scores and corpus scores:
    paired bootstrap, over clusters where there are any.

    Args:
        metrics: of the runs' task, where it is a user's own: what scores a corpus, or groups, has
            to be computed to be compared.

    Raises:
        HarnessError: not a run, other tasks, or no shared question.
    """
    records = first.existing_record(), second.existing_record()
    _refuse_unlike(*records)
    (one_record, a), (other_record, b) = map(_answered, (first, second), records)
    records = one_record, other_record
    keys = shared(digests(list(a.values())), digests(list(b.values())))
    changed = sum(sample_id in b for sample_id in a) - len(keys)
    if not keys:
        raise _nothing_shared(changed)
    sides = [a[key] for key in keys], [b[key] for key in keys]
    titles = [record.model.title for record in records]
    if titles[0] == titles[1]:
        titles = [str(first.path), str(second.path)]
    found, notes = _differences(records, *sides, own=metrics)
    if not found:
        raise _nothing_to_compare(sides[0])
    decisive = next(iter(found.values())).outcomes
    return Comparison(
        first=titles[0],
        second=titles[1],
        task=records[0].task.title,
        n=len(keys),
        left_out=len(a) + len(b) - 2 * (len(keys) + changed),
        changed=changed,
        answered=(len(a), len(b)),
        differences={name: each.difference for name, each in found.items()},
        metric_info={name: records[0].metric_info[name] for name in found},
        only_first=None if decisive is None else int((decisive[0] & ~decisive[1]).sum()),
        only_second=None if decisive is None else int((decisive[1] & ~decisive[0]).sum()),
        interval="; ".join(notes),
        label=records[0].label,
    )


def _nothing_to_compare(answers: Sequence[Prediction]) -> HarnessError:
    """The error for two runs without a score in common."""
    if all(answer.target is None for answer in answers):
        return HarnessError(
            "The two runs have no score: the answers of this split are not public.",
            remedy="harness export --format submission writes them for the evaluation server.",
        )
    return HarnessError(
        "The two runs have no score in common that can be compared.",
        remedy="harness rescore RUN scores its answers again; --task ./mine.py has the metrics "
        "of a task of yours.",
    )


def accuracies(
    first: Rights, second: Rights, clusters: Sequence[Hashable] | None = None, *, by: str = "image"
) -> tuple[Difference, str]:
    """The second accuracy minus the first, and how its interval was made.

    Args:
        first: whether the first run got each question right that both answered, (n,).
        second: whether the second one did, (n,).
        clusters: for each question, what it shares with others that it is not independent of; None:
            nothing.
        by: what that is.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    difference = paired_proportions(only_first, only_second, len(first))
    if clusters is not None and 1 < len(set(clusters)) < len(clusters):
        clustered = paired_difference(first, second, clusters)
        # With few disagreements the normal interval can have no width at all.
        if clustered.high - clustered.low > difference.high - difference.low:
            return Difference(**{**asdict(clustered), "p": difference.p}), (
                f"95%, clustered by {by}; p exact McNemar, by question"
            )
    return difference, "95%, Bonett and Price; p exact McNemar"


def graded(first: Floats, second: Floats, clusters: Sequence[Hashable] | None) -> Difference:
    """The second mean minus the first, by a paired bootstrap.

    Args:
        first: the scores of the first run, (n,).
        second: those of the second on the same questions, (n,).
        clusters: as in `accuracies`; None: all questions are independent.
    """
    return paired_bootstrap(first[:, None], second[:, None], lambda x: x[..., 0], clusters)


def _nothing_shared(changed: int) -> HarnessError:
    if not changed:
        return HarnessError(
            "The two runs have no question in common that both answered.", code=Exit.MISSING
        )
    return HarnessError(
        f"The two runs have {_questions(changed)} of the same id, and none that is the same "
        "question: text, options, pictures or target differ.",
        known="Their data differ; see `fingerprint` in run.json.",
        code=Exit.MISSING,
    )


def _refuse_unlike(first: RunRecord, second: RunRecord) -> None:
    if first.task.name != second.task.name:
        raise HarnessError(
            f"{first.task.title} and {second.task.title} cannot be compared: "
            "two runs of one task are needed."
        )
    if first.label != second.label:
        mini = first if first.label else second
        raise HarnessError(
            "A run of the miniature cannot be compared with a real one.",
            known=f"{mini.model.title} on {mini.task.title} is {mini.label}; the other is not.",
        )


def _differences(
    records: tuple[RunRecord, RunRecord],
    first: list[Prediction],
    second: list[Prediction],
    *,
    own: Sequence[Metric | RunMetric],
) -> tuple[dict[str, _Difference], list[str]]:
    """Every score that both runs have, the decisive one first; and how intervals were made."""
    code = _metrics(records) | {each.name: each for each in own if isinstance(each, Metric)}
    found: dict[str, _Difference] = {}
    notes: list[str] = []
    for name, about in records[0].metric_info.items():
        if name in CONTEXT or name not in records[1].metric_info:
            continue
        if about.scope == "sample":
            made = _by_sample(name, first, second)
        else:
            made = _by_contributions(code.get(name), first, second)
        computed = all(r.metrics[name].value is not None for r in records if name in r.metrics)
        if made is None and computed:
            notes.append(f"{about.title} is not compared: no answer has a score of its own")
        elif made is not None:
            found[name] = made
    notes = [each.interval for each in found.values()] + notes
    if "bleu" in found and (tokenize := tokenize_of(records[0])) != TOKENIZE and "bleu" in code:
        notes.append(f"BLEU with tok:{tokenize}")
    notes += [
        record.metrics[name].caveat
        for name in found
        for record in records
        if name in record.metrics
    ]
    return found, list(dict.fromkeys(note for note in notes if note))


def _metrics(records: tuple[RunRecord, RunRecord]) -> dict[str, Metric]:
    """The metrics that give no score to each answer, by name, as far as they are ours."""
    from harness.metrics.text_overlap import bleu

    code = {
        name: found
        for name, about in records[0].metric_info.items()
        if about.scope in ("corpus", "group") and (found := known_metric(records[0], name))
    }
    used = {tokenize_of(record) for record in records}
    if "bleu" in code:
        code["bleu"] = bleu(used.pop() if len(used) == 1 else TOKENIZE)
    return code


def _by_sample(name: str, first: list[Prediction], second: list[Prediction]) -> _Difference | None:
    """From the scores that the answers have; None where no question has two."""
    pairs = [
        (one, two)
        for one, two in zip(first, second, strict=True)
        if name in one.scores and name in two.scores
    ]
    if not pairs:
        return None
    ones = np.array([one.scores[name] for one, _ in pairs])
    twos = np.array([two.scores[name] for _, two in pairs])
    by = "group" if any(one.group for one, _ in pairs) else "image"
    return _difference(ones, twos, clusters([one for one, _ in pairs]), by=by)


def _by_contributions(
    metric: Metric | None, first: list[Prediction], second: list[Prediction]
) -> _Difference | None:
    """From what the answers contribute to a score of the corpus, or of groups; None where the code
    of the metric is not known, or it scores no question in both runs."""
    if metric is None:
        return None
    single = replace(metric, per_group=None)
    scored = [
        set(contributions(side, [single])[metric.name].of.tolist()) for side in (first, second)
    ]
    both = sorted(scored[0] & scored[1])
    if not both:
        return None
    first, second = [first[i] for i in both], [second[i] for i in both]
    one, two = (contributions(side, [metric])[metric.name] for side in (first, second))
    if metric.aggregate is None:
        return _difference(one.values[:, 0], two.values[:, 0], None)
    together = clusters(first)
    difference = paired_bootstrap(one.values, two.values, partial(aggregate, metric), together)
    return _Difference(difference=difference, interval=BOOTSTRAP)


def _difference(
    first: Floats, second: Floats, together: Sequence[int] | None, *, by: str = "image"
) -> _Difference:
    if not np.isin(first, (0, 1)).all() or not np.isin(second, (0, 1)).all():
        return _Difference(difference=graded(first, second, together), interval=BOOTSTRAP)
    one, two = first == 1, second == 1
    difference, interval = accuracies(one, two, together, by=by)
    return _Difference(difference=difference, interval=interval, outcomes=(one, two))


def words(comparison: Comparison) -> str:
    """The comparison as a sentence or a few."""
    c = comparison
    lines = [_sentence(c, name) for name in c.differences]
    if c.only_first is not None:
        lines[0] += (
            f". {_questions(c.only_second or 0)} only {c.second} got right, "
            f"{c.only_first:,} only {c.first}"
        )
    scope = f"{c.task}{f', {c.label}' if c.label else ''}: {_questions(c.n)} that both answered"
    if c.left_out:
        scope += f", {c.left_out:,} left out that only one did"
    if c.changed:
        scope += f", {c.changed:,} left out that are other questions in each run"
    return ".\n".join([*lines, f"{scope}. Intervals: {c.interval}."])


def _questions(number: int) -> str:
    return f"{number:,} question{'s' * (number != 1)}"


def _verdict(c: Comparison, name: str) -> Verdict:
    about = c.metric_info[name]
    noun = "group" if about.scope == "group" else "question"
    return verdict(c.differences[name], about, (c.second, c.first), noun=noun)


def _sentence(c: Comparison, name: str) -> str:
    about, found = c.metric_info[name], _verdict(c, name)
    is_named = about.unit != "%" or name == next(iter(c.differences))
    what = "" if is_named else f", {about.title}"
    return f"{c.second} against {c.first}{what}: {found.text} (95% interval {found.interval})"


def _answered(folder: RunFolder, record: RunRecord) -> tuple[RunRecord, dict[str, Prediction]]:
    """The record, with a description of its metrics, and the answers with their scores, by id."""
    predictions = folder.existing_predictions()
    record = with_descriptions(record, predictions)
    made = scored_predictions(record, predictions)
    return record, {p.sample_id: p for p in made if p.error is None}
