"""Runs that were stored before records described their metrics, in format 1: read, shown, compared,
resumed, scored again and exported as they were then.

tests/data/format-1 holds them as the last version of that format wrote them: two of multiple choice,
one whose options were scored by likelihood, one of written answers, and one that was killed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.run.compare import compare, words
from harness.run.folder import RunFolder
from harness.run.records import FORMAT
from harness.run.scores import scored_predictions
from reports.export.formats import FOLDER_FORMATS
from reports.inputs.material import RunData

STORED = Path(__file__).parent / "data" / "format-1"
CHOICE = "scienceqa-mini/moondream-mini/test"
OTHER = "scienceqa-mini/phi-3.5-mini/test"
LIKELIHOOD = "scienceqa-mini/loglikelihood/test"
TEXT = "vqaonline-mini/moondream-mini/test"
KILLED = "scienceqa-mini/killed/test"
FINISHED = (CHOICE, OTHER, LIKELIHOOD, TEXT)
ROUGE = ["rougeL", "rouge1", "rouge2", "rougeLsum"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy of the stored runs."""
    return shutil.copytree(STORED, tmp_path / "runs")


def stored(run: str) -> dict[str, Any]:
    return json.loads((STORED / run / "run.json").read_text())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def forget_weights(folder: Path) -> None:
    """Take the mini's hash from a record: the mini that comes with the package is another today,
    and a record without it is resumed."""
    path = folder / "run.json"
    record = json.loads(path.read_text())
    del record["fingerprint"]["weights"]
    path.write_text(json.dumps(record))


def test_they_are_of_format_1() -> None:
    """With the former fields: whether an option was right, and its log-likelihoods as scores."""
    for run in (*FINISHED, KILLED):
        record = stored(run)
        assert record["format"] == 1
        assert "metric_info" not in record
        assert all("correct" in line for line in lines(STORED / run))
    assert all(isinstance(line["scores"], list) for line in lines(STORED / LIKELIHOOD))
    assert stored(KILLED)["status"] == "running"


@pytest.mark.parametrize("run", FINISHED)
def test_each_figure_is_read_and_shown(command, runs: Path, run: str) -> None:
    """With the values that it had, and a description of each metric."""
    record = RunFolder(runs / run).existing_record()
    then = stored(run)["metrics"]
    assert {name: value.value for name, value in record.metrics.items()} == {
        name: value["value"] for name, value in then.items()
    }
    assert record.decisive == ("rougeL" if run == TEXT else "accuracy")
    shown = command("show", runs / run)
    assert shown.code == 0
    assert ("ROUGE-L " if run == TEXT else "Accuracy ") in shown.stdout


def test_answers_have_their_scores() -> None:
    """Right or wrong as it was then; ROUGE, which was not kept, is computed: its mean is the
    figure of the record."""
    for run in FINISHED:
        folder = RunFolder(STORED / run)
        record, predictions = folder.existing_record(), folder.existing_predictions()
        for name in ROUGE if run == TEXT else ["accuracy"]:
            scores = [p.scores[name] for p in scored_predictions(record, predictions)]
            assert sum(scores) / len(scores) == pytest.approx(record.metrics[name].value)
    likelihoods = RunFolder(STORED / LIKELIHOOD).existing_predictions()
    assert [list(p.log_likelihoods) for p in likelihoods] == [
        line["scores"] for line in lines(STORED / LIKELIHOOD)
    ]


def test_all_are_listed(command, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The killed one too, without a figure."""
    monkeypatch.chdir(runs.parent)
    listed = command("list", "runs", "--runs", "runs")
    assert listed.code == 0
    rows = [line.split() for line in listed.stdout.splitlines() if "/test" in line]
    assert [row[2:4] for row in rows] == [
        ["—", "—"],
        ["Accuracy", "25.00%"],
        ["Accuracy", "50.00%"],
        ["Accuracy", "33.33%"],
        ["ROUGE-L", "0.5027"],
    ]


@pytest.mark.parametrize(
    ("first", "second", "ends", "only"),
    [
        (CHOICE, OTHER, (-0.6659354130647763, 0.4159354130647763), (2, 1)),
        (CHOICE, LIKELIHOOD, (-0.4619679414498925, 0.4619679414498925), (0, 0)),
        (KILLED, OTHER, (-0.6533213281800179, 0.6533213281800179), (1, 1)),
    ],
)
def test_they_are_compared_as_they_were(
    first: str, second: str, ends: tuple[float, float], only: tuple[int, int]
) -> None:
    """The same intervals and counts as the version that wrote them gave; the killed one by the
    answers that it has."""
    found = compare(RunFolder(STORED / first), RunFolder(STORED / second))
    difference = found.differences["accuracy"]
    assert (difference.low, difference.high) == pytest.approx(ends)
    assert (found.only_first, found.only_second) == only


def test_one_question_is_singular() -> None:
    """In the sentence about two runs."""
    found = compare(RunFolder(STORED / CHOICE), RunFolder(STORED / OTHER))
    assert ". 1 question only Phi-3.5-vision-instruct-mini got right, 2 only " in words(found)
    assert ": 6 questions that both answered." in words(found)


def test_written_answers_are_compared(command, runs: Path) -> None:
    """By every score that both have, computed from the texts."""
    found = command("compare", runs / TEXT, runs / TEXT, "--json").json
    assert next(iter(found["differences"])) == "rougeL"
    assert set(found["differences"]) == {*ROUGE, "bleu"}
    assert all(each["difference"] == 0 for each in found["differences"].values())


@pytest.mark.parametrize("run", FINISHED)
def test_scoring_again_brings_a_run_up_to_date(command, runs: Path, run: str) -> None:
    """The same figures, now with descriptions and the scores of each answer on disk."""
    again = command("rescore", runs / run, "--json")
    assert again.code == 0, again.stderr
    made = json.loads((runs / run / "run.json").read_text())
    assert made["format"] == FORMAT
    assert {name: value["value"] for name, value in made["metrics"].items()} == {
        name: value["value"] for name, value in stored(run)["metrics"].items()
    }
    names = ROUGE if run == TEXT else ["accuracy"]
    assert next(iter(made["metric_info"])) == names[0]
    for before, line in zip(lines(STORED / run), lines(runs / run), strict=True):
        assert list(line["scores"]) == names
        assert (line["raw"], line["answer"]) == (before["raw"], before["answer"])
        assert "correct" not in line
        if run == LIKELIHOOD:
            assert line["log_likelihoods"] == before["scores"]


def test_a_killed_run_is_resumed(command, runs: Path) -> None:
    """The answers that it has are kept, only the rest is asked, and all are scored."""
    before = lines(runs / KILLED)
    forget_weights(runs / KILLED)
    arguments = stored(KILLED)["command"][1:]
    made = command(*arguments, "--limit", 6, "--runs", runs)
    assert made.code == 0, made.stderr
    after = lines(runs / KILLED)
    assert len(before) == 4
    assert len(after) == 6
    assert [line["raw"] for line in after[:4]] == [line["raw"] for line in before]
    assert [line["seconds"] for line in after[:4]] == [line["seconds"] for line in before]
    assert len({tuple(line) for line in after}) == 1
    kept = RunFolder(runs / KILLED).read_predictions()
    assert all(list(prediction.scores) == ["accuracy"] for prediction in kept)
    right = sum(prediction.scores["accuracy"] for prediction in kept)
    assert RunFolder(runs / KILLED).existing_record().metrics["accuracy"].value == right / 6


def test_a_file_has_lines_of_one_format(command, runs: Path) -> None:
    """Where nothing is left to ask, too; before the first answer that follows old ones."""
    folder = RunFolder(runs / KILLED)
    assert folder.has_former_lines
    forget_weights(folder.path)
    arguments = stored(KILLED)["command"][1:]
    made = command(*arguments, "--limit", 4, "--runs", runs)
    assert made.code == 0, made.stderr
    assert not folder.has_former_lines
    assert not any("correct" in line for line in lines(runs / KILLED))


def test_they_are_exported() -> None:
    """Each answer with its score in lm-eval's layout; a verdict in Every Eval Ever where answers
    are right or wrong."""
    for run in (*FINISHED, KILLED):
        folder = RunFolder(STORED / run)
        data = RunData(folder.existing_record(), folder.existing_predictions)
        found = {
            form: {
                file.path: b"".join(file.pieces()).decode()
                for file in FOLDER_FORMATS[form].write([data], "a/b")
            }
            for form in ("lm-eval", "every-eval-ever")
        }
        rows = [
            json.loads(line)
            for name, text in found["lm-eval"].items()
            if "/samples_" in name
            for line in text.splitlines()
        ]
        then = lines(STORED / run)
        assert len(rows) == len(then)
        assert all(row["metrics"] == (ROUGE if run == TEXT else ["acc"]) for row in rows)
        right = {line["sample_id"]: line["correct"] for line in then}
        if run != TEXT:
            assert {row["doc"]["id"]: bool(row["acc"]) for row in rows} == right
        has_verdicts = any(name.endswith(".jsonl") for name in found["every-eval-ever"])
        assert has_verdicts == (run not in (TEXT, KILLED))
