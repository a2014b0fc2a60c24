"""The figures of benchmarks/selection.py, and its tables as docs/miniature.md has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from selection_conditions import CONDITIONS, OBJECTIVES, REMEDIES, SELECTION

from distill.quality.answers import reasoning_to_error
from harness.core.types import Prediction
from harness.metrics.statistics import Z_95, mcnemar, paired_difference, wilson

BEGIN, END = "<!-- selection -->", "<!-- end of selection -->"
"""Marks around the tables of a page."""
MEASURES = ("accuracy", "reasoning_to_error")
WORDS = {"accuracy": "accuracy", "reasoning_to_error": "reasoning-to-error"}


def tables(
    answers: Mapping[str, Sequence[Sequence[Prediction]]], training: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Table -> condition -> its figures.

    Args:
        answers: condition -> those of each seed, of the conditions that every seed has.
        training: condition -> what its students learned, and for how long.
    """
    found: dict[str, dict[str, Any]] = {}
    for table in (SELECTION, OBJECTIVES, REMEDIES):
        found[table] = {}
        for name, runs in answers.items():
            if table not in CONDITIONS[name].against:
                continue
            others = [each for each in CONDITIONS[name].against[table] if each in answers]
            against = {other: difference(answers[other], runs) for other in others}
            found[table][name] = {**figures(runs), **training[name], "against": against}
    return found


def figures(runs: Sequence[Sequence[Prediction]]) -> dict[str, Any]:
    """Accuracy and reasoning-to-error, by seed."""
    errors = [reasoning_to_error(predictions) for predictions in runs]
    right = [sum(bool(p.correct) for p in predictions) for predictions in runs]
    numbers = [len(predictions) for predictions in runs]
    return {
        "n": numbers,
        "accuracy": [share(k, n) for k, n in zip(right, numbers, strict=True)],
        "reasoning_to_error": [share(len(e.sample_ids), e.answers) for e in errors],
        "of_wrong": [share(len(e.sample_ids), e.with_reasoning) for e in errors],
    }


def share(count: int, of: int) -> dict[str, Any]:
    if not of:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(count, of)
    return {"value": count / of, "low": low, "high": high, "n": of}


def difference(
    first: Sequence[Sequence[Prediction]], second: Sequence[Sequence[Prediction]]
) -> dict[str, Any]:
    """In accuracy, and in reasoning-to-error as a share of all answers: paired, over all seeds
    together, with intervals from standard errors clustered by question; an exact McNemar test of
    accuracy by seed."""
    tests, ids = [], []
    accuracy: tuple[list[bool], list[bool]] = ([], [])
    errors: tuple[list[bool], list[bool]] = ([], [])
    for one, two in zip(first, second, strict=True):
        both = (
            {p.sample_id: bool(p.correct) for p in one},
            {p.sample_id: bool(p.correct) for p in two},
        )
        wrong = [set(reasoning_to_error(each).sample_ids) for each in (one, two)]
        shared = [key for key in both[0] if key in both[1]]
        ids += shared
        for side in (0, 1):
            accuracy[side].extend(both[side][key] for key in shared)
            errors[side].extend(key in wrong[side] for key in shared)
        pairs = [(both[0][key], both[1][key]) for key in shared]
        losses, gains = pairs.count((True, False)), pairs.count((False, True))
        tests.append({"only_first": losses, "only_second": gains, "p": mcnemar(losses, gains)})
    return {
        "accuracy": asdict(paired_difference(*accuracy, ids)),
        "reasoning_to_error": asdict(paired_difference(*errors, ids)),
        "seeds": tests,
    }


def between_seeds(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """How far students of one condition differ by their seed alone: of each measure the standard
    deviation, pooled over the conditions that were trained, and how far the means of two such
    conditions are then apart in 95 of 100 comparisons without a cause, t s sqrt(2/k) for k seeds.
    None: there is one seed.

    The 95% quantile t of n degrees of freedom is z + (z^3 + z) / 4n, its expansion to the first
    order."""
    trained = {name: row for rows in found.values() for name, row in rows.items() if row["steps"]}
    seeds = len(next(iter(trained.values()))["steps"]) if trained else 0
    if seeds < 2:
        return None
    degrees = len(trained) * (seeds - 1)
    quantile = Z_95 + (Z_95**3 + Z_95) / (4 * degrees)
    made: dict[str, Any] = {"conditions": len(trained), "seeds": seeds, "degrees": degrees}
    for measure in MEASURES:
        variances = [variance(each["value"] for each in row[measure]) for row in trained.values()]
        deviation = math.sqrt(fmean(variances))
        made[measure] = {
            "deviation": deviation,
            "noise": quantile * deviation * math.sqrt(2 / seeds),
        }
    return made


def markdown(report: Mapping[str, Any]) -> list[str]:
    """The tables as docs/miniature.md has them, line by line."""
    lines: list[str] = []
    for title, rows in report["tables"].items():
        if len(rows) < 2:
            continue
        compared = MEASURES[:1] if title == OBJECTIVES else MEASURES
        columns = (
            *(title, "rationales", "training, s", "accuracy, %", "reasoning-to-error, %"),
            *(f"{WORDS[measure]} against" for measure in compared),
        )
        gap = [""] if lines else []
        lines += [*gap, f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        for name, row in rows.items():
            cells = [
                words_of(name),
                f"{round(fmean(row['examples'])):,}" if row["examples"] else "",
                seconds(name, row, rows),
                by_seed(row["accuracy"]),
                by_seed(row["reasoning_to_error"]),
                *(ends(row["against"], measure) for measure in compared),
            ]
            lines.append("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|")
    if lines and (noise := report["between_seeds"]):
        lines += ["", sentence(noise)]
    return lines


def words_of(name: str) -> str:
    """What a table calls a condition."""
    return ": ".join(filter(None, (f"`{name}`", CONDITIONS[name].words)))


def seconds(name: str, row: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """The CPU time of a training: the mean of the seeds; after a plus that of one that went on."""
    if not row["cpu_seconds"]:
        return ""
    before, own = rows.get(CONDITIONS[name].of), f"{fmean(row['cpu_seconds']):.0f}"
    return f"{fmean(before['cpu_seconds']):.0f} + {own}" if before else own


def sentence(noise: Mapping[str, Any]) -> str:
    """How far seeds alone set students apart."""
    parts = [
        f"{100 * noise[measure]['deviation']:.1f} points of {WORDS[measure]} (two means of "
        f"{noise['seeds']} are then up to {100 * noise[measure]['noise']:.1f} apart without a "
        "cause, in 95 of 100 comparisons)"
        for measure in MEASURES
    ]
    return (
        f"Standard deviation between seeds, pooled over {noise['conditions']} trained conditions: "
        f"{' and '.join(parts)}."
    )


def markdown_kept(report: Mapping[str, Any]) -> list[str]:
    """What each method keeps, as docs/miniature.md has it."""
    if "kept" not in report:
        return []
    lines = [
        "| method | kept | of these conclude rightly, % | reason rightly, % | words |",
        "|---|---|---|---|---|",
    ]
    for name, row in report["kept"].items():
        shares = [
            f"{100 * each['value']:.1f} ({100 * each['low']:.1f} to {100 * each['high']:.1f})"
            for each in (row["conclusion_right"], row["reasoning_right"])
        ]
        lines.append(f"| `{name}` | {row['kept']:,} | {' | '.join(shares)} | {row['words']:.1f} |")
    return lines


def put_into(page: Path, report: Mapping[str, Any]) -> None:
    """Replace the tables of a page, which stand between the marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(f"{BEGIN}\n")
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no {BEGIN} ... {END}.")
    kept = markdown_kept(report)
    lines = "\n".join([*kept, *([""] if kept else []), *markdown(report)])
    page.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}", encoding="utf-8")


def by_seed(values: Sequence[Mapping[str, Any]]) -> str:
    """The mean of the seeds and each, in percent."""
    known = [100 * each["value"] for each in values]
    return f"{fmean(known):.1f} ({', '.join(f'{value:.1f}' for value in known)})"


def ends(against: Mapping[str, Any], measure: str) -> str:
    """The paired differences, with their intervals, in points."""
    parts = []
    for name, compared in against.items():
        low, value, high = (
            f"{100 * compared[measure][key]:+.1f}" for key in ("low", "difference", "high")
        )
        parts.append(f"`{name}` {value} ({low} to {high})")
    return "; ".join(parts)
