"""docs/tasks.md has a row for each task that is true."""

from __future__ import annotations

from pathlib import Path

from harness.core.types import Metric
from tasks import TASKS, load_task
from tests.test_published_tasks import PUBLISHED

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tasks.md"


def rows() -> dict[str, list[str]]:
    lines = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {cell[0].strip("`"): cell[1:] for cell in cells}


def test_every_task_has_its_split_metrics_and_licence() -> None:
    """As the task itself has them."""
    tasks = [load_task(name) for name in TASKS]
    expected = {
        task.name: [
            task.split,
            ", ".join(metric.title for metric in task.metrics if isinstance(metric, Metric)),
            task.licence or "not stated",
        ]
        for task in tasks
        if not task.synthetic
    }
    assert {name: row[:3] for name, row in rows().items()} == expected


def test_figures_that_are_called_reproduced_are_tested() -> None:
    """Each one that the page names stands among the published scores of the tests."""
    found = rows()
    for _, task, scores in PUBLISHED:
        assert all(f"{score:.2f}" in found[task][3] for score in scores.values() if score != 76.45)
    tested = {task for _, task, _ in PUBLISHED} | {"vqaonline"}
    assert {name for name, row in found.items() if row[3] != "definition only"} == tested
