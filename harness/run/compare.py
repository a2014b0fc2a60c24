"""Two runs on the questions that both answered: who is better, by how much, and is that certain."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.core.errors import Exit, HarnessError
from harness.core.options import TOKENIZE, Tokenize
from harness.core.types import Prediction
from harness.metrics.statistics import (
    Difference,
    paired_bootstrap,
    paired_difference,
    paired_proportions,
)
from harness.run.folder import RunFolder
from harness.run.scoring import tokenize_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The second of two runs against the first."""

    first: str
    second: str
    """Titles of the models."""
    task: str
    n: int
    """Questions that both answered."""
    left_out: int
    """Questions that only one of them answered."""
    differences: dict[str, Difference]
    """Metric -> second minus first, as fractions; the first entry is the one that decides."""
    only_first: int | None = None
    only_second: int | None = None
    """Questions that only this one got right; None for text answers."""
    interval: str = ""
    """How the intervals were made."""
    label: str = ""
    """That the runs are of the miniature, where they are."""

    @property
    def decisive(self) -> Difference:
        return next(iter(self.differences.values()))

    @property
    def second_is_worse(self) -> bool:
        """Whether the whole 95% interval of the difference lies below 0."""
        return self.decisive.high < 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "second_is_worse": self.second_is_worse, "words": words(self)}


def compare(first: RunFolder, second: RunFolder) -> Comparison:
    """Pair two runs on their shared sample ids.

    Accuracies: Bonett and Price's interval and exact McNemar's p; where questions share an image,
    an interval from standard errors clustered by image. Text: paired bootstrap of ROUGE and BLEU.

    Raises:
        HarnessError: not a run, other tasks, no shared question, or shared ids that are other
            questions.
    """
    records = first.existing_record(), second.existing_record()
    if records[0].task.name != records[1].task.name:
        raise HarnessError(
            f"{records[0].task.title} and {records[1].task.title} cannot be compared: "
            "two runs of one task are needed."
        )
    if records[0].label != records[1].label:
        mini = records[0] if records[0].label else records[1]
        raise HarnessError(
            "A run of the miniature cannot be compared with a real one.",
            known=f"{mini.model.title} on {mini.task.title} is {mini.label}; the other is not.",
        )
    a, b = _answered(first), _answered(second)
    shared = [sample_id for sample_id in a if sample_id in b]
    if not shared:
        raise HarnessError(
            "The two runs have no question in common that both answered.", code=Exit.MISSING
        )
    pairs = [(a[sample_id], b[sample_id]) for sample_id in shared]
    for one, two in pairs:
        if one.target != two.target or one.choices != two.choices:
            raise HarnessError(
                f"Sample {one.sample_id} is another question in each of the two runs.",
                known="Their data differ; see `fingerprint` in run.json.",
            )
    common = {
        "first": records[0].model.title,
        "second": records[1].model.title,
        "task": records[0].task.title,
        "n": len(pairs),
        "left_out": len(a) + len(b) - 2 * len(pairs),
        "label": records[0].label,
    }
    if common["first"] == common["second"]:
        common |= {"first": str(first.path), "second": str(second.path)}
    if all(one.choices for one, _ in pairs):
        return _choices(pairs, common)
    used = {tokenize_of(record) for record in records}
    return _texts(pairs, common, tokenize=used.pop() if len(used) == 1 else TOKENIZE)


def accuracies(
    right: Sequence[tuple[bool, bool]], clusters: Sequence[Hashable]
) -> tuple[Difference, str]:
    """The second accuracy minus the first, and how its interval was made.

    Args:
        right: for each question that both answered, whether each of the two got it right.
        clusters: for each question, what it shares with others that it is not independent of.
    """
    only_first, only_second = right.count((True, False)), right.count((False, True))
    difference = paired_proportions(only_first, only_second, len(right))
    if 1 < len(set(clusters)) < len(clusters):
        first, second = zip(*right, strict=True)
        clustered = paired_difference(first, second, clusters)
        # With few disagreements the normal interval can have no width at all.
        if clustered.high - clustered.low > difference.high - difference.low:
            return Difference(**{**asdict(clustered), "p": difference.p}), (
                "95%, clustered by image; p exact McNemar, by question"
            )
    return difference, "95%, Bonett and Price; p exact McNemar"


def _choices(pairs: Sequence[tuple[Prediction, Prediction]], common: dict[str, Any]) -> Comparison:
    right = [(bool(one.correct), bool(two.correct)) for one, two in pairs]
    clusters = [one.images or (one.sample_id,) for one, _ in pairs]
    difference, interval = accuracies(right, clusters)
    return Comparison(
        **common,
        differences={"accuracy": difference},
        only_first=right.count((True, False)),
        only_second=right.count((False, True)),
        interval=interval,
    )


def _texts(
    pairs: Sequence[tuple[Prediction, Prediction]], common: dict[str, Any], *, tokenize: Tokenize
) -> Comparison:
    from harness.metrics import coverage as text_coverage
    from harness.metrics import overlap as text_metrics

    references = [str(one.target) for one, _ in pairs]
    texts = [
        [("" if p.answer is None else str(p.answer)) for p in side]
        for side in zip(*pairs, strict=True)
    ]
    rouge = [text_metrics.rouge(side, references) for side in texts]
    differences = {
        name: paired_bootstrap(
            rouge[0][name][:, None], rouge[1][name][:, None], lambda x: x[..., 0]
        )
        for name in ("rougeL", "rouge1", "rouge2", "rougeLsum")
    }
    bleu = [text_metrics.bleu_statistics(side, references, tokenize=tokenize) for side in texts]
    differences["bleu"] = paired_bootstrap(bleu[0], bleu[1], text_metrics.bleu)
    interval = "95% and p: paired bootstrap, 1,000 resamples"
    if tokenize != TOKENIZE:
        interval += f"; BLEU with tok:{tokenize}"
    unseen = [text_coverage.note_on_rouge(side, references) for side in texts]
    unseen += [text_coverage.note_on_bleu(side, references, tokenize) for side in texts]
    interval = "; ".join([interval, *dict.fromkeys(note for note in unseen if note)])
    return Comparison(**common, differences=differences, interval=interval)


def words(comparison: Comparison) -> str:
    """The comparison as a sentence or a few."""
    c = comparison
    lines = []
    for name, d in c.differences.items():
        points = name == "accuracy"
        scale, digits, unit = (100, 1, " points") if points else (1, 4, "")
        better, worse, sign = (
            (c.second, c.first, 1) if d.difference >= 0 else (c.first, c.second, -1)
        )
        low, high = sorted((sign * d.low * scale, sign * d.high * scale))
        size = (
            f"{sign * d.difference * scale:.{digits}f}{unit}, {low:.{digits}f} to {high:.{digits}f}"
        )
        what = "" if points else f" in {name}"
        if d.difference == 0:
            lines.append(f"{c.second} and {c.first} are equal{what} ({size})")
        elif low <= 0:
            lines.append(f"{better} is ahead{what} by {size}: it may not be better than {worse}")
        else:
            lines.append(f"{better} is better{what} by {size}")
    if c.only_first is not None:
        lines[0] += (
            f"; {c.only_second} questions only {c.second} got right, {c.only_first} only {c.first}"
        )
        lines[0] += f" (McNemar p = {c.decisive.p:.2g})"
    scope = f"{c.task}{f', {c.label}' if c.label else ''}: {c.n:,} questions that both answered"
    if c.left_out:
        scope += f", {c.left_out:,} left out that only one did"
    return ".\n".join([*lines, f"{scope}. Intervals: {c.interval}."])


def _answered(folder: RunFolder) -> dict[str, Prediction]:
    return {p.sample_id: p for p in folder.existing_predictions() if p.error is None}
