"""The terminal and notebooks show every metric by its description: title, unit, direction."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.api import Run
from harness.cli.printing import print_run
from harness.run.figure_text import by_topic
from harness.run.folder import RunFolder
from tests.test_export_metrics import ANSWERS, DISTANCE, EXACT, GRADED, METRICS, made


def test_a_run_is_printed_by_the_descriptions_of_its_metrics(capsys) -> None:
    """Percent where the unit says so, four digits elsewhere; which way is better; what each
    interval is of where it is no share."""
    record = made().record
    print_run(record, "folder")
    shown = " ".join(capsys.readouterr().out.split())
    graded, distance = record.metrics["agreement"], record.metrics["distance"]
    assert f"Agreement 30.00% {100 * graded.low:.1f} to {100 * graded.high:.1f} 4" in shown
    assert f"Distance, lower is better 1.0000 {distance.low:.4f} to {distance.high:.4f} 4" in shown
    assert "Wrong, lower is better 25.00%" in shown
    assert "Exact match 75.00%" in shown
    assert "Unparsed 25.00%" in shown
    assert "Agreement, Distance, Wrong, F1 of yes: 95% percentile bootstrap over groups" in shown


def test_the_metric_that_decides_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command
) -> None:
    """In the list of runs by its title and figure; a run without one has a dash."""
    for number, metrics in enumerate(([GRADED, EXACT], [DISTANCE, GRADED], [])):
        run = made(metrics)
        RunFolder(tmp_path / "runs" / "mine" / str(number) / "test").write_record(run.record)
    monkeypatch.chdir(tmp_path)  # a long path would break the lines of the table
    listed = command("list", "runs").stdout
    rows = [line.split() for line in listed.splitlines() if "/mine/" in line]
    assert [row[2:4] for row in rows[:1]] == [["Agreement", "30.00%"]]
    assert rows[1][2:7] == ["Distance,", "lower", "is", "better", "1.0000"]
    assert rows[2][2:4] == ["—", "—"]
    assert next(by_topic(made([DISTANCE, GRADED]).record)) == ("distance", "")


def test_a_run_shows_itself_by_titles_and_units(tmp_path: Path) -> None:
    """As text and as a table; predictions have their scores, in a data frame too."""
    data = made()
    folder = RunFolder(tmp_path / "test")
    folder.rewrite(data.predictions())
    folder.write_record(data.record)
    run = Run(folder.path, data.record)
    assert "Agreement 30.00%, Distance, lower is better 1.0000" in repr(run)
    assert "<th scope='row'>Distance, lower is better</th><td>1.0000</td>" in run._repr_html_()
    assert [p.scores["agreement"] for p in run.predictions] == [0.6, 0.3, 0.3, 0.0]
    assert list(run.to_pandas()["distance"]) == [0, 0, 1, 3]
    assert len(METRICS) > len(run.predictions[0].scores) == len(ANSWERS)
