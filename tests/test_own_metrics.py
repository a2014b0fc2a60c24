"""Metrics of a user's own: whatever they do, the error names the file and the line, and nothing that
was answered is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.core.errors import HarnessError
from harness.metrics.accuracy import ACCURACY
from harness.metrics.registry import metric
from harness.metrics.unparsed import UNPARSED
from harness.run.answers_file import score_file
from harness.run.folder import RunFolder
from harness.run.records import MetricInfo
from harness.run.scores import known_metric, scored_predictions
from reports.inputs.material import RunData
from reports.page.sections import sections
from tasks import load_task
from tests.test_leaderboard import choice_run, share

TASK = """
import fractions
import numpy as np
from harness import Metric, Task, extract_open, short_answer
from tasks.vqaonline import load


def mine(p):
    return {returned}


METRIC = Metric("mine", "Mine", mine{more})
TASK = Task(name="own", title="Own", load=load, prompt=short_answer, extract=extract_open,
            metrics=(METRIC,), answers="text", max_new_tokens=4)
"""
LINE = 8
"""Of the function; what it returns is on the next one."""

Score = Callable[..., dict[str, float]]


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Score:
    """Scores three answers by a metric; gives the figure, and the scores of the answers."""
    monkeypatch.chdir(tmp_path)
    rows = [{"id": i, "raw": "cat", "target": "cat", "group": f"{i // 2}"} for i in range(3)]
    file = Path("answers.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(returned: str, more: str = "") -> tuple[float | None, list[float | None]]:
        Path("mine.py").write_text(TASK.format(returned=returned, more=more))
        made = score_file(file, load_task("mine.py"), label="x", runs=Path("r"), fresh=True)
        predictions = RunFolder(made.folder).read_predictions()
        return made.record.metrics["mine"].value, [p.scores.get("mine") for p in predictions]

    return run


@pytest.mark.parametrize(
    ("returned", "score_of"),
    [
        ("True", 1),
        ("0", 0),
        ("np.float32(0.5)", 0.5),
        ("np.int64(1)", 1),
        ("np.bool_(True)", 1),
        ("np.array(0.25)", 0.25),
        ("[0.5]", 0.5),
    ],
)
def test_numbers_of_any_kind_are_scores(score: Score, returned: str, score_of: float) -> None:
    """A bool, a number of numpy, a list of one."""
    assert score(returned) == (score_of, [score_of] * 3)


def test_none_is_not_scored(score: Score) -> None:
    """It is in no mean, and is no 0; where nothing is scored there is no figure."""
    assert score("None if p.sample_id == '1' else 1") == (1.0, [1.0, None, 1.0])
    assert score("None") == (None, [None] * 3)


@pytest.mark.parametrize(
    "returned",
    [
        *("'0.5'", "'high'", "float('nan')", "float('inf')", "1j", "10**400", "{}", "()", "[[1]]"),
        *("(1, None)", "(1, 'a')", "(1,) * (1 + int(p.sample_id))", "fractions.Fraction(1, 2)"),
        *("1 if p.sample_id == '0' else 'no'", "(1, 2) if p.sample_id == '0' else 1"),
    ],
)
def test_what_is_no_number_is_refused(score: Score, returned: str) -> None:
    """In one sentence, with the file, the line, the metric, the answer and what it gave."""
    with pytest.raises(HarnessError) as error:
        score(returned)
    assert error.value.what.startswith(f"mine.py, line {LINE}: the metric mine gave ")
    assert error.value.what.endswith(
        "; it must give a finite number, or as many numbers as for every other answer."
    )
    assert " for the answer to " in error.value.what
    assert "What was answered is kept" in error.value.remedy


def test_an_error_inside_a_metric_names_its_line(score: Score) -> None:
    """As in the rest of a task file."""
    with pytest.raises(HarnessError, match=rf"^mine\.py, line {LINE + 1}: KeyError: 'unit'\."):
        score("p.metadata['unit']")


@pytest.mark.parametrize("made", ["'0.5'", "None", "(1, 2)", "{}"])
@pytest.mark.parametrize("part", ["aggregate", "per_group"])
def test_what_is_made_of_scores_is_a_number(score: Score, part: str, made: str) -> None:
    """An aggregate or a group's score that is none is refused by its place."""
    with pytest.raises(HarnessError, match=r"^mine\.py, line \d+: the metric mine made ") as error:
        score("1", f", {part}=lambda *given: {made}")
    assert "it must make a number" in error.value.what


def test_an_aggregate_that_divides_by_nothing_is_undefined(score: Score) -> None:
    """It has no figure, and the command goes on."""
    assert score("(0, 0)", ", aggregate=lambda a, b: a / b") == (None, [None] * 3)


def test_a_share_lies_between_0_and_1(score: Score) -> None:
    """Its interval would be nonsense of other numbers."""
    with pytest.raises(HarnessError, match=r"gave 5; interval='wilson' is for shares"):
        score("5", ", interval='wilson'")
    assert score("0.5", ", interval='wilson'")[0] == 0.5


@pytest.mark.parametrize("name", ["a/b", "a b", "", "a,b", "unparsed", "chance", "é"])
def test_a_metric_has_a_name_that_can_be_written(score: Score, name: str) -> None:
    """In records and exports, where / and , mean something; no two have the same."""
    Path("mine.py").write_text(TASK.format(returned=1, more="").replace('"mine"', repr(name)))
    with pytest.raises(HarnessError, match="a metric of TASK cannot be called"):
        load_task("mine.py")
    Path("mine.py").write_text(
        TASK.format(returned=1, more="").replace("(METRIC,)", "(METRIC, METRIC)")
    )
    with pytest.raises(HarnessError, match="cannot be called 'mine'"):
        load_task("mine.py")


def test_answers_outlive_a_metric_that_fails(
    tiny: Callable[..., Path], drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All questions are answered first; mended, the same call asks nothing and scores them."""
    monkeypatch.chdir(tmp_path)
    source = TASK.replace("tasks.vqaonline", "tasks.scienceqa").replace('"text"', '"choice"')
    source = source.replace("extract_open", "extract_choice")
    how = {"model": tiny("vilt"), "task": "mine.py", "data": drawn, "limit": 4, "runs": "runs"}
    Path("mine.py").write_text(source.format(returned="1 / 0", more=""))
    with pytest.raises(HarnessError, match=rf"mine\.py, line {LINE + 1}: ZeroDivisionError"):
        harness.evaluate(**how, device="cpu")
    (folder,) = Path("runs/own").glob("*/test")
    before = [p.raw for p in RunFolder(folder).read_predictions()]
    assert len(before) == 4
    times = [p.seconds for p in RunFolder(folder).read_predictions()]
    Path("mine.py").write_text(source.format(returned="1 / 2", more=""))
    run = harness.evaluate(**how, device="cpu")
    assert run.metrics["mine"].value == 0.5
    assert [p.raw for p in run.predictions] == before
    assert [p.seconds for p in run.predictions] == times
    assert all(p.scores["mine"] == 0.5 for p in run.predictions)


def test_a_metric_that_is_gone_leaves_nothing(command, score: Score) -> None:
    """Scored again, the run has the metrics of its task, and each answer their scores."""
    score("1")
    Path("mine.py").write_text(
        TASK.format(returned="2", more=", unit=''").replace('"mine", "Mine"', '"ours", "Ours"')
    )
    (folder,) = Path("r/own").glob("*/test")
    made = command("rescore", folder, "--task", "mine.py", "--json").json
    assert list(made["metrics"]) == list(made["metric_info"]) == ["ours", "unparsed"]
    assert made["metrics"]["ours"]["value"] == 2
    assert [p.scores for p in RunFolder(folder).read_predictions()] == [{"ours": 2.0}] * 3


@pytest.mark.parametrize("scope", ["sample", "corpus"])
def test_a_metric_with_name_and_title_of_ours_is_not_ours(score: Score, scope: str) -> None:
    """Our code computes nothing for it, whether each answer has a score or all have one."""
    names = {"sample": ("contains", "Contains"), "corpus": ("yes_f1", "F1 of yes")}
    name, title = names[scope]
    aggregate = ", aggregate=lambda share: share" if scope == "corpus" else ""
    source = TASK.replace('"mine", "Mine"', f'"{name}", "{title}"')
    Path("mine.py").write_text(
        source.format(returned="0.25", more=f", unit='', higher_is_better=False{aggregate}")
    )
    made = score_file(Path("answers.jsonl"), load_task("mine.py"), label="x", runs=Path("r"))
    record, predictions = made.record, RunFolder(made.folder).read_predictions()
    assert known_metric(record, name) is None
    bare = [replace(p, scores={}) for p in predictions]
    assert scored_predictions(record, bare) == bare
    found = RunData(record, lambda: bare)
    assert found.code(name) is None
    ours = metric(name)
    assert ours is not None
    own = {name: MetricInfo.of(ours)}
    assert known_metric(replace(record, metric_info=own), name) == ours


def test_runs_by_another_metric_of_the_same_name_are_not_compared() -> None:
    """A column has the unit and the direction of one; the figure of the other is not in it."""
    first, second, third = (
        choice_run(
            name=name,
            title=name,
            metrics={"accuracy": share(n, 10), "unparsed": share(1, 10)},
            metric_info={each.name: MetricInfo.of(each) for each in (ACCURACY, UNPARSED)},
        )
        for name, n in (("a", 5), ("b", 7), ("c", 6))
    )
    other = MetricInfo(title="Accuracy", unit="", higher_is_better=False, scope="sample")
    third = replace(third, metric_info={**third.metric_info, "accuracy": other})
    (found,) = [each for each in sections([first, second, third]) if each.runs]
    assert found.scores is not None
    place = [heading.key for heading in found.scores.headings].index("accuracy")
    cells = {row.title: row.cells[place] for group in found.scores.groups for row in group.rows}
    assert [cells[name].text for name in "ab"] == ["50.00", "70.00"]
    assert cells["c"].value is None
    reasons = " ".join(finding.reason for finding in cells["c"].findings)
    assert "another one: accuracy, less is better" in reasons
    place = [heading.key for heading in found.scores.headings].index("unparsed")
    for group in found.scores.groups:
        assert [row.cells[place].text for row in group.rows] == ["10.00"] * len(group.rows)
