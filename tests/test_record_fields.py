"""Whatever stands in run.json: it is refused with the field's name, or nothing falls over it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli.printing import print_run
from harness.core import terminal, timing
from harness.core.errors import DataError
from harness.run.folder import RunFolder
from harness.run.scoring import scored, tokenize_of

EXAMPLE = Path(__file__).parents[1] / "docs" / "example" / "runs"
RECORDS = [
    EXAMPLE / "scienceqa-mini" / "llava-cot-mini" / "test" / "run.json",
    EXAMPLE / "vqaonline-mini" / "moondream-mini" / "test" / "run.json",
]
NESTED: Any = []
for _ in range(300):
    NESTED = [NESTED]
VALUES = [None, True, "x", "", -1, 1.5, 10**400, [], ["x"], {}, {"mean": "x"}, NESTED]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of a document, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(document)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return made


def use(folder: RunFolder) -> None:
    """What commands do with a record that they could read."""
    record = folder.existing_record()
    print_run(record, "folder")
    terminal.print_json(record.to_json())
    timing.settled(record.sessions, answered=3, until=1.0)
    tokenize_of(record)
    scored(record, [], [])


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.parts[-4])
def test_no_value_of_any_field_is_a_traceback(tmp_path: Path, capsys, path: Path) -> None:
    """Each field in turn holds some of the values that it was not made for."""
    document = json.loads(path.read_text())
    document["metrics"] = dict(list(document["metrics"].items())[:1])
    folder = RunFolder(tmp_path)
    refused = 0
    for number, place in enumerate(places(document)):
        for value in (VALUES * 2)[number % len(VALUES) :][:2]:
            folder.record_path.write_text(json.dumps(changed(document, place, value)))
            try:
                use(folder)
            except DataError as error:
                refused += 1
                assert "is not a run record: " in error.what or place == ("format",)  # noqa: PT017  # it may also be read
            capsys.readouterr()
    assert refused > 50


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("sessions", 0, "answered_from"), "x", "field 'sessions.answered_from' cannot be 'x'"),
        (("sessions", 0, "devices"), [1], "field 'sessions.devices' cannot be [1]"),
        (("sessions", 0, "samples"), 2.5, "field 'sessions.samples' cannot be 2.5"),
        (
            ("sessions", 0, "peak_memory_bytes", "process"),
            "much",
            "field 'sessions.peak_memory_bytes.process' cannot be 'much'",
        ),
        (("timing", "seconds_per_sample", "p50"), {}, "'timing.seconds_per_sample.p50'"),
        (("timing", "inference_minutes"), 10**400, "'timing.inference_minutes' cannot be 1000"),
        (("settings", "decoding"), "greedy", "field 'settings.decoding' cannot be 'greedy'"),
        (("fingerprint", "extractor"), 3, "field 'fingerprint.extractor' cannot be 3"),
        (("environment", "dirty"), "no", "field 'environment.dirty' cannot be 'no'"),
        (("counts", "filtered", "no image"), "x", "field 'filtered' cannot be"),
        (("model", "parameters"), True, "field 'parameters' cannot be True"),
        (("settings", "model", "more"), NESTED, "nested more than"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, place: tuple[Any, ...], value: Any, words: str
) -> None:
    """The field, what stands in it, and what to do."""
    document = json.loads(RECORDS[0].read_text())
    folder = RunFolder(tmp_path)
    folder.record_path.write_text(json.dumps(changed(document, place, value)))
    with pytest.raises(DataError) as caught:
        folder.read_record()
    assert words in caught.value.what
    assert "--fresh" in caught.value.remedy


def test_fields_of_other_versions_are_kept(tmp_path: Path) -> None:
    """What this version does not know may hold anything."""
    document = json.loads(RECORDS[0].read_text())
    document["timing"]["of another version"] = {"x": [1, "y"]}
    document["sessions"][0]["note"] = ["z"]
    folder = RunFolder(tmp_path)
    folder.record_path.write_text(json.dumps(document))
    assert folder.existing_record().timing["of another version"] == {"x": [1, "y"]}
