"""What is exported is read back by the readers of each format, number by number, and nothing that a
record says can break a file or do anything in it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, parse_eval_result_entries
from markdown_it import MarkdownIt

from harness.core.types import Prediction
from harness.run.folder import RunFolder
from harness.run.records import RunRecord
from reports.export import contents
from reports.export.formats import FOLDER_FORMATS, TABLE_FORMATS, downloads, latex, markdown
from reports.export.formats.delimited import COLUMNS, guarded
from reports.inputs.material import RunData
from reports.page.leaderboard import sections
from reports.statistics.sanity import Finding
from reports.tables import table as making
from reports.tables.table import Cell, Row, Table
from tasks import load_task
from tests.hostile import BLANK, HOSTILE, filled
from tests.test_leaderboard import choice_run, text_run

ANY = (*HOSTILE, *BLANK)
NAMED = {text: ascii(text[:24]) for text in ANY}


def page_tables(*records: RunRecord) -> list[Table]:
    return [table for section in sections(records) for table in section.tables]


@pytest.fixture(scope="module")
def tables() -> list[Table]:
    """All tables of a page with runs of both tasks, of a task of its own, and the paper's rows."""
    own = replace(choice_run().task, name="mine", title="Mine", source="./mine")
    return page_tables(
        choice_run(),
        choice_run(name="vilt", title="ViLT", right=9),
        text_run(),
        choice_run(task=own),
    )


def written(form: str, tables: Sequence[Table]) -> str:
    return TABLE_FORMATS[form].write(tables)


def figures(tables: Sequence[Table]) -> list[tuple[Any, ...]]:
    """Every figure of the tables as it must come back: table, row, column, value, ends, n."""
    return [
        (
            table.id,
            row.title,
            heading.key,
            cell.value,
            cell.low,
            cell.high,
            contents.samples(heading, cell),
        )
        for table in tables
        for _, row in contents.rows(table)
        for heading, cell in contents.cells(table, row)
    ]


# CSV


def csv_rows(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text), strict=True))
    assert all(set(row) == set(COLUMNS) for row in rows)  # no line has more cells, or fewer
    return rows


def test_csv_gives_back_every_figure_with_all_its_digits(tables: list[Table]) -> None:
    """One line a figure; what is missing is empty and says why; the csv module reads it."""

    def number(text: str) -> float | None:
        return float(text) if text else None

    rows = csv_rows(written("csv", tables))
    assert figures(tables) == [
        (
            row["table"],
            row["row"],
            row["column"],
            *(number(row[name]) for name in ("value", "low", "high", "n")),
        )
        for row in rows
    ]
    missing = [row for row in rows if not row["printed"]]
    assert missing
    assert all("[missing]" in row["notes"] or row["heading"] == "Result" for row in missing)


def test_csv_in_a_data_frame(tables: list[Table]) -> None:
    """Numbers are numbers without further ado, and a model's accuracy is a line's query away."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(io.StringIO(written("csv", tables)))
    assert all(frame[name].dtype == float for name in ("value", "low", "high", "n"))
    chosen = frame.query("table == 'scienceqa-measured' and row == 'ViLT' and column == 'accuracy'")
    found = chosen.iloc[0]
    value = choice_run(right=9).metrics["accuracy"]
    assert math.isclose(found.value, 100 * value.value, rel_tol=1e-15)
    assert math.isclose(found.low, 100 * value.low, rel_tol=1e-15)
    assert math.isclose(found.high, 100 * value.high, rel_tol=1e-15)
    assert (found.n, found.unit) == (59, "%")


def test_measured_and_reported_rows_are_told_apart(tables: list[Table]) -> None:
    """Every line says how its figure came about, and the paper's figures come in a table of their
    own."""
    origins: dict[str, set[str]] = {}
    for row in csv_rows(written("csv", tables)):
        origins.setdefault(row["table"], set()).add(row["origin"])
    assert origins["scienceqa-measured"] == {"measured"}
    assert origins["scienceqa-reported"] == {"reported in the paper"}
    partial = choice_run(counts=replace(choice_run().counts, done=20))
    first = csv_rows(written("csv", page_tables(partial)))[0]
    assert first["origin"] == "partial: 20 of 59"


GUARDED = {
    "=1+1": "'=1+1",
    "+1+cmd": "'+1+cmd",
    "-2+3": "'-2+3",
    "@SUM(A1)": "'@SUM(A1)",
    "＝１": "'＝１",  # noqa: RUF001  # full-width
    "a;=1": "a;'=1",
    "-3.5": "-3.5",
    "+12.5": "+12.5",
    "-1e": "'-1e",
    "−3.5": "−3.5",  # noqa: RUF001  # the typographic minus of the page
    "-11.1 to +13.9": "-11.1 to +13.9",
    "Phi-3.5 = good": "Phi-3.5 = good",
    "2,017": "2,017",
}


@pytest.mark.parametrize(("text", "cell"), GUARDED.items(), ids=ascii)
def test_no_spreadsheet_computes_a_text(text: str, cell: str) -> None:
    """What begins like a formula gets an apostrophe; a number is left alone."""
    assert guarded(text) == cell


# JSON


def test_json_gives_back_every_figure_with_all_its_digits(tables: list[Table]) -> None:
    """Strict JSON, numbers as they were, notes with their kinds."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    document = json.loads(written("json", tables), parse_constant=refuse)
    assert figures(tables) == [
        (
            table["id"],
            row["title"],
            key,
            *(cell[name] for name in ("value", "low", "high", "n")),
        )
        for table in document["tables"]
        for row in table["rows"]
        for key, cell in row["cells"].items()
    ]
    kinds = {
        note["kind"]
        for table in document["tables"]
        for row in table["rows"]
        for cell in row["cells"].values()
        for note in cell["notes"]
    }
    assert {"missing", "impossible", "doubtful", "remark"} <= kinds


# Markdown


class Parsed:
    """A Markdown text as a parser with tables sees it: cells as text, and what else there is."""

    def __init__(self, source: str) -> None:
        self.rows: list[list[str]] = []
        self.kinds: set[str] = set()
        for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source):
            self.kinds.add(token.type)
            if token.type == "tr_open":
                self.rows.append([])
            if token.type == "inline":
                self.kinds.update(child.type for child in token.children or [])
                self.inline = "".join(child.content for child in token.children or [])
            if token.type in ("th_close", "td_close"):
                self.rows[-1].append(self.inline)


def test_markdown_gives_back_every_cell_as_printed(tables: list[Table]) -> None:
    """A parser with tables finds the rows of the page, each figure with its interval and n."""
    shown = []
    for table in tables:
        for group in table.groups:
            shown.append(len(contents.headings(table)))
            shown += [[cell.text for _, cell in contents.cells(table, row)] for row in group.rows]
    parsed = Parsed(written("markdown", tables)).rows
    assert len(parsed) == len(shown)
    for cells, expected in zip(parsed, shown, strict=True):
        if isinstance(expected, int):
            assert len(cells) > expected  # the heads, those of model, size, role and origin first
            continue
        figures = cells[-len(expected) :]
        pairs = zip(figures, expected, strict=True)
        assert all(cell == text or cell.startswith(f"{text} ") for cell, text in pairs)
    first = next(cells for cells in parsed if cells[0] == "ViLT")
    value = choice_run(right=9).metrics["accuracy"]
    ends = f"{100 * value.low:.1f}–{100 * value.high:.1f}"  # noqa: RUF001  # as printed
    assert first[4] == f"{100 * value.value:.2f} ({ends}, n 59, 2 unparsed)"


# LaTeX


def test_latex_is_ascii_and_ruled_by_booktabs(tables: list[Table]) -> None:
    """Any engine takes it; each table has the three rules of booktabs and its rows."""
    text = written("latex", tables)
    assert text.isascii()
    for rule in (r"\toprule", r"\bottomrule"):
        assert text.count(rule) == len(tables)
    assert text.count(r"\midrule") == sum(len(table.groups) for table in tables)
    first = text.split(r"\begin{tabular}{l")[1].split(r"\bottomrule")[0]
    assert first.count(" & ") == len(contents.headings(tables[0])) * 3  # the heads, two runs
    assert r"\scriptsize 2 unparsed\end{tabular}" in first  # below the score, as on the page


@pytest.fixture(scope="module")
def compile_latex(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`compile_latex(name=text, ...)` compiles `main` and gives the text that was typeset."""
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("pdflatex is not installed")
    packages = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False)
    if packages.returncode:
        pytest.skip("pdflatex has no booktabs")

    def compiled(**texts: str) -> str:
        folder = tmp_path_factory.mktemp("latex")
        for name, text in texts.items():
            (folder / f"{name}.tex").write_text(text)
        done = subprocess.run(
            [program, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        log = done.stdout.decode(errors="replace")
        assert not done.returncode, log[-2000:]
        assert (folder / "main.pdf").stat().st_size
        return log

    return compiled


def test_latex_compiles_as_it_stands(
    tables: list[Table], compile_latex: Callable[..., str]
) -> None:
    """The document that the command writes is complete."""
    compile_latex(main=written("latex", tables))


def test_latex_can_be_taken_into_a_paper(
    tables: list[Table], compile_latex: Callable[..., str]
) -> None:
    r"""\input gives the tables, twice if wanted, and the paper goes on behind them."""
    paper = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
        r"\input{tables}\input{tables}\typeout{BEHIND THEM}\end{document}"
    )
    assert "BEHIND THEM" in compile_latex(main=paper, tables=written("latex", tables[:2]))


def test_latex_compiles_whatever_a_record_says(
    tables: list[Table], compile_latex: Callable[..., str]
) -> None:
    """Every hostile string as a model, a heading, a caption and a note, in one document."""
    compile_latex(main=written("latex", [hostile(tables[0], text) for text in ANY]))


# What a record cannot do


def hostile(found: Table, text: str) -> Table:
    """`found` with `text` in place of every text: names, captions, cells, intervals, notes."""

    def cell(old: Cell) -> Cell:
        findings = tuple(Finding(each.kind, (), text) for each in old.findings)
        shown = text if old.value is None and not findings else old.text
        return replace(old, text=shown, findings=findings)

    def row(old: Row) -> Row:
        said = dict.fromkeys(("title", "size", "role", "origin", "run"), text)
        return replace(old, **said, cells=tuple(map(cell, old.cells)))

    return making.table(
        text,
        text,
        [
            replace(old, key=f"{text}{place}", title=text, meaning=text, unit=text)
            for place, old in enumerate(found.headings)
        ],
        groups=[
            replace(old, title=text, chance=text, rows=tuple(map(row, old.rows)))
            for old in found.groups
        ],
        row_title=text,
    )


@pytest.fixture(scope="module")
def harmless(tables: list[Table]) -> dict[str, dict[str, str]]:
    """A harmless text, and none -> each format of two tables with it in all fields."""
    return {
        text: {
            form: written(form, [hostile(each, text) for each in tables[:2]])
            for form in ("csv", "markdown")
        }
        for text in ("harmless", " ")
    }


@pytest.mark.parametrize("text", ANY, ids=NAMED.get)
def test_no_string_changes_a_table_format(
    text: str, tables: list[Table], harmless: dict[str, dict[str, str]]
) -> None:
    """With any string in all fields, each format has the rows, cells and elements that it has with
    a harmless one, and can be written as UTF-8."""
    plain = harmless["harmless" if text.strip() else " "]
    some = [hostile(each, text) for each in tables[:2]]
    made = {form: written(form, some) for form in TABLE_FORMATS}
    for document in made.values():
        document.encode()
    rows = csv_rows(made["csv"])
    assert len(rows) == len(csv_rows(plain["csv"]))
    for row in rows:
        for name, cell in row.items():
            number = name in ("value", "low", "high", "n", "printed")
            assert number or not re.match(r"\s*[=+\-@＝＋－＠]", cell), cell  # noqa: RUF001
    parsed, expected = Parsed(made["markdown"]), Parsed(plain["markdown"])
    assert [len(cells) for cells in parsed.rows] == [len(cells) for cells in expected.rows]
    assert parsed.kinds == expected.kinds
    assert len(json.loads(made["json"])["tables"]) == len(some)
    assert made["latex"].isascii()


@pytest.mark.parametrize("text", ANY, ids=NAMED.get)
def test_escaped_text_reads_as_itself(text: str) -> None:
    """In Markdown a reader sees what the page shows, nothing more and nothing less; in LaTeX no
    command is left but those of the escapes."""
    tokens = MarkdownIt("commonmark").enable("strikethrough").parseInline(markdown.escaped(text))
    assert "".join(child.content for child in tokens[0].children or []) == contents.shown(text)
    commands = set(re.findall(r"\\([a-zA-Z]+)", latex.escaped(text)))
    assert not commands & {"input", "write", "end", "def", "catcode", "begin", "include"}


# Downloads


def test_downloads_of_a_table(tables: list[Table]) -> None:
    """Four formats, each with a file name that is safe and a text that holds this table alone."""
    found = downloads(tables[0])
    assert [each.title for each in found] == ["CSV", "Markdown", "LaTeX", "JSON"]
    assert [each.name for each in found] == [
        f"scienceqa-measured{suffix}" for suffix in (".csv", ".md", ".tex", ".json")
    ]
    assert found[0].text == written("csv", [tables[0]])
    assert found == downloads(tables[0])
    hostile = downloads(replace(tables[0], id='../"><script>'))
    assert all(re.fullmatch(r"[\w.+-]+", each.name) for each in hostile)
    assert not any(each.name.startswith(".") for each in hostile)


# Runs


HUB = "derek-thomas/ScienceQA"


def answers() -> list[Prediction]:
    """The 59 answers behind `choice_run`, and one that failed."""
    made = []
    for topic, (n, right) in {
        "geography": (30, 18),
        "physics": (20, 7),
        "us-history": (5, 0),
        "civics": (4, 3),
    }.items():
        made += [
            Prediction(
                sample_id=f"{topic}-{i}",
                raw=f"The answer is {'A' if i < right else 'B'}.",
                answer=0 if i < right else 1,
                rule="the answer is",
                scores={"accuracy": float(i < right)},
                target=0,
                question="Which?",
                choices=("yes", "no"),
                topic=topic,
                prompt=f"Which? {i}",
                seconds=0.5,
                tokens=5,
            )
            for i in range(n)
        ]
    failed = replace(made[0], sample_id="f", raw="", answer=None, error="corrupt")
    return [*made, failed]


def evidence(**parts: Any) -> RunData:
    return RunData(choice_run(**parts), answers)


def files(form: str, *runs: RunData, dataset: str | None = None) -> dict[str, str]:
    return {
        file.path: b"".join(file.pieces()).decode()
        for file in FOLDER_FORMATS[form].write(runs, dataset)
    }


def results_of(found: dict[str, str]) -> dict[str, Any]:
    (name,) = (name for name in found if "/results_" in name)
    return json.loads(found[name])


def sample_rows(found: dict[str, str], subtask: str) -> list[dict[str, Any]]:
    (name,) = (name for name in found if f"/samples_{subtask}_" in name)
    return [json.loads(line) for line in found[name].splitlines()]


def test_lm_eval_has_topics_as_subtasks_of_a_group() -> None:
    """The group has the accuracy over all, each subtask that of its topic, as the record has it."""
    run = evidence(sessions=[{"started": "2026-01-02T03:04:05Z"}])
    found = files("lm-eval", run)
    assert "moondream/results_2026-01-02T03-04-05.json" in found
    results = results_of(found)
    metrics = run.record.metrics
    subtasks = ["geography", "physics", "us_history", "civics"]
    assert results["group_subtasks"] == {"scienceqa": [f"scienceqa_{s}" for s in subtasks]}
    assert results["results"]["scienceqa"]["acc,none"] == metrics["accuracy"].value
    assert results["groups"]["scienceqa"] == results["results"]["scienceqa"]
    for topic in ("geography", "us-history"):
        figures = results["results"][f"scienceqa_{topic.replace('-', '_')}"]
        assert figures["acc,none"] == metrics[f"accuracy/{topic}"].value
        assert figures["sample_len"] == metrics[f"accuracy/{topic}"].n
    assert results["harness"]["metrics"]["accuracy"]["low"] == metrics["accuracy"].low
    assert results["date"] == 1767323045.0


def test_lm_eval_has_a_line_for_each_answer() -> None:
    """Raw text, what was read and the verdict; the mean of a subtask's lines is its figure. A
    question that failed is in no figure and has no line."""
    run = evidence()
    found = files("lm-eval", run)
    results = results_of(found)["results"]
    total = 0
    for subtask in ("geography", "physics", "us_history", "civics"):
        rows = sample_rows(found, f"scienceqa_{subtask}")
        total += len(rows)
        right = sum(row["acc"] for row in rows)
        assert right / len(rows) == results[f"scienceqa_{subtask}"]["acc,none"]
    assert total == run.record.metrics["accuracy"].n
    row = sample_rows(found, "scienceqa_physics")[0]
    prediction = next(p for p in answers() if p.topic == "physics")
    assert row["resps"] == [[prediction.raw]]
    assert row["filtered_resps"] == ["yes"]
    assert row["target"] == "yes"
    assert row["arguments"]["gen_args_0"]["arg_0"] == prediction.prompt
    assert row["doc"]["id"] == row["harness"]["sample_id"] == prediction.sample_id
    assert row["harness"]["rule"] == prediction.rule


def test_lm_eval_with_options_that_were_scored() -> None:
    """A request for each option with its log-likelihood; the likeliest is the answer."""
    scored = [replace(p, log_likelihoods=(-1.5, -0.5), raw="B", answer=1) for p in answers()[:3]]
    run = RunData(choice_run(settings={"mode": "loglikelihood"}), lambda: scored)
    row = sample_rows(files("lm-eval", run), "scienceqa_geography")[0]
    assert [a["arg_1"] for a in row["arguments"].values()] == ["yes", "no"]
    assert row["filtered_resps"] == [["-1.5"], ["-0.5"]]
    assert row["resps"] == [[["-1.5"]], [["-0.5"]]]


def test_lm_eval_of_written_answers() -> None:
    """Without topics the task stands alone; a line has its ROUGE, whose mean is the run's."""
    from harness.metrics.former import text_overlap

    texts = [("a cat on a mat", "a cat on the mat"), ("", "two dogs"), ("red", "blue")]
    made = [
        Prediction(sample_id=str(i), raw=text, answer=text or None, rule="all", target=gold)
        for i, (text, gold) in enumerate(texts)
    ]
    run = RunData(text_run(metrics=text_overlap(made)), lambda: made)
    found = files("lm-eval", run)
    results, rows = results_of(found), sample_rows(found, "vqaonline")
    assert list(results["results"]) == ["vqaonline"]
    assert results["groups"] == results["group_subtasks"] == {}
    for name in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        mean = sum(row[name] for row in rows) / len(rows)
        assert math.isclose(mean, results["results"]["vqaonline"][f"{name},none"], abs_tol=1e-12)
    assert "bleu,none" in results["results"]["vqaonline"]


def test_lm_eval_keeps_runs_of_one_model_apart() -> None:
    """Runs that began in the same second, or nobody knows when, get files of their own."""
    own = replace(choice_run().task, name="mine")
    found = files("lm-eval", evidence(), evidence(task=own))
    assert len([name for name in found if "/results_" in name]) == 2
    assert len(found) == 2 + 4 + 4


def test_lm_eval_reads_it(tmp_path: Path) -> None:
    """lm-eval's own functions find the files, their tasks and dates, and print the table."""
    utils = pytest.importorskip("lm_eval.utils", reason="lm_eval is not installed")
    pytest.importorskip("pytablewriter")
    run = evidence(sessions=[{"started": "2026-01-02T03:04:05Z"}])
    found = files("lm-eval", run)
    (results,) = utils.get_results_filenames(list(found))
    assert utils.get_file_datetime(results) == "2026-01-02T03-04-05.json"
    samples = utils.get_sample_results_filenames(list(found))
    assert {utils.get_file_task_name(Path(name).name) for name in samples} == set(
        json.loads(found[results])["configs"]
    )
    table = utils.make_table(json.loads(found[results]))
    for metric, value in run.record.metrics.items():
        if metric.startswith("accuracy"):
            assert f"{value.value:.4f}".rstrip("0").rstrip(".") in table, metric


def test_datasets_reads_the_samples(tmp_path: Path) -> None:
    """The lines have one schema: the datasets library loads them as a table."""
    from datasets import Dataset

    found = files("lm-eval", evidence())
    (name,) = (name for name in found if "scienceqa_physics" in name)
    path = tmp_path / "samples.jsonl"
    path.write_text(found[name])
    loaded = Dataset.from_json(str(path), cache_dir=str(tmp_path / "cache"))
    assert sum(loaded["acc"]) == 7
    assert loaded[0]["doc"]["topic"] == "physics"


def entries(text: str) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return parse_eval_result_entries(yaml.safe_load(text))


def test_eval_results_give_back_the_figures() -> None:
    """The hub's reader finds data set, value and date; the notes have n, interval and origin."""
    sha = "0123456789abcdef" * 2 + "01234567"
    task = replace(choice_run().task, revision=sha)
    run = evidence(task=task, sessions=[{"started": "2026-01-02T03:04:05Z"}])
    (entry,) = entries(files("hf", run)["moondream/.eval_results/scienceqa.yaml"])
    value = run.record.metrics["accuracy"]
    assert (entry.dataset_id, entry.task_id, entry.value) == (HUB, "scienceqa", value.value)
    assert (entry.dataset_revision, entry.date) == (sha, "2026-01-02T03:04:05Z")
    for said in ("n 59", f"95% interval {value.low:.6g} to {value.high:.6g}", "measured"):
        assert said in entry.notes
    text = RunData(text_run(), list)
    found = entries(files("hf", text, dataset="a/b")["vilt/.eval_results/vqaonline.yaml"])
    assert {entry.task_id: entry.value for entry in found} == {
        f"vqaonline_{name}": value.value
        for name, value in text_run().metrics.items()
        if value.value is not None
    }


def test_the_model_card_gives_back_every_figure() -> None:
    """The hub's reader finds each figure, those by topic too, with n and interval."""
    run, other = evidence(), evidence(task=replace(choice_run().task, split="validation"))
    text = files("hf", run, other)["moondream/README.md"]
    data = ModelCard(text).data
    assert data.model_name == "Moondream"
    for split in ("test", "validation"):
        found = {r.metric_name: r for r in data.eval_results if r.dataset_split == split}
        assert list(found) == list(run.record.metrics)
        for metric, value in run.record.metrics.items():
            result = found[metric]
            assert (result.metric_value, result.dataset_type) == (value.value, HUB)
            read = [result.metric_args.get(key) for key in ("n", "low", "high")]
            assert read == [value.n, value.low, value.high]


def test_only_the_hubs_data_sets_go_to_the_hub() -> None:
    """Questions of a folder are no data set of the hub, whatever the folder is called, unless the
    user says which one they are."""
    unfit = FOLDER_FORMATS["hf"].unfit
    copy = choice_run(task=replace(choice_run().task, source="data/ScienceQA", revision=None))
    assert not unfit(RunData(choice_run()), None)
    assert "data/ScienceQA" in unfit(RunData(copy), None)
    assert not unfit(RunData(copy), HUB)
    (entry,) = entries(
        files("hf", RunData(copy, answers), dataset=HUB)["moondream/.eval_results/scienceqa.yaml"]
    )
    assert entry.dataset_id == HUB
    assert "data data/ScienceQA" in entry.notes


def eee_documents(found: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(text) for name, text in found.items() if name.endswith(".json")]


def test_every_eval_ever_has_runs_and_the_papers_rows_apart() -> None:
    """What was measured is an evaluation run with its intervals; what the paper reports is
    documentation, as printed and with what is wrong in it."""
    run = evidence(sessions=[{"started": "2026-01-02T03:04:05Z"}])
    documents = eee_documents(files("every-eval-ever", run))
    kinds = [document["source_metadata"]["source_type"] for document in documents]
    assert kinds == ["evaluation_run", *["documentation"] * 7]
    metrics = run.record.metrics
    scores = {r["evaluation_result_id"]: r for r in documents[0]["evaluation_results"]}
    assert set(scores) == {name for name in metrics if name not in ("chance", "unparsed")}
    for name, result in scores.items():
        details = result["score_details"]
        assert details["score"] == metrics[name].value
        assert details["uncertainty"]["num_samples"] == metrics[name].n
        ends = details["uncertainty"]["confidence_interval"]
        assert (ends["lower"], ends["upper"]) == (metrics[name].low, metrics[name].high)
        assert result["source_data"]["hf_repo"] == HUB
    vilt = next(d for d in documents if d["model_info"]["name"] == "ViLT")
    printed = {r["evaluation_result_id"]: r["score_details"] for r in vilt["evaluation_results"]}
    assert printed["accuracy/chemistry"]["score"] == 42.35
    assert "does not fit n = 94" in printed["accuracy/chemistry"]["details"]["remarks"]


def test_every_eval_ever_has_a_line_for_each_answer() -> None:
    """The document names the file of lines, how many there are and their sha256."""
    run = evidence()
    found = files("every-eval-ever", run)
    (name,) = (name for name in found if name.endswith("_samples.jsonl"))
    document = json.loads(found[name.replace("_samples.jsonl", ".json")])
    detailed = document["detailed_evaluation_results"]
    assert detailed["file_path"] == Path(name).name
    assert detailed["checksum"] == sha256(found[name].encode()).hexdigest()
    lines = [json.loads(line) for line in found[name].splitlines()]
    assert len(lines) == detailed["total_rows"] == 59
    assert sum(line["evaluation"]["is_correct"] for line in lines) == 28
    assert {line["evaluation_id"] for line in lines} == {document["evaluation_id"]}
    # Whether a written answer is right nobody can say: no lines.
    texts = files("every-eval-ever", RunData(text_run(), answers))
    assert not any(name.endswith(".jsonl") for name in texts)


def test_every_eval_ever_reads_it(tmp_path: Path) -> None:
    """Its own validator accepts every document and every line."""
    validate = pytest.importorskip(
        "every_eval_ever.validate", reason="every_eval_ever is not installed"
    )
    found = files("every-eval-ever", evidence(), RunData(text_run(), list))
    for name, text in found.items():
        path = tmp_path / Path(name).name
        path.write_text(text)
        report = validate.validate_file(path)
        assert report.valid, report.errors


@pytest.mark.parametrize("text", ANY, ids=NAMED.get)
def test_no_string_changes_an_exported_run(text: str) -> None:
    """With any string in all fields, the files have safe names and the values they must have."""
    record = filled(choice_run(), text)
    said = [filled(prediction, text) for prediction in answers()[:-1]]
    said = [replace(p, sample_id=f"{text}{i}", error=None) for i, p in enumerate(said)]
    run = RunData(record, lambda: said, load_task("docvqa"))
    made = {form: files(form, run, dataset=HUB) for form in FOLDER_FORMATS}
    for found in made.values():
        assert found
        for name, content in found.items():
            assert ".." not in name.split("/")
            assert all(c in "/_.+-" or unicodedata.category(c)[0] in "LMN" for c in name), name
            content.encode()
    (page,) = (content for name, content in made["hf"].items() if name.endswith("README.md"))
    card = ModelCard(page).data
    assert {r.metric_value for r in card.eval_results} == {
        value.value for value in record.metrics.values() if value.value is not None
    }
    rows = [
        json.loads(line)
        for name, c in made["lm-eval"].items()
        if "/samples_" in name
        for line in c.split("\n")
        if line
    ]
    assert len(rows) == len(said)


# The command


@pytest.fixture(scope="module")
def real_runs(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Path:
    """A folder with a run of a tiny model with random weights."""
    from harness.core.options import GenerationOptions, ModelOptions, RunOptions
    from harness.core.types import DataOptions
    from harness.run.evaluate import evaluate
    from harness.run.task_data import Data
    from harness.sources.weights import Weights
    from tasks import load_task

    runs = tmp_path_factory.mktemp("runs")
    weights = Weights(ModelOptions(model="moondream", weights="random", size="tiny", runs=runs))
    evaluate(
        weights,
        Data(load_task("scienceqa"), DataOptions(path=drawn)),
        RunOptions(
            runs=runs,
            limit=12,
            sample="stratified",
            generation=GenerationOptions(max_new_tokens=4),
        ),
    )
    return runs


@pytest.mark.parametrize("form", TABLE_FORMATS)
def test_a_table_format_goes_to_stdout_or_into_a_file(
    command, form: str, real_runs: Path, tmp_path: Path
) -> None:
    """The same document, and the same again: it depends on the runs alone."""
    shown = command("export", "--format", form, "--runs", real_runs)
    assert shown.code == 0, shown.stderr
    out = tmp_path / "deep" / "file"
    result = command("export", "--format", form, "--runs", real_runs, "--out", out, "--json")
    assert (result.code, result.json["files"]) == (0, [str(out)])
    assert out.read_text() == shown.stdout
    one = command("export", "--format", form, "--runs", real_runs, "--task", "vqaonline").stdout
    assert len(one) < len(shown.stdout)
    assert "Moondream" in one


def test_a_real_run_in_lm_evals_layout(command, real_runs: Path, tmp_path: Path) -> None:
    """Every answer of the run folder has its line; again, the same files with the same bytes."""
    out = tmp_path / "lm-eval"
    for _ in range(2):
        result = command("export", "--format", "lm-eval", "--runs", real_runs, "--out", out)
        assert result.code == 0, result.stderr
    predictions = RunFolder.of(
        real_runs, task="scienceqa", model="moondream", split="test"
    ).read_predictions()
    rows = [
        json.loads(line)
        for path in sorted(out.glob("moondream/samples_scienceqa_*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert len(rows) == len(predictions) == 12
    raw = {row["harness"]["sample_id"]: row["resps"][0][0] for row in rows}
    assert raw == {prediction.sample_id: prediction.raw for prediction in predictions}
    assert len(list(out.glob("moondream/samples_*"))) == 4
    assert len(list(out.glob("moondream/results_*"))) == 1


def test_foreign_files_are_not_overwritten(command, real_runs: Path, tmp_path: Path) -> None:
    """A README.md that was there stays as it is and nothing is written; one that an export wrote
    is replaced."""
    out = tmp_path / "hf"
    readme = out / "moondream" / "README.md"
    readme.parent.mkdir(parents=True)
    readme.write_text("mine")
    arguments = ("export", "--format", "hf", "--runs", real_runs, "--out", out, "--dataset", HUB)
    result = command(*arguments)
    assert result.code == 2
    assert "is there already" in result.stderr
    assert [path for path in out.rglob("*") if path.is_file()] == [readme]
    readme.unlink()
    for _ in range(2):
        assert command(*arguments).code == 0
    assert ModelCard.load(readme).data.eval_results[0].dataset_type == HUB


def test_a_run_that_does_not_fit_is_told(command, real_runs: Path, tmp_path: Path) -> None:
    """A run of drawn questions is no result on a data set of the hub."""
    result = command("export", "--format", "hf", "--runs", real_runs, "--out", tmp_path / "hf")
    assert result.code == 2
    assert "--dataset" in result.stderr
    assert not (tmp_path / "hf").exists()
