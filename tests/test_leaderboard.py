"""The leaderboard page: what it says, that nothing in a record can break it, that it reads well."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.types import Value
from harness.metrics.statistics import wilson
from harness.run.records import Counts, MetricInfo, ModelInfo, RunRecord, TaskInfo, former_info
from reports.inputs import runs, sanitize
from reports.inputs.material import Material, RunData
from reports.inputs.paper import load
from reports.page.leaderboard import render as render_material
from reports.tables import paper_rows, results
from reports.tables.table import MISSING
from tests.hostile import HOSTILE, ON_A_PAGE, filled

TOPICS = {"geography": (30, 18), "physics": (20, 7), "us-history": (5, 0), "civics": (4, 3)}
"""Topic -> questions, right answers."""


def share(k: int, n: int) -> Value:
    ends = wilson(k, n)
    return Value(value=k / n, n=n, low=ends.low, high=ends.high)


def choice_run(
    *, name: str = "moondream", title: str = "Moondream", right: int = 0, **parts: Any
) -> RunRecord:
    """A run of 59 of ScienceQA's questions; `right` answers more than TOPICS says."""
    topics = {f"accuracy/{topic}": share(k, n) for topic, (n, k) in TOPICS.items()}
    n = sum(n for n, _ in TOPICS.values())
    k = sum(k for _, k in TOPICS.values()) + right
    record = RunRecord(
        task=TaskInfo(
            name="scienceqa",
            title="ScienceQA",
            split="test",
            source="derek-thomas/ScienceQA",
            revision="main",
            licence="CC BY-NC-SA 4.0",
            unit="image questions",
        ),
        model=ModelInfo(
            name=name,
            title=title,
            size="2B",
            role="student",
            repo="vikhyatk/moondream2",
            revision="2024-07-23",
            weights="a snapshot",
            licence="apache-2.0",
        ),
        fingerprint={"task": "scienceqa", "data": "sha256:12", "weights": "sha256:34"},
        counts=Counts(total=120, filtered={"no image": 61}, available=59, done=59, unparsed=2),
        status="complete",
        metrics={
            "accuracy": share(k, n),
            **topics,
            "chance": Value(value=0.35, n=n),
            "unparsed": share(2, n),
        },
        settings={"style": "direct", "decoding": {"temperature": 0.0}, "dtype": "bfloat16"},
        timing={
            "inference_minutes": 1.5,
            "inference_minutes_definition": "what is summed",
            "timed_samples": 59,
            "seconds_per_sample": {"mean": 1.5, "p50": 1.4, "p90": 2.2, "p99": 3.3},
            "tokens_per_second": 41.0,
            "peak_memory_bytes": {"process": 2**31, "device": None},
            "energy_joules": None,
        },
        environment={"device": "a device", "torch": "2.13.0", "commit": "c0ffee", "dirty": True},
        command=["harness", "eval", "--model", "moondream"],
        sessions=[{"samples": 59}],
    )
    return described(replace(record, **parts))


def described(record: RunRecord) -> RunRecord:
    """The record with a description of its metrics, as one that is read has it."""
    return replace(record, metric_info=record.metric_info or former_info(record.metrics))


def text_run(**parts: Any) -> RunRecord:
    """A scored run of 300 open questions, without BERTScore and without times."""
    reason = "roberta-large is not at hand"
    metrics = {
        "bleu": Value(value=0.0123, n=300, low=0.01, high=0.015, note="tok:13a|smooth:none"),
        "rouge1": Value(value=0.21, n=300, low=0.2, high=0.22),
        "rouge2": Value(value=0.03, n=300),
        "bertscore_f1": Value(value=None, n=300, note=reason),
    }
    record = RunRecord(
        task=TaskInfo(name="vqaonline", title="VQAonline", split="test"),
        model=ModelInfo(name="vilt", title="ViLT"),
        fingerprint={},
        counts=Counts(total=300, available=300, done=300),
        status="complete",
        metrics=metrics,
    )
    return described(replace(record, **parts))


def render(records: Iterable[RunRecord], **options: Any) -> str:
    """The page of records alone, without answers."""
    return render_material(Material(runs=[RunData(record) for record in records]), **options)


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""
        self.raw: dict[str, str] = {}
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("style", "script"):
            self.raw[self.inside] = self.raw.get(self.inside, "") + data
        else:
            self.text += data

    def having(self, attribute: str) -> Iterator[tuple[str, str]]:
        for tag, attributes in self.elements:
            if attribute in attributes:
                yield tag, attributes[attribute] or ""

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Elements and the names of their attributes: what no string of a record may change."""
        return [(tag, tuple(sorted(attributes))) for tag, attributes in self.elements]


@pytest.fixture(scope="module")
def full() -> str:
    return render([choice_run(), choice_run(name="mine", title="Mine", right=5), text_run()])


# What it says


def test_every_cell_of_the_paper_is_printed() -> None:
    """Tables 1 and 2 stand on the page digit by digit, row by row, with the overall accuracy first,
    also where nothing was measured."""
    shown = re.findall(r'<table id="\w+-reported">.*?</table>', render([]), re.DOTALL)
    printed = re.findall(r'<span class="value">([^<]*)</span>', "".join(shown))
    cells: list[str] = []
    for table in load().tables:
        for row in table.rows:
            overall = [row.cells["accuracy"]] if "accuracy" in row.cells else []
            cells += [*overall, *(c for metric, c in row.cells.items() if metric != "accuracy")]
    assert [cell for cell in printed if cell != MISSING] == cells


def test_a_page_without_runs_says_how_to_make_one() -> None:
    """Both tasks name the command, and nothing claims to be measured."""
    text = Page(render([])).text
    assert "Nothing has been measured here yet" in text
    assert "harness eval --model moondream --task scienceqa" in text
    assert "harness eval --model moondream --task vqaonline" in text


def test_measured_figures_have_n_and_interval(full: str) -> None:
    """28 of 59 with Wilson's interval (statsmodels), and a topic with none right."""
    table = results.scores([choice_run()], load().table("scienceqa"))
    (row,) = table.groups[0].rows
    cells = {h.key: cell for h, cell in zip(table.headings, row.cells, strict=True)}
    overall = cells["accuracy"]
    assert (overall.text, overall.interval, overall.n) == ("47.46", "35.3\N{EN DASH}60.0", 59)
    history = cells["accuracy/us-history"]
    assert (history.text, history.interval, history.n) == ("0.00", "0.0\N{EN DASH}43.4", 5)
    assert (cells["other"].text, cells["other"].n) == ("75.00", 4)
    assert "47.46" in full
    assert "59 of 120, image questions · 61 left out: no image · chance 35.0%" in Page(full).text


def test_a_missing_figure_is_a_dash_with_its_reason() -> None:
    """Never 0; a topic that the run lacks, a metric not computed and a time not taken."""
    paper = load()
    metrics = dict(choice_run().metrics)
    del metrics["accuracy/physics"]
    less = choice_run(name="less", title="Less", metrics=metrics, timing={})
    table = results.scores([choice_run(), less], paper.table("scienceqa"))
    row = next(row for row in table.groups[0].rows if row.title == "Less")
    physics = row.cells[[heading.title for heading in table.headings].index("PHY")]
    assert (physics.text, physics.value) == (MISSING, None)
    assert [(finding.kind, finding.reason) for finding in physics.findings] == [
        ("missing", "the run has no question of this topic.")
    ]
    notes = {note.finding.reason: note.where for note in table.notes}
    assert notes["not timed, or not available on that machine."].startswith(
        "Less, Time, s/question"
    )
    table = results.scores([text_run()], paper.table("vqaonline"))
    notes = {note.finding.reason: note.where for note in table.notes}
    assert notes["roberta-large is not at hand."] == "ViLT, Avg F1"
    assert notes["the run has no such metric."] == "ViLT, Avg precision, Avg recall"


def test_columns_are_those_that_some_run_has() -> None:
    """No topic that the data lack, and no time where no run was timed."""
    titles = [h.title for h in results.scores([choice_run()], load().table("scienceqa")).headings]
    assert [title for title in titles if title in ("GEO", "PHY", "BIO", "USH", "Other")] == [
        "GEO",
        "PHY",
        "USH",
        "Other",
    ]
    assert "Time" in titles
    assert "Time" not in [h.title for h in results.scores([text_run()], None).headings]


@pytest.mark.parametrize("number", [5, 10, 14, 57])
def test_topics_are_those_of_the_data(number: int) -> None:
    """The ten largest where there are more; the others together unless they are most; and none of
    the paper's, which these are not."""
    topics = {f"accuracy/subject {n:02}": share(3, 10) for n in range(number)}
    metrics = {"accuracy": share(3 * number, 10 * number), **topics}
    metrics["accuracy/physics"] = share(1, 2)
    paper = load().table("scienceqa")
    table = results.scores([choice_run(metrics=metrics)], paper)
    titles = [heading.title for heading in table.headings if "/" in heading.key]
    shown = titles[: min(number, 10)]
    assert shown == [f"subject {n:02}" for n in range(len(shown))]
    assert ("Other" in [heading.title for heading in table.headings]) == (number in (10, 14))
    whole = results.every_topic([choice_run(metrics=metrics)], paper)
    assert (whole is not None) == (number >= 10)


def test_rows_are_best_first_within_their_questions() -> None:
    """Runs on other questions stand in a group of their own, the largest set first."""
    small = choice_run(name="small", right=20, counts=Counts(total=59, available=58, done=58))
    better = choice_run(name="better", title="Better", right=5)
    table = results.scores([small, choice_run(), better], None)
    assert [[row.run for row in group.rows] for group in table.groups] == [
        ["run:scienceqa:better:test", "run:scienceqa:moondream:test"],
        ["run:scienceqa:small:test"],
    ]


@pytest.mark.parametrize(
    ("counts", "status", "words"),
    [
        (Counts(total=100, available=100, done=100), "complete", "measured"),
        (Counts(total=100, available=100, done=12), "partial", "partial: 12 of 100"),
        (Counts(total=100, available=100, done=100, failed=3), "partial", "measured, 3 failed"),
        (
            Counts(total=5000, available=2017, done=1, failed=1),
            "interrupted",
            "partial: 1 of 2,017, 1 failed, interrupted",
        ),
    ],
)
def test_a_row_says_how_it_came_about(counts: Counts, status: str, words: str) -> None:
    """In words, in the row itself where the rows of its questions differ, or once above them."""
    run = choice_run(counts=counts, status=status)
    assert runs.origin(run) == words
    assert f"chance 35.0% · {words}</span>" in render([run])
    other = choice_run(counts=replace(counts, done=0), name="other", title="Other")
    assert f'<span class="sub">{words}</span>' in render([run, other])


def test_the_rules_run_on_measured_rows() -> None:
    """A share that is no count, and an accuracy below chance, are marked with their reasons."""
    metrics = {**choice_run().metrics, "accuracy": Value(value=0.301, n=59, low=0.2, high=0.34)}
    text = Page(render([choice_run(metrics=metrics)])).text
    assert "No whole number of right answers out of 59 gives 30.10%" in text
    assert "Below chance: 30.10% against 35.00% for random guessing" in text


def test_measured_minus_reported() -> None:
    """28 of 59 against Moondream's 46.20: the interval is that of both Wilson intervals."""
    paper = load().table("scienceqa")
    assert paper is not None
    table = paper_rows.differences([choice_run()], paper)
    assert table is not None
    (row,) = table.groups[0].rows
    # statsmodels.stats.proportion.confint_proportions_2indep(28, 59, 932, 2017, method="newcomb"):
    # -0.1113, 0.1394
    assert (row.cells[0].text, row.cells[0].interval) == ("+1.26", "\N{MINUS SIGN}11.1 to +13.9")
    assert row.cells[1].text == "not significant"
    (finding,) = row.cells[0].findings
    assert finding.reason == "Different questions: 59 here, 2,017 in the paper."


def test_a_model_that_the_paper_lacks_has_no_difference() -> None:
    """Only rows of the same model are subtracted."""
    paper = load().table("scienceqa")
    assert paper is not None
    assert paper_rows.differences([choice_run(name="mine")], paper) is None


def test_figures_by_topic_get_no_column_of_a_metric() -> None:
    """Text metrics by topic stand in a table of topics, every one of them."""
    metrics = {**text_run().metrics, "rouge1/travel": share(1, 4), "rouge1/law": share(2, 5)}
    record = text_run(metrics=metrics)
    keys = [h.key for h in results.scores([record], load().table("vqaonline")).headings]
    assert not [key for key in keys if "/" in key]
    table = results.every_topic([record], load().table("vqaonline"))
    assert table is not None
    assert [row.title for row in table.groups[0].rows] == ["law", "travel"]


def test_another_encoder_is_not_compared_with_the_paper() -> None:
    """A BERTScore that says of itself that it is not comparable is marked, and not subtracted."""
    note = "all-MiniLM-L6-v2_L6; not comparable with roberta-large"
    record = text_run(metrics={"bertscore_f1": Value(value=0.9, n=300, note=note)})
    paper = load().table("vqaonline")
    assert paper is not None
    for table in (results.scores([record], paper), paper_rows.differences([record], paper)):
        assert table is not None
        (row,) = table.groups[0].rows
        place = [heading.key for heading in table.headings].index("bertscore_f1")
        assert any(note in finding.reason for finding in row.cells[place].findings)
    assert row.cells[place].text == MISSING


def test_groups_that_look_alike_are_told_apart() -> None:
    """Data of one name and size with other contents are named by their fingerprints."""
    other = choice_run(name="other", fingerprint={"data": "sha256:99"})
    titles = [g.title for g in results.scores([choice_run(), other], None).groups]
    assert [title.rpartition(" · ")[2] for title in titles] == ["data sha256:12", "data sha256:99"]


def test_details_of_cost_stand_in_the_full_view_alone(full: str) -> None:
    """Tokens per second and memory: heading and cells have its class, which the style hides."""
    table = re.search(r'<table id="scienceqa-measured">.*?</table>', full, re.DOTALL)
    assert table
    headings = re.findall(r'<th scope="col" class=" full".*?<abbr[^>]*>([^<]*)', table[0])
    assert headings == ["tokens/s", "Memory"]
    assert table[0].count('<td class="full"') == 2 * len(headings)


def test_somebodys_own_task_has_a_section() -> None:
    """Metrics that the page does not know are printed as they are, without a reported table."""
    task = TaskInfo(name="mine", title="My task", split="dev")
    record = text_run(task=task, metrics={"wer": Value(value=0.5, n=4)})
    page = Page(render([record]))
    assert "My task" in page.text
    assert ("table", "mine-measured") in set(page.having("id"))
    assert ("table", "mine-reported") not in set(page.having("id"))
    assert "0.5000" in page.text


def test_the_description_of_a_metric_is_all_that_the_page_knows() -> None:
    """Any name is shown by its title, in its unit; the lowest row is first where less is better."""
    task = TaskInfo(name="mine", title="My task", split="dev")
    about = {"wer": MetricInfo(title="Word errors", unit="%", higher_is_better=False)}
    records = [
        choice_run(name=name, title=name, task=task, metric_info=about, metrics={"wer": value})
        for name, value in (
            ("bad", Value(value=0.5, n=4, low=0.25, high=0.75)),
            ("good", Value(value=0.125, n=4, low=0.0, high=0.5)),
        )
    ]
    table = results.scores(records, None)
    assert [row.title for row in table.groups[0].rows] == ["good", "bad"]
    assert table.caption.startswith("Word errors in percent")
    (place,) = [n for n, h in enumerate(table.headings) if h.title == "Word errors"]
    assert (table.headings[place].unit, table.headings[place].best) == ("%", "ascending")
    cell = table.groups[0].rows[0].cells[place]
    assert (cell.text, cell.interval, cell.n) == ("12.50", "0.0–50.0", 4)  # noqa: RUF001  # a dash


def test_topics_without_a_column_are_pooled() -> None:
    """The mean over them, weighted by n; its interval from theirs: 3/4 of a and 1/4 of b, with
    halves 0.3 and 0.4, give sqrt((0.75 * 0.3)^2 + (0.25 * 0.4)^2) = 0.2462."""
    topics = {f"credit/{n}": Value(value=0.5, n=50, low=0.4, high=0.6) for n in range(10)}
    topics |= {
        "credit/a": Value(value=0.4, n=30, low=0.1, high=0.7),
        "credit/b": Value(value=0.8, n=10, low=0.4, high=1.2),
    }
    about = {"credit": MetricInfo(title="Credit", unit="%", scope="sample", interval="bootstrap")}
    metrics = {"credit": Value(value=0.5, n=540), **topics}
    record = choice_run(name="x", metrics=metrics, metric_info=about)
    table = results.scores([record], None)
    (place,) = [n for n, heading in enumerate(table.headings) if heading.title == "Other"]
    cell = table.groups[0].rows[0].cells[place]
    assert (cell.value, cell.n) == (pytest.approx(50.0), 40)
    assert (cell.low, cell.high) == (
        pytest.approx(50 - 24.622, abs=0.01),
        pytest.approx(74.62, abs=0.01),
    )


@pytest.mark.parametrize(
    ("record", "licence"), [(choice_run(), "CC BY-NC-SA 4.0, not"), (text_run(), "CC BY-SA 4.0.")]
)
def test_data_sets_are_attributed_where_they_were_used(record: RunRecord, licence: str) -> None:
    """Whose questions they are, and the licence; nothing where no run used them."""
    assert licence in Page(render([record])).text
    assert licence not in Page(render([])).text


def test_provenance_has_what_a_doubter_wants(full: str) -> None:
    """Fingerprint, versions, commit with its dirty flag, data, weights, the command."""
    text = " ".join(Page(full).text.split())
    for fact in (
        "harness eval --model moondream",
        "commit c0ffee with uncommitted changes",
        "torch 2.13.0",
        "sha256:34",
        "59 of 120, image questions · 61 left out: no image",
        "derek-thomas/ScienceQA · revision main · test split",
        "tok:13a|smooth:none",
        "what is summed",
    ):
        assert fact in text


# Same in, same out


def test_the_same_records_give_the_same_bytes(full: str) -> None:
    """In any order, and without a time of rendering."""
    records = [text_run(), choice_run(name="mine", title="Mine", right=5), choice_run()]
    assert render(records) == full


def test_the_time_comes_from_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where it is set; what is no time is refused by name."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    plain = render([])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert "1970-01-02 00:00 UTC" in render([])
    assert render([], generated="") == plain
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(HarnessError, match="yesterday"):
        render([])


# What a record cannot do


def filled_page(text: str) -> str:
    """A page with `text` in every string of two records; and again in every string but the task's,
    where other tables show it."""
    records = [choice_run(), text_run()]
    filled_ones = [filled(record, text) for record in records]
    known = [
        replace(found, task=record.task, model=replace(found.model, name="vilt"))
        for found, record in zip(filled_ones, records, strict=True)
    ]
    return render([*filled_ones, *known])


@pytest.fixture(scope="module")
def harmless() -> list[Any]:
    """The shapes of the page where a text's section is the first of all and where it is the last."""
    return [Page(filled_page(text)).shape for text in ("A harmless one", "zz harmless")]


@pytest.mark.parametrize("text", ON_A_PAGE, ids=lambda text: ascii(text[:20]))
def test_no_string_of_a_record_changes_the_page(text: str, harmless: list[Any]) -> None:
    """With any string in all fields at once, the page has the elements and attributes that it has
    with a harmless one, and can be written as UTF-8."""
    page = filled_page(text)
    page.encode()
    assert Page(page).shape in harmless


@pytest.mark.parametrize("text", HOSTILE[:8], ids=lambda text: ascii(text[:20]))
def test_titles_of_metrics_are_texts(text: str) -> None:
    """Whatever a record calls its metric, the page has the elements that it has with a plain
    title."""
    assert titled(text) == titled("Credit")


@cache
def titled(title: str) -> list[tuple[str, tuple[str, ...]]]:
    """The shape of a page whose metric has that title."""
    about = MetricInfo(title=title, unit="%", scope="sample", meaning=title)
    return Page(render([choice_run(metric_info={"accuracy": about})])).shape


def test_control_and_bidirectional_characters_are_shown() -> None:
    """By their code points; line breaks as a sign, and joiners, which scripts need, as they are."""
    assert sanitize.text("a\u202eb\x00c\ud800") == "a⟨U+202E⟩b⟨U+0000⟩c⟨U+D800⟩"
    assert sanitize.text("a\nb") == "a ↵ b"
    assert sanitize.text("\u0646\u200c\u0646") == "\u0646\u200c\u0646"


def test_long_text_is_cut_and_says_so() -> None:
    """The page stays small, and tells how much there was."""
    assert sanitize.text("x" * 10_000, limit=5) == "xxxxx … [cut: 5 of 10,000 characters]"
    huge = filled(choice_run(), "x" * 1_000_000)
    assert len(render([huge])) < 600_000


WRONG = ("<b>", None, [], {}, True, float("nan"), float("inf"), -1, 10**400, 1e300)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong)[:8])
def test_a_record_of_wrong_types_still_renders(wrong: Any) -> None:
    """Whatever stands where a number, a list or a mapping belongs, the page is made and stays
    sound."""
    data = choice_run().to_json()
    for part in ("task", "model", "counts"):
        data[part] = dict.fromkeys(data[part], wrong)
    data["metrics"] = {
        name: dict.fromkeys(("value", "n", "low", "high", "note"), wrong)
        for name in data["metrics"]
    }
    for part in (
        "fingerprint",
        "status",
        "settings",
        "timing",
        "environment",
        "command",
        "sessions",
    ):
        data[part] = wrong
    page = Page(render([RunRecord.from_json(data, label="a file")]))
    assert ("b", ()) not in page.shape
    nested = choice_run(timing={"seconds_per_sample": wrong, "timed_samples": wrong})
    assert Page(render([nested])).text


@pytest.mark.parametrize(
    ("repo", "revision", "url"),
    [
        ("vikhyatk/moondream2", None, "https://huggingface.co/vikhyatk/moondream2"),
        ("a/b.c-d", "v1.0", "https://huggingface.co/a/b.c-d/tree/v1.0"),
        ("a/b", "refs/pr/1", "https://huggingface.co/a/b"),
        ("a/..", None, None),
        ("../b", None, None),
        ("a/b/c", None, None),
        ("a/b?x=1", None, None),
        ("a/b\n", None, None),
        ("javascript:alert(1)", None, None),
        ("", None, None),
        (None, None, None),
        (["a/b"], None, None),
    ],
)
def test_links_lead_to_repositories_and_nowhere_else(
    repo: object, revision: object, url: str | None
) -> None:
    """An address is built from a well-formed id, never taken from a record."""
    assert sanitize.hub_url(repo, revision) == url


def test_a_folder_is_not_taken_for_a_repository() -> None:
    """A data source that looks like an id is linked only where it is the task's own data set."""
    task = replace(choice_run().task, source="data/questions")
    links = [url for _, url in Page(render([choice_run(task=task)])).having("href")]
    assert not any("data/questions" in url for url in links)


# What the page is made of


def test_nothing_is_loaded_from_anywhere(full: str) -> None:
    """No source, no stylesheet, no import, no address but that of a link to follow, or of a file that
    the page holds itself."""
    page = Page(full)
    for attribute in ("src", "srcset", "data", "action", "background", "poster", "ping"):
        assert not list(page.having(attribute))
    for tag, url in page.having("href"):
        assert tag == "a"
        assert url.startswith(("#", "https://huggingface.co/", "data:"))
    assert "url(" not in page.raw["style"]
    assert "@import" not in page.raw["style"]


def test_the_policy_allows_this_style_and_this_script_only(full: str) -> None:
    """The hashes are those of the inline elements, and nothing is inline besides."""
    page = Page(full)
    policy = next(
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    for element in ("style", "script"):
        digest = base64.b64encode(sha256(page.raw[element].encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
        assert [tag for tag, _ in page.elements].count(element) == 1
    assert policy.startswith("default-src 'none';")
    names = {name for _, attributes in page.elements for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


def test_links_within_the_page_have_their_targets(full: str) -> None:
    """Every id is there once, and every fragment and label points to one."""
    page = Page(full)
    ids = [name for _, name in page.having("id")]
    assert len(ids) == len(set(ids))
    pointed = {url[1:] for _, url in page.having("href") if url.startswith("#")}
    pointed |= {name for _, name in page.having("aria-labelledby")}
    assert pointed <= set(ids)


def test_tables_are_marked_up_as_tables(full: str) -> None:
    """Each has a caption; each heading says what it heads; each box can be reached by keyboard."""
    page = Page(full)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") > 5
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    boxes = [a for _, a in page.elements if a.get("class") == "box"]
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in boxes)
    assert [a["lang"] for tag, a in page.elements if tag == "html"] == ["en"]


@cache
def colours() -> dict[str, tuple[str, str]]:
    """Name -> (light, dark) of the style sheet's colours."""
    style = Page(render([])).raw["style"]
    found = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", style)
    return {name: (light, dark) for name, light, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["ground", "raised", "head"])
@pytest.mark.parametrize(
    "ink",
    ["ink", "soft", "accent", "wrong", "doubt", "teacher", "student", "distilled", "baseline"],
)
def test_text_stands_out_from_its_ground(ink: str, ground: str, theme: int) -> None:
    """At least 4.5 to 1 in both themes (WCAG 2.2, AA)."""
    palette = colours()
    low, high = sorted((luminance(palette[ink][theme]), luminance(palette[ground][theme])))
    assert (high + 0.05) / (low + 0.05) >= 4.5


# In a real browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")

DRIVER = """<!doctype html><meta charset="utf-8"><body><pre id="result"></pre><script>
const results = [];
const look = (content, script) => new Promise((resolve) => {{
  const frame = document.createElement("iframe");
  Object.assign(frame, {{ width: 1280, height: 900 }});
  frame.onload = async () => {{
    results.push(await script(frame, frame.contentDocument, frame.contentWindow));
    frame.remove();
    resolve();
  }};
  frame.srcdoc = content;
  document.body.append(frame);
}});
(async () => {{
  {looks}
  document.getElementById("result").textContent = JSON.stringify(results);
}})();
</script>"""


def browse(url: str, folder: Path) -> tuple[str, str]:
    """The page at `url` as the browser has it in the end, and what the console said."""
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=2000",
            "--dump-dom",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    return done.stdout, "\n".join(x for x in done.stderr.splitlines() if ":CONSOLE" in x)


def in_browser(folder: Path, *looks: tuple[str, str]) -> tuple[list[Any], str]:
    """What each script returns of its page in a frame 1280 px wide, and what the console said.

    The frame has the page's own policy; the script runs outside of it.
    """
    calls = []
    for page, script in looks:
        content = json.dumps(page).replace("<", "\\u003c")
        calls.append(f"await look({content}, async (frame, page, view) => {{ {script} }});")
    driver = folder / "driver.html"
    driver.write_text(DRIVER.format(looks="\n".join(calls)), encoding="utf-8")
    dumped, console = browse(driver.as_uri(), folder)
    result = re.search(r'<pre id="result">(.+?)</pre>', dumped, re.DOTALL)
    assert result, console
    return json.loads(Page(result[1]).text), console


@browser
def test_the_console_would_have_told(full: str, tmp_path: Path) -> None:
    """The control: a style attribute, which the policy forbids, is seen on the console."""
    page = full.replace("<h1>", '<h1 style="color: red">')
    _, console = in_browser(tmp_path, (page, "return 0"))
    assert "Content Security Policy" in console


WIDTHS = """
return [320, 400, 1280].map((width) => {
  frame.width = width;
  const { clientWidth, scrollWidth } = page.documentElement;
  return [view.innerWidth, scrollWidth - clientWidth];
});
"""
THEME = """
const select = page.querySelector("#controls select");
return ["light", "dark"].map((theme) => {
  select.value = theme;
  select.dispatchEvent(new view.Event("change"));
  return view.getComputedStyle(page.body).backgroundColor;
});
"""
SORT = """
const table = page.getElementById("scienceqa-measured");
const heading = [...table.tHead.rows[0].cells].find((c) => c.textContent.includes("%s"));
const order = () => [...table.tBodies[0].rows].slice(1)
  .map((row) => row.cells[0].querySelector(".model").textContent);
const seen = [[heading.getAttribute("aria-sort"), order()]];
for (let click = 0; click < 2; click += 1) {
  heading.querySelector("button").click();
  seen.push([heading.getAttribute("aria-sort"), order()]);
}
const sorted = table.querySelectorAll("[aria-sort]").length;
return [seen, sorted, page.getElementById("status").textContent];
"""


@pytest.fixture(scope="module")
def looked_at(full: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser that is started once finds in several pages."""
    metrics = dict(choice_run().metrics)
    del metrics["accuracy/physics"]
    less = render([choice_run(), choice_run(name="none", title="None", metrics=metrics)])
    looks = {
        "widths": (full, WIDTHS),
        "widths of hostile names": (render([filled(choice_run(), "W" * 10_000)]), WIDTHS),
        "sorted": (full, SORT % "Overall"),
        "sorted with a figure missing": (less, SORT % "PHY"),
        "theme": (full, THEME),
    }
    found, console = in_browser(tmp_path_factory.mktemp("browser"), *looks.values())
    return {**dict(zip(looks, found, strict=True)), "console": console}


@browser
def test_the_console_is_silent(looked_at: dict[str, Any]) -> None:
    """While pages are shown, sorted, made narrow and dark."""
    assert looked_at["console"] == ""


@browser
@pytest.mark.parametrize("page", ["widths", "widths of hostile names"])
def test_the_page_does_not_scroll_sideways(looked_at: dict[str, Any], page: str) -> None:
    """At the width of a phone and of a desk, wide tables scroll in their own boxes, whatever the
    names in them."""
    assert looked_at[page] == [[320, 0], [400, 0], [1280, 0]]


@browser
def test_tables_are_sorted_by_their_headings(looked_at: dict[str, Any]) -> None:
    """A heading is a button; the order is announced, on one heading at a time."""
    seen, sorted_headings, status = looked_at["sorted"]
    assert seen == [
        ["descending", ["Mine", "Moondream"]],
        ["ascending", ["Moondream", "Mine"]],
        ["descending", ["Mine", "Moondream"]],
    ]
    assert sorted_headings == 1
    assert status == "Sorted by Overall, descending"


@browser
def test_missing_figures_stay_last(looked_at: dict[str, Any]) -> None:
    """In either direction: a dash is neither the best nor the worst."""
    seen, _, _ = looked_at["sorted with a figure missing"]
    assert [order for _, order in seen[1:]] == [["Moondream", "None"]] * 2


@browser
def test_the_theme_is_chosen_by_hand(looked_at: dict[str, Any]) -> None:
    """Light and dark, each with its own ground, whatever the system prefers."""
    assert looked_at["theme"] == ["rgb(251, 250, 247)", "rgb(20, 23, 29)"]


@browser
@pytest.mark.process
def test_a_link_to_a_run_opens_it(full: str, tmp_path: Path) -> None:
    """The provenance that an address points to is open when the page comes up, and no other."""
    page = tmp_path / "page.html"
    page.write_text(full, encoding="utf-8")
    dumped, console = browse(f"{page.as_uri()}#run:scienceqa:mine:test", tmp_path)
    opened = [a["id"] for tag, a in Page(dumped).elements if tag == "details" and "open" in a]
    assert opened == ["provenance", "run:scienceqa:mine:test"]
    assert console == ""
