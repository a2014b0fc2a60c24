"""The index of a group of runs: what the page has at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reports.inputs import runs, sanitize
from reports.inputs.material import Material, RunData
from reports.page.samples.groups import Group, GroupRun, Sample
from reports.page.samples.verdicts import ABSENT

MAX_QUESTION = 1_000
"""Characters of a question that are there at once, and can be searched."""


def index_of(
    material: Material,
    group: Group,
    *,
    ids: Sequence[str],
    shown: Sequence[str],
    images: Mapping[str, bytes],
) -> dict[str, Any]:
    """The index of a group. Lists are in the order of the questions."""
    samples = [group.samples[i] for i in ids]
    topics = {topic: n for n, topic in enumerate(sorted({s.topic for s in samples}))}
    numbers = {digest: n for n, digest in enumerate(images)}
    visible = set(shown)
    task = group.runs[0].record.task
    names = [
        sanitize.text(task.title or task.name, limit=80),
        sanitize.text(task.split, limit=60),
    ]
    keys = numbered(map(_run_key, group.runs))
    return {
        "title": ", ".join([names[0], f"{names[1]} split"]),
        "choice": any(sample.choices for sample in samples),
        "ids": [sanitize.text(i) for i in ids],
        # None: this question cannot be looked at.
        "questions": [
            sanitize.text(s.question, limit=MAX_QUESTION) if i in visible else None
            for i, s in zip(ids, samples, strict=True)
        ],
        "topics": [sanitize.text(topic, limit=60) or "no topic" for topic in topics],
        "topic": [topics[sample.topic] for sample in samples],
        "cluster": _clusters(samples),
        "picture": [numbers[s.pictures[0]] if s.pictures else -1 for s in samples],
        "sizes": [len(data) for data in images.values()],
        "runs": [
            {
                "key": key,
                "title": runs.title(run.record),
                "role": runs.role(run.record),
                "verdicts": {
                    name: "".join(found.get(i, ABSENT) for i in ids)
                    for name, found in run.verdicts.items()
                },
                "cut": sanitize.whole(run.record.counts.cut),
                "misled": [place for place, i in enumerate(ids) if i in run.misled],
            }
            for key, run in zip(keys, group.runs, strict=True)
        ],
        "pairs": _pairs(material, group),
    }


def group_key(group: Group) -> str:
    """What an address calls the questions: "scienceqa.test"."""
    _, task, _, split = runs.run_id(group.runs[0].record).split(":")
    return f"{task}.{split}"


def _run_key(run: GroupRun) -> str:
    """What an address calls a run: the model's name."""
    return runs.run_id(run.record).split(":")[2]


def numbered(names: Iterable[str]) -> Iterator[str]:
    """The names, from the second on with a number where several are equal."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name}~{seen[name]}"


def _clusters(samples: Sequence[Sample]) -> list[int] | None:
    """A number for each question, the same where they share their pictures; None where none do."""
    numbers: dict[object, int] = {}
    found = [
        numbers.setdefault(s.images[0] if s.images else place, len(numbers))
        for place, s in enumerate(samples)
    ]
    return found if 1 < len(numbers) < len(found) else None


def _pairs(material: Material, group: Group) -> list[list[int]]:
    """(before, after) of each distillation: by what it left on disk or, where nothing is left, the
    run of a distilled model and that of a student."""
    places = {runs.run_id(run.record): place for place, run in enumerate(group.runs)}

    def found(evidence: Iterable[RunData]) -> list[int]:
        return [places[name] for each in evidence if (name := runs.run_id(each.record)) in places]

    pairs = [
        [before, after]
        for each in material.distillations
        for before in found(each.base)
        for after in found(each.training.runs if each.training else ())
        if before != after
    ]
    roles = [runs.role(run.record) for run in group.runs]
    return pairs or [
        [before, after]
        for before, role in enumerate(roles)
        for after, other in enumerate(roles)
        if (role, other) == ("student", "distilled")
    ]
