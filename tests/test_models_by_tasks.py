"""The first table of the page: models by tasks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from harness.core.types import Value
from harness.run.records import Counts, MetricInfo, RunRecord, TaskInfo
from reports.inputs.runs import run_id
from reports.statistics.ranks import Rank
from reports.tables.models_by_tasks import TaskRuns, models_by_tasks
from reports.tables.table import Cell, Group, Heading, Row, Table, condensed, table
from tests.test_leaderboard import Page, choice_run, render


def run(model: str, name: str, value: float, **parts: Any) -> RunRecord:
    """A run of 200 questions."""
    info = {"score": MetricInfo(title="Score", unit="%", scope="sample", interval="wilson")}
    usual = {
        "task": TaskInfo(name=name, title=name.upper(), split="test"),
        "metrics": {"score": Value(value=value, n=200, low=value - 0.05, high=value + 0.05)},
        "metric_info": info,
        "counts": Counts(total=200, available=200, done=200, unparsed=2),
    }
    return choice_run(name=model, title=model.title(), **{**usual, **parts})


def made(
    *tasks: tuple[Sequence[RunRecord], Sequence[Mapping[str, Rank]]],
) -> Table:
    found = models_by_tasks(
        [
            TaskRuns(
                title=str(records[0].task.title),
                section=f"task:{records[0].task.name}",
                runs=records,
                tested=tested,
            )
            for records, tested in tasks
        ]
    )
    assert found is not None
    return found


def cells(table: Table) -> dict[str, list[str]]:
    return {row.title: [cell.text for cell in row.cells] for row in table.groups[0].rows}


def test_a_cell_has_score_interval_n_and_rank() -> None:
    """The n is said once in the heading where all have it; a sentence has all of it."""
    a, b = run("a", "x", 0.5), run("b", "x", 0.4)
    ranks = {run_id(a): Rank(1, 1), run_id(b): Rank(2, 2)}
    found = made(([b, a], [ranks]))
    assert cells(found) == {"A": ["50.00"], "B": ["40.00"]}
    (heading,) = found.headings
    assert (heading.title, heading.unit, heading.n) == ("X", "score, %", 200)
    first = found.groups[0].rows[0].cells[0]
    assert first.about == (
        "score 50.00%, 95% interval 45.0\N{EN DASH}55.0, n 200, 2 answers unparsed, rank 1 of 2."
    )


@pytest.mark.parametrize(
    ("ranks", "best"),
    [
        ((Rank(1, 1), Rank(2, 2)), [True, False]),
        ((Rank(1, 2), Rank(1, 2)), [False, False]),
        ((Rank(1, 1), None), [False, False]),
        ((None, None), [False, False]),
    ],
)
def test_the_best_is_marked_only_where_it_is_certain(
    ranks: tuple[Rank | None, Rank | None], best: list[bool]
) -> None:
    """Paired tests put it before all others of its column, and every one of them was tested."""
    records = [run("a", "x", 0.5), run("b", "x", 0.4)]
    known = {run_id(r): rank for r, rank in zip(records, ranks, strict=True) if rank}
    found = made((records, [known] if known else []))
    assert [row.cells[0].best for row in found.groups[0].rows] == best


def test_a_model_without_a_run_has_a_dash() -> None:
    """It is below those with a score in the first column, and its cell says so."""
    found = made(([run("a", "x", 0.5)], []), ([run("b", "y", 0.9), run("a", "y", 0.1)], []))
    assert cells(found) == {"A": ["50.00", "10.00"], "B": ["\N{EM DASH}", "90.00"]}
    assert found.groups[0].rows[1].cells[0].about == "Not measured."


def test_splits_and_minis_have_columns_of_their_own() -> None:
    """Their questions, or their weights, are others: one column would compare them."""
    other = run("a", "x", 0.3, task=TaskInfo(name="x", title="X", split="dev"))
    mini = run("a", "x", 0.2, task=TaskInfo(name="x", title="X", split="test", synthetic=True))
    found = made(([run("a", "x", 0.5), other, mini], []))
    assert [heading.title for heading in found.headings] == [
        "X, test",
        "X, dev",
        "X, test, mini (synthetic)",
    ]


def test_a_partial_run_says_so() -> None:
    """In its cell; in the heading where all runs of the column are alike."""
    part = Counts(total=1000, available=1000, done=200)
    a, b = run("a", "x", 0.5, counts=part), run("b", "x", 0.4)
    found = made(([a, b], []))
    assert [row.cells[0].also for row in found.groups[0].rows] == ["200 of 1,000", ""]
    found = made(([a, run("b", "x", 0.4, counts=part)], []))
    assert [row.cells[0].also for row in found.groups[0].rows] == ["", ""]
    assert found.headings[0].also == " of 1,000"


def test_less_may_be_better() -> None:
    """The heading says so, and the least is first."""
    info = {"score": MetricInfo(title="Word errors", unit="", higher_is_better=False)}
    found = made(([run("a", "x", 0.5, metric_info=info), run("b", "x", 0.4, metric_info=info)], []))
    assert [row.title for row in found.groups[0].rows] == ["B", "A"]
    assert found.headings[0].unit == "word errors, less is better"


def test_models_of_one_title_are_told_apart() -> None:
    """By the names of their runs."""
    records = [
        replace(each, model=replace(each.model, title="Same"))
        for each in (run("a", "x", 0.5), run("b", "x", 0.4))
    ]
    assert list(cells(made((records, [])))) == ["Same (a)", "Same (b)"]


def test_twenty_models_by_twenty_tasks() -> None:
    """One table, each of whose cells says its n."""
    tasks = [
        [run(f"model-{m:02}", f"task-{t:02}", 0.3 + m / 40 + t / 100) for m in range(20)]
        for t in range(20)
    ]
    found = made(*((records, []) for records in tasks))
    assert len(found.headings) == len(found.groups[0].rows) == 20
    assert all("n 200" in cell.about for row in found.groups[0].rows for cell in row.cells)


@pytest.mark.parametrize("number", [4, 5])
def test_tables_of_many_tasks_are_closed(number: int) -> None:
    """The page opens with models by tasks; the tasks' own tables stand open where they are few."""
    page = Page(render([run("model", f"task-{t}", 0.5) for t in range(number)]))
    assert next(name for tag, name in page.having("id") if tag == "table") == "models-by-tasks"
    sections = [a for tag, a in page.elements if tag == "section" and "data-task" in a]
    assert len(sections) == number
    closed = [tag for tag, a in page.elements if (tag, a.get("class")) == ("details", "part")]
    assert len(closed) == 4 + (number if number > 4 else 0)


def test_what_a_caption_says_is_not_said_in_each_row() -> None:
    """Nor what the title of a group says; what is left stands in the title, or in the rows."""
    pairs = table(
        "x",
        "Pairs \N{MIDDLE DOT} mini (synthetic)",
        [Heading(key="a", title="A")],
        groups=[
            Group(rows=(Row(title="one", cells=(Cell(),), origin="mini (synthetic)"),)),
            Group(rows=(Row(title="two", cells=(Cell(),), origin="mini (synthetic), measured"),)),
            Group(
                title="All",
                rows=(Row(title="three", cells=(Cell(),), origin="mini (synthetic), measured"),),
            ),
        ],
    )
    groups = condensed(pairs).groups
    assert [(group.origin, group.rows[0].origin) for group in groups] == [
        ("", ""),
        ("", "measured"),
        ("measured", ""),
    ]


# In a browser


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """`shown("#?...")` opens a page of three models by two tasks at that address."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium, which is not installed")
    file = tmp_path / "page.html"
    names = ("alpha", "beta", "gamma")
    records = [
        run(name, task, 0.3 + place / 10)
        for place, name in enumerate(names)
        for task in ("first", "second")
    ]
    file.write_text(render(records), encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 400, "height": 800})

        def opened(address: str) -> Any:
            page.goto("about:blank")
            page.goto(file.as_uri() + address)
            return page

        yield opened
        browser.close()


VISIBLE = """
() => {
  const table = document.getElementById("models-by-tasks");
  const seen = (all) => [...all].filter((each) => each.offsetParent !== null);
  return [
    seen(table.querySelectorAll("tbody tr")).map((row) => row.dataset.model),
    seen(table.querySelectorAll("thead th[data-task]")).map((cell) => cell.dataset.task),
    seen(document.querySelectorAll("main section[data-task]")).map((part) => part.dataset.task),
    seen(document.querySelectorAll(".dense thead th:not(.head)")).map((cell) => cell.querySelector("abbr, bdi").textContent),
  ];
}
"""


def test_filters_cells_and_the_full_view_at_400_px(shown: Callable[[str], Any]) -> None:
    """Names filter rows, columns and sections and stand in the address, as the full view does; a
    cell says its n where it is tapped and where the arrow keys lead; the column of names takes at
    most a quarter of the width."""
    page = shown("")
    page.fill("#models-filter", "ALPHA, gam")
    page.fill("#tasks-filter", "second")
    page.fill("#columns-filter", "rank, SCO")
    page.check("#full-view")
    wanted = [["Gamma", "Alpha"], ["SECOND"], ["SECOND"], ["Score"]]
    assert page.evaluate(VISIBLE) == wanted
    assert page.inner_text("#filtered") == (
        "2 of 3 models, 1 of 2 tasks, 2 of 12 columns of the tasks\N{RIGHT SINGLE QUOTATION MARK} tables"
    )
    again = shown("#" + page.url.partition("#")[2])
    assert again.evaluate(VISIBLE) == wanted
    assert again.input_value("#models-filter") == "ALPHA, gam"
    assert again.is_checked("#full-view")
    page = shown("")
    page.locator("#models-by-tasks td").first.click()
    told = page.inner_text("#models-by-tasks-cell")
    assert told.startswith("Gamma \N{MIDDLE DOT} FIRST: score 50.00%")
    assert "n 200" in told
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#models-by-tasks-cell").startswith("Beta \N{MIDDLE DOT} SECOND")
    widths = page.evaluate("[...document.querySelectorAll('th.head')].map((th) => th.offsetWidth)")
    assert 0 < max(widths) <= 100
