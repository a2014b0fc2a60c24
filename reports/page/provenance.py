"""The provenance of a measured row: everything that its run recorded."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.core.json_values import finite
from harness.run.records import RunRecord
from reports.inputs import runs, sanitize
from reports.numbers import counted


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a provenance: a name, what it is, and where to look it up."""

    name: str
    text: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Lines that belong together."""

    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a run was made, as recorded."""

    id: str
    title: str
    about: str
    """The task and the split, in words."""
    origin: str
    entries: tuple[Entry, ...]
    sections: tuple[Section, ...]
    """The record's own entries, as they stand in it."""
    record: str
    """The record as JSON; what is longer than any real one is cut, and says so."""


def provenance(run: RunRecord, *, dataset: str | None) -> Provenance:
    """The provenance of `run`. `dataset` is the hub repository that its task is published in:
    a source of another name may as well be a folder, and is not linked."""
    sessions = {str(k): v for k, v in enumerate(sanitize.sequence(run.sessions), start=1)}
    parts: dict[str, object] = {
        "Fingerprint: what must match to resume the run": run.fingerprint,
        "Settings": run.settings,
        "Timing": run.timing,
        "Environment": run.environment,
        "Processes of the run": sessions,
    }
    sections = [
        Section(
            title=title,
            entries=tuple(Entry(*pair) for pair in sanitize.flat(sanitize.mapping(part))),
        )
        for title, part in parts.items()
    ]
    sections.insert(0, Section(title="Figures", entries=tuple(_figures(run))))
    return Provenance(
        id=runs.run_id(run),
        title=runs.title(run),
        about=f"{sanitize.text(run.task.words or run.task.name, limit=80)}, "
        f"{sanitize.text(run.task.split, limit=60)} split",
        origin=runs.origin(run),
        entries=tuple(entry for entry in _entries(run, dataset) if entry.text),
        sections=tuple(section for section in sections if section.entries),
        record=json.dumps(_cut(finite(run.to_json())), indent=1, sort_keys=True),
    )


def _entries(run: RunRecord, dataset: str | None) -> Iterator[Entry]:
    task, model, environment = run.task, run.model, sanitize.mapping(run.environment)
    source = sanitize.text(task.source)
    known = source == dataset
    yield Entry(
        "Data",
        _joined(source, _revision(task.revision), f"{sanitize.text(task.split)} split"),
        sanitize.hub_url(source, task.revision, kind="datasets/") if known else None,
    )
    yield Entry("Questions", _joined(runs.questions(run), runs.left_out(run)))
    yield Entry("Data licence", sanitize.text(task.licence))
    yield Entry(
        "Model",
        _joined(
            sanitize.text(model.name),
            sanitize.text(model.size),
            f"{count:,} parameters" if (count := sanitize.whole(model.parameters)) else "",
            f"family {family}" if (family := sanitize.text(model.family)) else "",
        ),
    )
    yield Entry(
        "Repository",
        _joined(sanitize.text(model.repo), _revision(model.revision)),
        sanitize.hub_url(model.repo, model.revision),
    )
    yield Entry("Weights", sanitize.text(model.weights, limit=400))
    yield Entry("Model licence", sanitize.text(model.licence, limit=400))
    yield Entry("Prompt", _prompt(sanitize.mapping(run.settings)))
    described = sanitize.mapping(sanitize.mapping(run.settings).get("model"))
    yield Entry("Software", _software({**environment, "vllm": described.get("vllm")}))
    yield Entry(
        "Hardware",
        _joined(*(sanitize.text(environment.get(key)) for key in ("device", "cpu", "platform"))),
    )
    command = shlex.join(map(str, sanitize.sequence(run.command)))
    yield Entry("Command", sanitize.text(command, limit=2000))


def _prompt(settings: Mapping[str, object]) -> str:
    style, shots = sanitize.text(settings.get("style")), sanitize.whole(settings.get("shots"))
    if not style:
        return ""
    instruction = sanitize.text(settings.get("instruction"), limit=400)
    return _joined(
        f"style {style}",
        counted(shots, "few-shot example") if shots else "zero-shot",
        f"instruction: {instruction}" if instruction else "no instruction",
        _shuffled(settings),
        _transparent(settings),
        f"wording: {wording}" if (wording := sanitize.text(settings.get("wording"))) else "",
    )


def _shuffled(settings: Mapping[str, object]) -> str:
    seed, stay = sanitize.whole(settings.get("shuffle")), sanitize.whole(settings.get("in_place"))
    if seed is None:
        return ""
    kept = (
        f"; options that refer to others stay in place in {counted(stay, 'question')}"
        if stay
        else ""
    )
    return f"options shuffled, seed {seed}{kept}"


def _transparent(settings: Mapping[str, object]) -> str:
    counts = sanitize.mapping(settings.get("transparency"))
    words = {
        "blended": "with transparent parts, blended on white",
        "dropped": "with transparent parts, dropped as in the paper's code",
        "flat": "of one flat colour because of it",
    }
    found = [(sanitize.whole(counts.get(key)), text) for key, text in words.items()]
    return ", ".join(f"{counted(count, 'image')} {text}" for count, text in found if count)


def _figures(run: RunRecord) -> Iterator[Entry]:
    """The record's figures with more digits, n, interval and signature; those by topic last."""
    for number, metric in enumerate(sorted(run.metrics, key=lambda metric: "/" in metric)):
        if number == 200:
            yield Entry("…", f"[cut after {number:,} entries]")
            return
        found = runs.figure(run, metric)
        ends = (found.low, found.high)
        yield Entry(
            sanitize.text(metric, limit=120),
            _joined(
                "not computed" if found.value is None else f"{found.value:.6g}",
                f"n {found.n:,}" if found.n else "",
                f"95% interval {ends[0]:.6g} to {ends[1]:.6g}"
                if ends[0] is not None and ends[1] is not None
                else "",
                found.note,
            ),
        )


def _software(environment: Mapping[str, object]) -> str:
    commit = sanitize.text(environment.get("commit"), limit=60)
    if commit and environment.get("dirty"):
        commit += " with uncommitted changes"
    versions = (
        f"{name} {version}"
        for name in ("harness", "python", "torch", "transformers", "vllm")
        if (version := sanitize.text(environment.get(name), limit=60))
    )
    return _joined(*versions, f"commit {commit}" if commit else "")


def _revision(revision: object) -> str:
    found = sanitize.text(revision, limit=80)
    return f"revision {found}" if found else ""


def _cut(value: object, depth: int = 0) -> object:
    """JSON values with long texts and long lists cut, as a page can hold them."""
    if isinstance(value, Mapping) and depth < 6:
        items = list(value.items())[:400]
        return {sanitize.text(key, limit=200): _cut(item, depth + 1) for key, item in items}
    if isinstance(value, list | tuple) and depth < 6:
        return [_cut(item, depth + 1) for item in value[:400]]
    if value is None or isinstance(value, bool | int | float):
        return value
    return sanitize.text(value, limit=1000)


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)
