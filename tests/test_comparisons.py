"""The page's comparisons: pairs, ranks, topics and other extractors, read back from its tables."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.core.types import Metric, Prediction
from harness.extract import EXTRACTORS
from harness.run.compare import compare
from harness.run.folder import RunFolder
from harness.run.records import Counts, ModelInfo, TaskInfo
from harness.run.rescoring import rescore
from harness.run.verdicts import probability
from reports.inputs import discovery as reporting
from reports.inputs.material import Material, RunData
from reports.inputs.metrics import formats
from reports.inputs.paper import load
from reports.inputs.runs import compare_id, run_id, title
from reports.page.leaderboard import render
from reports.page.sections import TaskSection, sections
from reports.page.summary import summary
from reports.statistics import answers as answers_module
from reports.statistics.answers import MAX_SCORED, Answers, chosen, read
from reports.statistics.ranks import Pair
from reports.tables.heatmap import HEAT, PERCENT, POINTS
from tasks import load_task
from tests import league, made_up
from tests.test_leaderboard import Page, choice_run, colours, luminance, text_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up models on 200 questions; not to be written to."""
    folder = tmp_path_factory.mktemp("league") / "runs"
    league.write(folder, questions=200)
    return folder


@pytest.fixture(scope="module")
def material(runs: Path) -> Material:
    return reporting.gather(runs)[0]


@pytest.fixture(scope="module")
def known(material: Material) -> dict[str, Answers]:
    return {found.run: found for run in material.runs if (found := read(run))}


@pytest.fixture(scope="module")
def science(material: Material, known: dict[str, Answers]) -> TaskSection:
    return sections(material.records, known)[0]


@pytest.fixture(scope="module")
def page(material: Material) -> str:
    return render(material)


class Tables(HTMLParser):
    """Every table of a page: id -> rows of the texts of their cells."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] | None = None
        self.cell = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.rows = self.found.setdefault(dict(attrs).get("id") or "", [])
        elif self.rows is not None and tag == "tr":
            self.rows.append([])
        elif self.rows and tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.rows = None
        if tag in ("td", "th"):
            self.cell = False

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and self.cell:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())


def folder(runs: Path, model: str, task: str = "scienceqa") -> RunFolder:
    return RunFolder.of(runs, task=task, model=model, split="test")


# Pairs and ranks


def test_every_pair_is_what_harness_compare_says(page: str, runs: Path) -> None:
    """Difference, interval, counts and p of each of the 28 pairs, read back from the page."""
    headings, *rows = Tables(page).found["scienceqa-1-pairs"]
    titles = {
        record.model.title: record.model.name
        for name in (p.parent.name for p in (runs / "scienceqa").glob("*/test"))
        if (record := folder(runs, name).read_record())
    }
    assert len(rows) == len(titles) * (len(titles) - 1) / 2 == 28
    for row in rows:
        first, second = row[0].split(" vs. ")
        found = compare(folder(runs, titles[second]), folder(runs, titles[first]))
        d = found.decisive
        shown, low, high = re.findall(r"[+\N{MINUS SIGN}]?\d+\.\d+", row[1])[:3]
        minus = str.maketrans("\N{MINUS SIGN}", "-")
        assert float(shown.translate(minus)) == pytest.approx(100 * d.difference, abs=0.005)
        assert float(low.translate(minus)) == pytest.approx(100 * d.low, abs=0.05)
        assert float(high.translate(minus)) == pytest.approx(100 * d.high, abs=0.05)
        assert headings[1].endswith(f"n {found.n}")
        assert [int(count) for count in row[3:5]] == [found.only_second, found.only_first]
        assert sum(int(count) for count in row[3:7]) == found.n
        assert d.p is not None
        assert row[7] == probability(d.p)


def test_the_matrix_mirrors_itself(science: TaskSection) -> None:
    """Each cell is the other one's opposite, with the counts the other way round."""
    matrix = science.run_groups[0].matrix
    assert matrix is not None
    rows = matrix.groups[0].rows
    for i, row in enumerate(rows):
        assert row.cells[i].text == ""
        for j, cell in enumerate(row.cells[:i]):
            other = rows[j].cells[i]
            assert cell.value == pytest.approx(-(other.value or 0))
            assert cell.also.split(" : ") == other.also.split(" : ")[::-1]
            assert cell.link == other.link
            assert {cell.tone, other.tone} in ({"gain2", "loss2"}, {"even"})


def test_every_cell_of_the_matrix_leads_to_its_row(page: str) -> None:
    """Without a script: the row of that pair, with all counts, has the id that is linked to."""
    found = Page(page)
    ids = {name for _, name in found.having("id")}
    links = {url for _, url in found.having("href") if url.startswith("#compare=")}
    assert len([url for url in links if "run:scienceqa:" in url]) == 28
    assert {url[1:] for url in links} <= ids
    assert compare_id("b", "a") == compare_id("a", "b") == "compare=a,b"


def test_the_rank_follows_from_the_pairs(science: TaskSection) -> None:
    """1 + those certainly better to the number of runs less those certainly worse, per row."""
    peers, scores = science.run_groups[0], science.scores
    assert peers.tests is not None
    assert scores is not None
    assert scores.headings[0].key == "rank"
    for row in scores.groups[0].rows:
        better = sum(p.better is not None and p.better != row.run for p in pairs_of(peers, row.run))
        worse = sum(p.better == row.run for p in pairs_of(peers, row.run))
        places = {str(1 + better), str(len(peers.runs) - worse)}
        assert set(row.cells[0].text.split("\N{EN DASH}")) == places


def pairs_of(peers: Any, name: str) -> list[Pair]:
    return [pair for pair in peers.tests.pairs if name in (pair.first, pair.second)]


def test_text_answers_are_compared_by_rouge_l(page: str, runs: Path) -> None:
    """As harness compare does; the same difference, and no counts of right answers."""
    rows = Tables(page).found["vqaonline-1-pairs"]
    assert rows[0][1].startswith("Difference ROUGE-L")
    assert len(rows) == 1 + 3
    first, second = (folder(runs, name, "vqaonline") for name in ("llava-next", "llava-cot"))
    row = next(row for row in rows if row[0] == "LLaVA-CoT vs. LLaVA-NeXT")
    expected = compare(first, second).decisive
    assert float(row[1].split()[0]) == pytest.approx(expected.difference, abs=5e-5)


def test_one_run_has_no_rank() -> None:
    """There is nobody to be better than: no column, no pairs."""
    text = render(Material(runs=[RunData(choice_run())]))
    assert ">Rank<" not in Tables(text).found["scienceqa-measured"][0]
    assert "Pairwise tests" not in Page(text).text


def test_runs_on_other_questions_are_never_paired(material: Material, runs: Path) -> None:
    """A run of other questions with the same ids stands in a group of its own, without a rank."""
    one = material.runs[0]
    other = replace(one.record, model=replace(one.record.model, name="other", title="Other"))
    other = replace(other, counts=Counts(total=99, available=99, done=99))
    asked = [replace(p, question=f"{p.question} And why?") for p in one.predictions()]
    more = replace(
        material, runs=[*material.runs, replace(one, record=other, predictions=lambda: asked)]
    )
    found = {a.run: a for run in more.runs if (a := read(run))}
    section = sections(more.records, found)[0]
    assert [len(peers.runs) for peers in section.run_groups] == [8, 1]
    assert section.run_groups[1].tests is None


# Other extractors


def test_other_extractors_give_what_rescoring_gives(page: str, tmp_path: Path) -> None:
    """The accuracies that `harness rescore` computes of the same outputs, for every extractor."""
    runs = tmp_path / "runs"
    league.write(runs, questions=60)
    table = Tables(render(reporting.gather(runs)[0])).found["scienceqa-extractors"]
    row = next(row for row in table if row[0].startswith("Moondream-kd 2B · distilled"))
    for extractor, cell in zip(EXTRACTORS, row[1:], strict=True):
        record = rescore(
            folder(runs, "moondream-kd"), load_task("scienceqa"), extractor=extractor
        ).record
        accuracy, unparsed = record.metrics["accuracy"], record.metrics["unparsed"]
        assert cell.startswith(f"{100 * (accuracy.value or 0):.2f} ")
        assert f"unparsed {100 * (unparsed.value or 0):.1f}%" in cell


def answered(raw: str, *, order: tuple[int, ...] = ()) -> Prediction:
    return Prediction(
        sample_id="1",
        raw=raw,
        answer=2,
        rule="letter",
        scores={"accuracy": 1.0},
        target=2,
        choices=("x", "y", "z"),
        order=order,
    )


def test_shuffled_options_are_read_in_the_order_in_which_they_were_asked() -> None:
    """C was asked as A: a text that says A is right, by every extractor that parses it."""
    found = read(RunData(choice_run(), lambda: [answered("A", order=(2, 0, 1))]))
    assert found is not None
    by_name = {each.extractor: each for each in found.by_extractor}
    assert [by_name[name].right for name in ("ours", "paper-base", "lmms-eval")] == [1, 1, 1]
    assert by_name["paper-kd"].unparsed == 1
    assert [each.changed for each in found.by_extractor] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    "parts",
    [
        {"settings": {"mode": "loglikelihood"}},
        {"settings": {"conclude": True}},
        {"fingerprint": {"extractor": "paper-base"}},
    ],
    ids=str,
)
def test_what_our_extractor_did_not_find_is_not_extracted_again(parts: dict[str, Any]) -> None:
    """There is no text in which an answer stands, or the run is itself a second reading."""
    found = read(RunData(choice_run(**parts), lambda: [answered("C")]))
    assert found is not None
    assert found.by_extractor == ()


def test_failed_questions_are_in_no_comparison() -> None:
    """Neither right nor wrong; a run of failures only has no answers."""
    failed = replace(answered(""), answer=None, error="a broken picture")
    assert read(RunData(choice_run(), lambda: [failed])) is None
    found = read(RunData(choice_run(), lambda: [failed, replace(answered("C"), sample_id="2")]))
    assert found is not None
    assert dict(found.scored.scores) == {"2": 1.0}


def test_large_runs_are_compared_on_the_same_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that does not depend on order or on what else there is, and says how large it is."""
    monkeypatch.setattr(answers_module, "MAX_SCORED", 5)
    made = [replace(answered("C"), sample_id=str(place)) for place in range(40)]
    first = {p.sample_id for p in chosen(made)}
    assert len(first) == 5
    assert {p.sample_id for p in chosen(made[::-1])} == first
    assert first <= {p.sample_id for p in chosen([p for p in made if p.sample_id != "x"])}
    assert MAX_SCORED > 4241


# Topics


def test_tints_follow_the_figures() -> None:
    """Eight steps from 0 to 100; differences by 1, 5, 10 and 20 points, either way."""
    assert [PERCENT.tone(value) for value in (0, 12.4, 12.5, 99, 100)] == [
        "heat0",
        "heat0",
        "heat1",
        "heat7",
        "heat7",
    ]
    assert [POINTS.tone(value) for value in (-20, -5.5, -0.9, 0, 1, 12, 99)] == [
        "loss4",
        "loss2",
        "even",
        "even",
        "gain1",
        "gain3",
        "gain4",
    ]
    assert [tone for tone, _ in PERCENT.legend] == list(HEAT)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    "tint", [name for name in colours() if name[:4] in ("heat", "gain", "loss")]
)
def test_figures_stand_out_from_their_tints(tint: str, theme: int) -> None:
    """At least 4.5 to 1 in both themes: what stands on a tint is in the colour of ink."""
    palette = colours()
    low, high = sorted((luminance(palette["ink"][theme]), luminance(palette[tint][theme])))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_there_are_sixteen_tints() -> None:
    """The test above would pass on none."""
    assert len([name for name in colours() if name[:4] in ("heat", "gain", "loss")]) == 16


def test_differences_by_topic_are_those_of_the_two_accuracies(science: TaskSection) -> None:
    """The second view is the first one's row less that of the student, topic by topic."""
    absolute, against = science.run_groups[0].heatmaps
    assert against.title == "Minus Moondream"
    rows = {row.title: row.cells for row in absolute.table.groups[0].rows}
    for row in against.table.groups[0].rows:
        for cell, own, student in zip(row.cells, rows[row.title], rows["Moondream"], strict=True):
            assert cell.value == pytest.approx((own.value or 0) - (student.value or 0))
            assert cell.n == own.n


# The summary


def said(material: Material) -> dict[str, str]:
    found = {a.run: a for run in material.runs if (a := read(run))}
    questions = summary(sections(material.records, found), [], load())
    return {
        question.text: " ".join(
            f"[{part.lead}] {part.verdict} {part.text}" for part in question.answer
        )
        for question in questions
    }


def test_the_summary_answers_from_the_paper_where_nothing_was_measured() -> None:
    """Which figures cannot be right, by name; who is best; what distillation gained."""
    found = said(Material())
    wrong = found["Which numbers of the paper cannot be right?"]
    assert "None is impossible. Not of our n: ViLT CHE 42.35, ViLT Overall 35.91." in wrong
    assert "LLaVA-CoT Avg F1 0.8840 cannot be right." in wrong
    assert "ViLT ROUGE1 0.0020 = ROUGE2 0.0020" in wrong
    assert (
        "Phi-3.5-vision-instruct, Overall 81.71%."
        in found["Which model is best, and is the difference significant?"]
    )
    gained = found["What did distillation gain, and what did it lose?"]
    assert "+7.34 points, from 46.20% to 53.54%." in gained
    assert "most in geography (+12.66); lower in US history (\N{MINUS SIGN}1.19)" in gained
    assert "Fastest: ViLT (about 0.09 s). " in found["How long does a question take?"]
    assert "Moondream-kd (about 8.3 s)" in found["How long does a question take?"]


def test_the_summary_gives_the_rank_of_the_best(material: Material, runs: Path) -> None:
    """By the rank of the best run; against the next, with the p-value after Holm."""
    best = said(material)["Which model is best, and is the difference significant?"]
    assert "[ScienceQA] Phi-3.5-vision-instruct, accuracy " in best or "LLaVA-CoT, accuracy" in best
    names = ("phi-3.5", "vilt")
    apart = replace(material, runs=[r for r in material.runs if r.record.model.name in names])
    assert "(rank 1). " in said(apart)["Which model is best, and is the difference significant?"]
    pace = said(apart)["How long does a question take?"]
    assert "Most accurate: Phi-3.5-vision-instruct (" in pace
    assert " per question). Fastest: ViLT (" in pace
    alike = [r for r in material.runs if r.record.model.name == "moondream"]
    twin = replace(alike[0].record, model=replace(alike[0].record.model, name="twin", title="Twin"))
    same = replace(material, runs=[alike[0], replace(alike[0], record=twin)])
    words = said(same)["Which model is best, and is the difference significant?"]
    assert "(ranks 1\N{EN DASH}2: not separable). " in words


def test_the_evidence_leads_to_the_questions_that_decide(
    material: Material, science: TaskSection
) -> None:
    """The section of a task says what its first line rests on, and leads to the first two runs;
    without a script, to their row among all pairs."""
    page = Page(render(material))
    first, second = map(run_id, science.run_groups[0].runs[:2])
    links = [a["href"] for tag, a in page.elements if tag == "a" and "href" in a]
    ids = [name for _, name in page.having("id")]
    assert f"#{compare_id(first, second)}" in links
    assert compare_id(first, second) in ids
    assert "The questions that decide it" in page.text


def test_the_summary_in_short_has_five_answers(material: Material) -> None:
    """What is measured, at most three tasks each; what the paper says only where nothing is."""
    measured = {found.record.task.name for found in material.runs}
    answers = {found.run: found for run in material.runs if (found := read(run))}
    asked = summary(sections(material.records, answers), [], load())
    assert [each.lead for each in asked] == [
        "Best",
        "Distillation",
        "Teacher",
        "Speed",
        "The paper",
    ]
    assert len(asked[0].in_short) == len(measured)
    assert not any(part.is_printed for part in asked[0].in_short)
    assert all(part.is_printed for part in asked[1].in_short)
    twenty = replace(asked[0], answer=asked[0].answer[:1] * 20)
    assert (len(twenty.in_short), twenty.more) == (3, 17)


def test_many_tasks_are_summed_up(known: dict[str, Answers], material: Material) -> None:
    """In how many tasks a best model is certain, which ones, and no list of all tasks."""
    (science, *_) = sections(material.records, known)
    best = science.run_groups[0].runs[0].model.title
    asked = summary([science] * 5, [], load())[0]
    (total,) = asked.in_short
    assert science.run_groups[0].tests is not None
    certain = science.run_groups[0].tests.ranks[run_id(science.run_groups[0].runs[0])].certain
    assert (total.lead, total.link, asked.more) == ("5 tasks", "#models", 0)
    assert total.verdict == (
        f"A certain best in 5: {best} (5 tasks)." if certain else "No task has a certain best."
    )


def test_the_summary_says_what_one_run_can_say() -> None:
    """No rank, no comparison, and what guessing would get."""
    found = said(Material(runs=[RunData(choice_run())]))
    best = found["Which model is best, and is the difference significant?"]
    assert "Moondream, accuracy 47.46% (the only run on these questions)." in best
    assert "chance 35.0%" in best
    pace = found["How long does a question take?"]
    assert "Most accurate and fastest: Moondream (1.4 s per question). Medians" in pace


# Miniatures


def mini(name: str = "moondream-mini", **parts: Any) -> Any:
    record = choice_run(**parts)
    return replace(
        record,
        task=TaskInfo(name="scienceqa-mini", title="ScienceQA-mini", split="test", synthetic=True),
        model=ModelInfo(name=name, title="Moondream-mini", role="student", mini=True),
    )


def test_miniatures_say_so_wherever_their_scores_stand() -> None:
    """In headings and groups, and in their names; and nothing is subtracted from the paper's."""
    text = Page(render(Material(runs=[RunData(mini())]))).text
    flat = " ".join(text.split())
    assert "ScienceQA-mini mini (synthetic)" in flat
    assert "mini (synthetic) · test split" in flat
    assert "ScienceQA-mini Moondream-mini, accuracy" in flat
    assert "For reference, not comparable: Table 1 of the paper" in flat
    assert "measured here and reported" not in flat


def test_a_miniature_has_the_papers_columns_and_names_who_is_missing() -> None:
    """The topics of Table 1; one line for the models without a run; the paper's rows stand once."""
    page = render(Material(runs=[RunData(mini())]))
    tables = Tables(page).found
    measured = tables["scienceqa-mini-measured"]
    known = [title.split()[0] for title in measured[0]]
    assert [title for title in known if title in ("GEO", "PHY", "USH")] == ["GEO", "PHY", "USH"]
    assert [row[0].split()[0] for row in measured[2:]] == ["Moondream-mini"]
    (told,) = re.findall(r"Not measured: ([^<]*)\.", page)
    assert len(told.split(", ")) == 6
    assert all(name.endswith("-mini") for name in told.split(", "))
    assert [name for name in tables if name.endswith("-reported")] == [
        "scienceqa-reported",
        "vqaonline-reported",
    ]
    assert len([row for row in tables["scienceqa-reported"] if len(row) > 5]) == 8


def test_table_2_has_a_dash_for_the_row_that_the_paper_lacks() -> None:
    """Moondream-kd, with the reason; six rows are printed."""
    text = render(Material(runs=[RunData(text_run())]))
    rows = Tables(text).found["vqaonline-reported"]
    (row,) = [row for row in rows if row[0].startswith("Moondream-kd")]
    assert {cell.split()[0] for cell in row[1:]} == {"\N{EM DASH}"}
    assert "the paper has no such row" in Page(text).text


def test_real_and_mini_runs_never_share_a_group() -> None:
    """A miniature asked the real questions is still a miniature."""
    real = choice_run()
    small = replace(real, model=replace(real.model, name="m", title="M", mini=True))
    (section, *_) = sections([real, small])
    assert [len(peers.runs) for peers in section.run_groups] == [1, 1]
    assert section.scores is not None
    assert [group.title.startswith("mini (synthetic)") for group in section.scores.groups].count(
        True
    ) == 1


def test_a_miniature_is_never_set_against_the_papers_model_of_its_name() -> None:
    """No difference is taken and no diamond drawn, on whichever questions; the real one has both."""
    real = choice_run()
    small = replace(real, model=replace(real.model, mini=True))
    for record, there in ((real, True), (small, False)):
        assert title(record) == ("Moondream" if there else "Moondream-mini")
        page = render(Material(runs=[RunData(record)]))
        assert ("scienceqa-difference" in Tables(page).found) is there
        assert (page.count('class="reported"') > 2) is there  # two stand in the explanations


def test_a_record_can_be_saved_as_json() -> None:
    """The one behind a row, as it is, in a file within the page."""
    record = choice_run()
    found = Page(render(Material(runs=[RunData(record)])))
    (url,) = [a["href"] for _, a in found.elements if a.get("download") == "run.json"]
    text = base64.b64decode(str(url).partition("base64,")[2])
    assert json.loads(text) == json.loads(json.dumps(record.to_json()))


def test_ids_are_those_of_the_runs() -> None:
    """A pair's row is found by the ids of its two runs."""
    assert run_id(choice_run()) == "run:scienceqa:moondream:test"


# Metrics that nothing here names


def shown(metric: Metric, folder: Path) -> TaskSection:
    """The section of three models that are scored by this metric, and by no other."""
    runs = made_up.write(folder, metric)
    answers = {found.run: found for run in runs if (found := read(run))}
    return next(s for s in sections([r.record for r in runs], answers) if s.name == "madeup")


@pytest.fixture(
    scope="module",
    params=[made_up.GRADED, made_up.LOWER, made_up.CORPUS, made_up.GROUPS],
    ids=lambda metric: metric.name,
)
def scored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Metric, TaskSection, Path]:
    folder = tmp_path_factory.mktemp("made-up")
    return request.param, shown(request.param, folder), folder


def test_any_metric_has_a_column(scored: tuple[Metric, TaskSection, Path]) -> None:
    """With its title, unit, n, interval and topics; the best run on top, whichever way is best."""
    metric, section, _ = scored
    table = section.scores
    assert table is not None
    (heading,) = [h for h in table.headings if h.key == metric.name]
    assert (heading.title, heading.unit) == (metric.title, metric.unit)
    assert heading.best == ("descending" if metric.higher_is_better else "ascending")
    assert table.sorted_by == metric.name
    rows = table.groups[0].rows
    assert [row.title for row in rows] == ["Strong", "Student", "Weak"]
    place = [h.key for h in table.headings].index(metric.name)
    n = {"credit": 59, "circular": 15}.get(metric.name, 60)
    assert [row.cells[place].n for row in rows] == [n] * 3
    assert all(row.cells[place].interval for row in rows)
    assert {f"{metric.name}/{topic}" for topic in ("signs", "food", "sports")} <= {
        h.key for h in table.headings
    }


def test_any_metric_is_ranked_and_tested(scored: tuple[Metric, TaskSection, Path]) -> None:
    """The strong model has rank 1 and is named better than the weak one, by that metric."""
    metric, section, _ = scored
    (group,) = section.run_groups
    assert group.metric is not None
    assert group.tests is not None
    assert group.pairs is not None
    assert group.metric.title == metric.title
    strong, weak = (f"run:madeup:{name}:test" for name in ("strong", "weak"))
    pair = group.tests.pair(weak, strong)
    assert pair is not None
    assert pair.better == strong
    assert group.tests.ranks[strong].best == 1
    assert group.pairs.headings[0].best == (
        "descending" if metric.higher_is_better else "ascending"
    )
    words = [row.cells[1].text for row in group.pairs.groups[0].rows]
    assert words[1] == "Strong is better"


def test_any_metric_has_a_heat_map(scored: tuple[Metric, TaskSection, Path]) -> None:
    """Strong tints are good ones; the differences from the student are gains where better."""
    metric, section, _ = scored
    heat, change = section.run_groups[0].heatmaps
    assert heat.title == metric.title
    assert change.title == "Minus Student"
    strong, _, weak = heat.table.groups[0].rows
    assert strong.cells[0].tone > weak.cells[0].tone
    better, worse = (row.cells[0].tone for row in change.table.groups[0].rows)
    assert better.startswith("gain")
    assert worse.startswith("loss")
    assert [tone for tone, _ in heat.legend] == list(HEAT)


def test_any_metric_is_drawn_and_told(scored: tuple[Metric, TaskSection, Path]) -> None:
    """The trade-off has its title, and the summary its figure with the unit."""
    metric, section, folder = scored
    chart = section.run_groups[0].charts[0]
    assert chart.title == metric.title
    assert [point.name for point in chart.points if point.leads] == ["Strong", "Student"]
    (best, *_) = summary([section], [], load())[0].answer
    record = folder_of(folder, "strong")
    value = record.metrics[metric.name].value
    assert value is not None
    figure = f"{value * 100:.2f}%" if metric.unit == "%" else f"{value:.4f}"
    assert best.verdict.startswith(f"Strong, {metric.title[0].lower()}") or metric.title in (
        best.verdict
    )
    assert figure in best.verdict


def folder_of(runs: Path, model: str) -> Any:
    return folder(runs, model, task="madeup").existing_record()


def test_a_graded_pair_is_what_harness_compare_says(tmp_path: Path) -> None:
    """Difference, interval and p, over the same groups of questions."""
    section = shown(made_up.GRADED, tmp_path)
    (group,) = section.run_groups
    assert group.tests is not None
    pair = group.tests.pair("run:madeup:weak:test", "run:madeup:student:test")
    found = compare(folder(tmp_path, "weak", "madeup"), folder(tmp_path, "student", "madeup"))
    assert pair is not None
    assert pair.difference is not None
    for field in ("difference", "low", "high", "n", "p"):
        assert getattr(pair.difference, field) == pytest.approx(getattr(found.decisive, field))


def test_answers_with_scores_are_all_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only texts that an older version did not score are so many that a part must do."""
    monkeypatch.setattr(answers_module, "MAX_SCORED", 5)
    run = made_up.write(tmp_path, made_up.GRADED)[0]
    found = read(run)
    assert found is not None
    assert len(found.scored.scores) == 59


def test_groups_are_called_groups_and_have_no_chance(tmp_path: Path) -> None:
    """Guessing is right on a question at the rate of chance, and on a group far less often."""
    (run, *_) = made_up.write(tmp_path, made_up.GROUPS)
    metric = formats([run.record])["circular"]
    assert (metric.counts, metric.is_share) == ("group", False)
    section = shown(made_up.GROUPS, tmp_path / "again")
    (best, *_) = summary([section], [], load())[0].answer
    assert "on 15 shared groups" in best.text
    assert section.run_groups[0].matrix is not None
    assert "the groups that only one" in section.run_groups[0].matrix.caption


def test_without_its_code_the_next_metric_compares(tmp_path: Path) -> None:
    """A user's corpus metric scores no answer: without the task's file runs are compared by the
    first metric that does, and the page says by which."""
    runs = [
        replace(run, task=None) for run in made_up.write(tmp_path, made_up.CORPUS, made_up.EXACT)
    ]
    answers = {found.run: found for run in runs if (found := read(run))}
    section = next(s for s in sections([r.record for r in runs], answers) if s.name == "madeup")
    assert section.run_groups[0].metric is not None
    assert section.run_groups[0].metric.title == "Exact match"
    assert section.scores is not None
    assert section.scores.sorted_by == "f1_of_yes"
    assert "exact match" in section.scores.headings[0].meaning
