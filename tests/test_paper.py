"""The paper's tables: printed as they are, and what the rules find in them."""

from __future__ import annotations

import pytest

from harness.checkpoints.catalog import CATALOG
from reports.inputs.paper import Paper, load, minutes
from reports.statistics.sanity import whole_count


@pytest.fixture(scope="module")
def paper() -> Paper:
    return load()


TABLE_1 = """
LLaVA-CoT 11B 62.50 84.23 85.60 84.61 89.84 74.46 95.23 78.82 371 min
LLaVA-NeXT 7B 72.33 61.17 74.44 63.46 60.93 50.00 42.85 64.94 70 min
Phi-3.5-vision-instruct 4B 88.17 75.06 78.41 82.05 93.75 65.96 86.90 81.71 156 min
Moondream 2B 45.17 48.47 50.87 44.87 44.53 43.62 41.67 46.20 158 min
KOSMOS-2 2B 9.67 20.47 13.90 22.44 13.28 20.21 11.90 14.97 17 min
ViLT 113M 19.83 44.94 41.44 50.64 46.88 42.35 23.81 35.91 3 min
Moondream-kd 2B 57.83 56.24 53.85 46.15 53.91 45.74 40.48 53.54 279min
"""
TABLE_2 = """
LLaVA-CoT 11B 0.0125 0.2163 0.0314 0.8840 0.8446 0.8242 276min
LLaVA-NeXT 7B 0.0125 0.2439 0.0394 0.8263 0.8233 0.8297 171min
Phi-3.5-vision-instruct 4B 0.0028 0.1812 0.0235 0.8366 0.8538 0.8206 49min
Moondream 2B 0.0097 0.2113 0.0295 0.8306 0.8410 0.8209 74min
KOSMOS-2 2B 0.0013 0.1144 0.0160 0.5833 0.5963 0.5711 33min
ViLT 113M 0.0000 0.0020 0.0020 0.7826 0.8077 0.7594 2min
"""


@pytest.mark.parametrize(("number", "printed"), [(1, TABLE_1), (2, TABLE_2)])
def test_every_cell_is_as_printed(paper: Paper, number: int, printed: str) -> None:
    """Models, sizes and figures are those of the paper, digit by digit and in its order."""
    table = next(table for table in paper.tables if table.number == number)
    lines = [" ".join((row.model, row.size, *row.cells.values())) for row in table.rows]
    assert lines == printed.strip().splitlines()


COUNTS = {
    "llava-cot": [375, 358, 345, 132, 115, 70, 80, 1590],
    "llava-next": [434, 260, 300, 99, 78, 47, 36, 1310],
    "phi-3.5": [529, 319, 316, 128, 120, 62, 73, 1648],
    "moondream": [271, 206, 205, 70, 57, 41, 35, 932],
    "kosmos-2": [58, 87, 56, 35, 17, 19, 10, 302],
    "vilt": [119, 191, 167, 79, 60, None, 20, None],
    "moondream-kd": [347, 239, 217, 72, 69, 43, 34, 1080],
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_counts_behind_table_1(paper: Paper, name: str) -> None:
    """Each cell stands for one count of its topic's questions, or for none (ViLT, twice)."""
    table = paper.tables[0]
    row = table.row(name)
    assert row is not None
    found = [whole_count(f) for key, f in table.figures(row).items() if key != "chance"]
    assert [count and count[0] for count in found] == COUNTS[name]


def test_43_cells_are_rounded_and_11_cut(paper: Paper) -> None:
    """The rows of LLaVA, and Moondream's overall, were cut to two decimals."""
    table = paper.tables[0]
    ways = {
        (row.model, key): count[1]
        for row in table.rows
        for key, figure in table.figures(row).items()
        if key != "chance" and (count := whole_count(figure))
    }
    cut = [place for place, way in ways.items() if way == "cut"]
    assert len(ways) - len(cut) == 43
    assert len(cut) == 11
    assert {model for model, _ in cut} == {"LLaVA-CoT", "LLaVA-NeXT", "Moondream"}
    assert ("Moondream", "accuracy") in cut


def test_what_cannot_be_right(paper: Paper) -> None:
    """One figure of the paper is impossible and two do not fit our n: the rules find these alone."""
    found = {
        (finding.kind, table.number, row.model, finding.metrics)
        for table in paper.tables
        for row in table.rows
        for finding in table.findings(row)
        if finding.kind in ("impossible", "misfit")
    }
    assert found == {
        ("misfit", 1, "ViLT", ("accuracy/chemistry",)),
        ("misfit", 1, "ViLT", ("accuracy",)),
        ("impossible", 2, "LLaVA-CoT", ("bertscore_f1",)),
    }


def test_what_is_doubtful(paper: Paper) -> None:
    """Below chance, ROUGE-2 equal to ROUGE-1, and a claim of the text that the table denies."""
    found = {
        (table.number, row.model, finding.metrics)
        for table in paper.tables
        for row in table.rows
        for finding in table.findings(row)
        if finding.kind == "doubtful"
    }
    assert found == {
        (1, "KOSMOS-2", ("accuracy",)),
        (1, "ViLT", ("accuracy",)),
        (1, "LLaVA-CoT", ("accuracy/science-and-engineering-practices",)),
        (2, "ViLT", ("rouge1", "rouge2")),
    }


def test_the_teacher_is_highest_in_five_topics(paper: Paper) -> None:
    """The remark on the text's claim of six topics agrees with the figures."""
    table = paper.tables[0]
    topics = [column for column in table.columns if column.metric.startswith("accuracy/")]
    best = [max(table.rows, key=lambda row: float(row.cells[c.metric])).model for c in topics]
    assert best.count("LLaVA-CoT") == 5
    assert best[[c.key for c in topics].index("SAEP")] == "Phi-3.5-vision-instruct"


def test_topic_sizes_leave_127_questions_to_other_topics(paper: Paper) -> None:
    """The seven topics hold 1,890 of the 2,017 questions with an image."""
    columns = paper.tables[0].columns
    sizes = {column.key: column.n for column in columns if column.n}
    assert sizes.pop("Overall") == paper.tables[0].n == 2017
    assert sum(sizes.values()) == 2017 - 127


def test_rows_are_those_of_the_catalogue(paper: Paper) -> None:
    """Names, titles and sizes match the models that can be run."""
    catalogue = {(spec.name, spec.title, spec.size) for spec in CATALOG}
    for table in paper.tables:
        assert {(row.name, row.model, row.size) for row in table.rows} <= catalogue


def test_intervals_need_a_count(paper: Paper) -> None:
    """A figure that fits no count has no interval; 375 of 600 has Wilson's."""
    table = paper.tables[0]
    vilt, teacher = table.row("vilt"), table.row("llava-cot")
    assert vilt is not None
    assert teacher is not None
    assert table.figures(vilt)["accuracy/chemistry"].low is None
    geography = table.figures(teacher)["accuracy/geography"]
    # statsmodels.stats.proportion.proportion_confint(375, 600, method="wilson")
    assert geography.low == pytest.approx(0.585583, abs=1e-6)
    assert geography.high == pytest.approx(0.662827, abs=1e-6)


@pytest.mark.parametrize(("printed", "value"), [("371 min", 371), ("279min", 279)])
def test_minutes_are_read_with_and_without_a_space(printed: str, value: int) -> None:
    """The paper prints both."""
    assert minutes(printed) == value


def test_a_task_without_a_table_has_none(paper: Paper) -> None:
    """Only the paper's two tasks have a table."""
    assert paper.table("scienceqa") is paper.tables[0]
    assert paper.table("mine") is None
