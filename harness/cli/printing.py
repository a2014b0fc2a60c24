"""Results for people: runs, checks, explanations and benchmarks as tables on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.core.terminal import MISSING, console, harmless, percent, print_json, say, table
from harness.metrics.registry import CONTEXT
from harness.run.figure_text import by_topic, figure, interval, title
from harness.run.records import RunRecord

if TYPE_CHECKING:
    from harness.extract.explain import Explanation
    from harness.run.scoring import Run


def scope(record: RunRecord, *, with_failed: bool = True) -> str:
    """What n is a count of, and whether they are real: "20 of 2,017 image questions, of 4,241 in
    all"."""
    counts = record.counts
    answered = counts.done - counts.failed
    words = f"{counts.available:,} {record.task.unit}"
    if answered < counts.available:
        words = f"{answered:,} of {words}"
    if counts.available < counts.total:
        words += f", of {counts.total:,} in all"
    if counts.failed and with_failed:
        words += f"; {counts.failed:,} failed"
    if record.is_silent:
        words += "; every answer is empty"
    return f"{words}; {record.label}" if record.label else words


def run_json(run: Run) -> dict[str, Any]:
    """A run as plain JSON values: its folder and its record."""
    return {"folder": str(run.folder), **run.record.to_json()}


def print_result(run: Run, *, as_json: bool) -> None:
    """A run as the result of a command."""
    if as_json:
        print_json(run_json(run))
    else:
        print_run(run.record, str(run.folder))


def print_run(record: RunRecord, folder: str) -> None:
    """A run's metrics, topic by topic, and how long it took."""
    heading = (
        f"{record.model.title} ({record.model.weights}) on {record.task.words} "
        f"{record.task.split}, {record.status}; n: {scope(record)}"
    )
    rows = []
    notes: dict[str, list[str]] = {}
    for name, topic in by_topic(record):
        about, value = record.about(name), record.metrics[name]
        words = f"  {topic}" if topic else title(record, name)
        rows.append((words, figure(record, name), interval(record, name), f"{value.n:,}"))
        is_told = value.value is None or about.interval != "wilson" or value.caveat
        if value.note and not topic and is_told and name not in CONTEXT:
            notes.setdefault(value.note, []).append(about.title)
    table(heading, ("metric", "value", "95% interval", "n"), rows)
    out = console()
    minutes = record.timing.get("inference_minutes")
    mean = (record.timing.get("seconds_per_sample") or {}).get("mean")
    if minutes is not None and mean is not None:
        speed = record.timing.get("tokens_per_second")
        out.print(
            f"Inference {minutes:.2f} min{_whose_minutes(record.timing)}, "
            f"{mean:.3f} s per question{'' if speed is None else f', {speed:.0f} tokens/s'}.",
            markup=False,
        )
    out.print(_outcomes(record), markup=False, soft_wrap=True)
    for note, names in notes.items():
        out.print(harmless(f"{', '.join(names)}: {note}"), markup=False, soft_wrap=True)
    out.print(harmless(f"Run: {folder}"), markup=False, soft_wrap=True)


def print_runs(runs: Sequence[tuple[str, RunRecord]]) -> None:
    """A row for each run, with its folder: the score that decides, what is no answer, and n."""
    rows: list[list[str]] = []
    for folder, record in runs:
        name = record.decisive
        known = name is not None and name in record.metrics
        score = (title(record, name), figure(record, name)) if name and known else (MISSING,) * 2
        n = scope(record, with_failed=False)
        rows.append([folder, record.status, *score, not_answered(record), n])
    headings = ["folder", "status", "metric", "score", "not answered", "n"]
    if not any(row[4] for row in rows):
        for row in (headings, *rows):
            del row[4]
    table("Runs", headings, rows)


def not_answered(record: RunRecord) -> str:
    """How many questions have no answer, by why; empty where all have one: "3 failed, 2 cut"."""
    counts = record.counts
    found = (
        (counts.failed, "failed"),
        (counts.cut or 0, "cut"),
        (counts.unparsed, "unparsed"),
        (counts.available - counts.done, "missing"),
        (len(record.settings.get("skipped") or ()), "skipped"),
    )
    return ", ".join(f"{number:,} {what}" for number, what in found if number > 0)


def _outcomes(record: RunRecord) -> str:
    """How many questions and answers are no good as they are, and why."""
    counts, limit = record.counts, (record.settings.get("decoding") or {}).get("max_new_tokens")
    said = [f"{count(counts.unparsed, 'unparsed answer')}"]
    if counts.failed:
        said.append(f"{count(counts.failed, 'question')} failed, in no score")
    if (missing := counts.available - counts.done) > 0:
        said.append(f"{count(missing, 'question')} not asked, in no score")
    if counts.cut is not None:
        at = f" of {limit} new tokens" if limit else ""
        said.append(f"{count(counts.cut, 'answer')} cut at the token limit{at}")
    if counts.beyond_context:
        beyond = count(counts.beyond_context, "prompt")
        said.append(f"{beyond} beyond the model's context, not asked (see --truncate)")
    if counts.truncated:
        said.append(f"{count(counts.truncated, 'prompt')} shortened to the model's context")
    return f"{'; '.join(said)}."


def count(number: int, what: str) -> str:
    """A number with its noun: "1 run", "2,000 runs"."""
    return f"{number:,} {what}{'s' * (number != 1)}"


SURROUNDINGS = 600
"""Characters of a text that are shown on either side of the words that are marked."""


def print_explanation(found: Explanation) -> None:
    """What `harness explain` found: the answer, the text with its words marked, and the steps."""
    if isinstance(found.answer, int):
        say(f"Answer: {ascii_uppercase[found.answer]}, {found.choices[found.answer]}")
    else:
        say("Answer: the text itself" if found.answer is not None else "Answer: none")
    say(f"Rule: {found.rule}. {found.meaning}")
    say(f"Finished: {_ENDED[found.finished]}")
    left = len(found.raw) - sum(end - start for start, end in found.kept)
    say(f"Searched: {len(found.raw) - left:,} of {len(found.raw):,} characters")
    for number, one in enumerate(found.statements, start=1):
        words = " ".join(one.words.split())
        say(f"Statement {number}: {one.kind}, {one.weight}, says {one.says}: {words[:200]}")
    say()
    say(_marked(found.raw, found.span))


_ENDED = {True: "yes, by the model", False: "no, by the token limit", None: "unknown"}


def _marked(raw: str, span: tuple[int, int] | None) -> str:
    """A text with these characters in brackets; a long one around them."""
    start, end = span or (0, 0)
    first, last = max(0, start - SURROUNDINGS), min(len(raw), end + SURROUNDINGS)
    before = f"{'… ' * (first > 0)}{raw[first:start]}"
    after = f"{raw[end:last]}{' …' * (last < len(raw))}"
    return f"{before}⟦{raw[start:end]}⟧{after}" if span else f"{before}{after}"


def _whose_minutes(timing: Mapping[str, Any]) -> str:
    """What sort of minutes they are, where they are not those of one device here."""
    if timing.get("remote"):
        return " (wall clock of a remote engine)"
    devices, wall = timing.get("devices"), timing.get("wall_minutes")
    if devices is None or devices < 2 or wall is None:
        return ""
    return f" (sum over up to {devices} devices at once; {wall:.2f} min passed)"


def print_check(report: Mapping[str, Any]) -> None:
    """What `harness check` found."""
    memory = report["peak_memory_bytes"]
    rows = [
        ("weights", report["weights"]),
        ("class", report["class"]),
        ("parameters", MISSING if report["parameters"] is None else f"{report['parameters']:,}"),
        ("device, dtype", f"{report['device']}, {report['dtype'] or 'as served'}"),
        ("attention", str(report.get("attention") or "as served")),
        *([("context", f"{report['context']:,} tokens")] if report.get("context") else []),
        *_abilities(report),
        *(
            (name.replace("_", " "), report[name])
            for name in ("vision_features", "template_rule")
            if report.get(name)
        ),
        *(
            [("loading", f"{report['load_seconds']:.1f} s")]
            if report["load_seconds"] is not None
            else []
        ),
        *(
            (f"{k}", MISSING if v is None else f"{v:.0f} tokens/s")
            for k, v in report["tokens_per_second"].items()
        ),
        *(
            (f"peak memory, {kind}", f"{held / 2**30:.1f} GiB")
            for kind, held in (memory or {}).items()
            if held
        ),
        (
            "same answers in a batch",
            "yes" if report["same_answers_in_a_batch"] else "no: rounding decides some",
        ),
        *(("answer", answer[:120] or "(empty)") for answer in report["answers"]),
    ]
    table(f"{report['model']} works", ("", ""), rows)


_ENGINES: Mapping[str, str] = MappingProxyType(
    {
        "harness": "the decoding engine",
        "transformers": "transformers' generate",
        "vllm": "vLLM",
        "own": "its own forward pass",
    }
)


def _abilities(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What runs a model, and what it can do."""
    tokens = report["picture_tokens"]
    keys = ", and keys of cross-attention" if report["cross_attention"] else ""
    untested = [("tests", f"none has a model of the type {report['model_type']}")]
    return [
        *(untested if report["tested"] is False else []),
        ("engine", _ENGINES.get(report["engine"], report["engine"])),
        ("batches", report["batches"]),
        (
            "log-likelihoods",
            "yes" if report["log_likelihoods"] else f"no: {report['no_log_likelihoods'][:120]}",
        ),
        ("template", report["template"]),
        ("picture of 1024x768", MISSING if tokens is None else count(tokens, "token") + keys),
    ]


def print_ceilings(report: Mapping[str, Any]) -> None:
    """What each device can do in each type."""
    for ceiling in report["ceilings"]:
        table(
            f"What {ceiling['device']} reaches in {ceiling['dtype']}",
            ["matrix product, GFLOP/s", "copy, GB/s"],
            [[_digits(ceiling["flops"] / 1e9), _digits(ceiling["bytes_per_second"] / 1e9)]],
        )


def print_bench(report: Mapping[str, Any]) -> None:
    """The tables of `harness bench`: what was measured, then what is projected from it."""
    print_ceilings(report)
    table(
        "Measured",
        [
            *("model", "batch", "prompt", "new", "samples/s", "tokens/s", "first token, s"),
            *("% of FLOP/s", "% of copy", "memory, GB"),
        ],
        [_bench_row(figures) for figures in report["figures"]],
    )
    for figures in report["figures"]:
        if figures["error"]:
            console().print(harmless(f"{figures['model']}: {figures['error']}"), soft_wrap=True)
    if report["projected"]:
        _print_projection(report)
    console().print(harmless(report["projection"]), soft_wrap=True)


def _print_projection(report: Mapping[str, Any]) -> None:
    parameters = {
        name: f"{description['parameters'] / 1e6:.1f}M"
        for name, description in report["models"].items()
    }
    table(
        "Minutes for the paper's tables, projected",
        ["table", "model", "measured with", "questions", "answer tokens", "the paper's", "here"],
        [
            [
                str(row["table"]),
                row["title"],
                parameters.get(row["model"], MISSING),
                str(row["questions"]),
                str(row["answer_tokens"]),
                f"{row['paper_minutes']:.0f}",
                _digits(row["projected_minutes"]),
            ]
            for row in report["projected"]
        ],
    )


def _bench_row(figures: Mapping[str, Any]) -> list[str]:
    memory = figures["peak_memory_bytes"]
    return [
        figures["model"],
        str(figures["batch"]),
        _digits(figures["prompt_tokens"]),
        str(figures["new_tokens"]),
        _digits(figures["samples_per_second"]),
        _digits(figures["tokens_per_second"]),
        _digits(figures["first_token_seconds"]),
        percent(figures["read_flops_share"]),
        percent(figures["step_bandwidth_share"]),
        MISSING if memory is None else f"{memory / 1e9:.1f}",
    ]


def _digits(value: float | None) -> str:
    """Three digits that mean something."""
    return MISSING if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"
