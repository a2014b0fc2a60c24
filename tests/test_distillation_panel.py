"""The panel of a distillation: what it says is what is on disk, and what is not there is not said."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.quality.answers import reasoning_to_error, structure
from harness.core.types import Metric, Prediction
from harness.metrics.statistics import holm, mcnemar
from harness.run.folder import RunFolder
from reports.charts.validation import LOSS, validation_curve
from reports.distillation.panel import Panel, panel
from reports.inputs import discovery as reporting
from reports.inputs.material import Distillation, Material, Training
from reports.inputs.paper import load
from reports.inputs.runs import run_id
from reports.numbers import fixed
from reports.page.leaderboard import render
from reports.page.summary import summary
from reports.statistics.answers import read
from reports.tables import heatmap
from tests import league, made_up
from tests.hostile import ON_A_PAGE
from tests.test_leaderboard import Page


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up models on 120 questions, with a distillation; not to be written to."""
    folder = tmp_path_factory.mktemp("league") / "runs"
    league.write(folder, questions=120)
    return folder


@pytest.fixture(scope="module")
def material(runs: Path) -> Material:
    found, broken = reporting.gather(runs)
    assert not broken
    return found


@pytest.fixture(scope="module")
def made(material: Material) -> Panel:
    return panel_of(material, material.distillations[0])


def panel_of(
    material: Material,
    distillation: Distillation,
    *,
    picture: Callable[[Sequence[str]], str] = lambda _: "",
) -> Panel:
    answers = {found.run: found for run in material.runs if (found := read(run))}
    return panel(distillation, answers, picture=picture)


def predictions(runs: Path, model: str) -> list[Prediction]:
    return RunFolder.of(runs, task="scienceqa", model=model, split="test").read_predictions()


def cells(table: Any, title: str) -> dict[str, Any]:
    row = next(row for group in table.groups for row in group.rows if row.title == title)
    return dict(zip((heading.title for heading in table.headings), row.cells, strict=True))


def test_gains_are_counted_from_the_answers(made: Panel, runs: Path) -> None:
    """Each topic's two accuracies and their difference, from the two runs' own predictions."""
    before, after = (
        {p.sample_id: p for p in predictions(runs, name)} for name in ("moondream", "moondream-kd")
    )
    assert made.gains is not None
    for topic in ("geography", "us-history"):
        ids = [key for key, p in before.items() if p.topic == topic]
        right = [sum(bool(side[key].correct) for key in ids) for side in (before, after)]
        found = cells(made.gains, topic)
        shares = [100 * k / len(ids) for k in right]
        assert [found["Moondream"].value, found["Moondream-kd"].value] == pytest.approx(shares)
        assert found["Difference"].value == pytest.approx(shares[1] - shares[0])
        assert found["Difference"].n == len(ids)
    whole = cells(made.gains, "All questions")
    assert whole["Difference"].n == len(before) == 120
    assert made.headline[0].startswith(f"{whole['Difference'].text} points, from Moondream ")


def test_topics_are_certain_after_holm_only(runs: Path, material: Material) -> None:
    """The p-values of all topics are corrected together; the whole stands by itself."""
    sides = {run_id(run.record): read(run) for run in material.runs}
    first, second = (sides[f"run:scienceqa:{m}:test"] for m in ("moondream", "moondream-kd"))
    assert first is not None
    assert second is not None
    found = heatmap.changes(first, second)
    raw = []
    for topic in list(found)[1:]:
        pairs = [
            (first.scored.scores[key], second.scored.scores[key])
            for key, name in first.topics.items()
            if name == topic
        ]
        raw.append(mcnemar(pairs.count((1, 0)), pairs.count((0, 1))))
    assert [each.p for each in found.values()][1:] == pytest.approx(holm(raw))


def test_topics_that_change_are_named_and_none_is_said_to_be_none(material: Material) -> None:
    """Significant changes first, by direction; a sentence of their own where there are none."""
    distillation = material.distillations[0]
    itself = replace(distillation, base=distillation.training.runs)  # type: ignore[union-attr]
    assert panel_of(material, itself).headline[2:] == ("No topic changed significantly.",)
    weak = [run for run in material.runs if run.record.model.name == "kosmos-2"]
    worse, *rest = panel_of(material, replace(distillation, base=tuple(weak))).headline[2:]
    assert worse.startswith("Significantly better: ")
    assert worse.endswith("No topic is significantly worse.")
    assert all(" but not significant: " in each for each in rest)


def test_the_summary_in_short_names_gain_and_teacher(made: Panel) -> None:
    """The gain with its conclusion, and what the teacher alone gets right, each in a sentence."""
    asked = {each.lead: each.in_short[0].verdict for each in summary([], [made], load())}
    assert asked["Distillation"].startswith(made.headline[0].removesuffix("."))
    assert asked["Distillation"].endswith("significant.")
    assert made.teacher_lead is not None
    assert asked["Teacher"] == f"The teacher alone is right in {made.teacher_lead.verdict}"


def test_training_counts_are_those_of_the_record(made: Panel) -> None:
    """By topic, in the table and in the drawing."""
    assert made.gains is not None
    assert cells(made.gains, "geography")["Trained"].value == 640
    assert cells(made.gains, "All questions")["Trained"].text == "1,940"
    assert made.scatter is not None
    assert made.scatter.dots[0].name == "geography"
    assert made.scatter.dots[0].words.startswith("640 training questions, ")
    assert made.kept is not None
    assert [cells(made.kept, "geography")[key].value for key in ("Kept", "Dropped")] == [640, 71]
    assert made.reasons[0][0] == "concludes another option"


def test_the_loss_is_that_of_the_log_with_the_control_beside(made: Panel, runs: Path) -> None:
    """First and last of both trainings."""
    assert made.curve is not None
    assert [line.role for line in made.curve.lines] == ["distilled", "baseline"]
    rows = (runs / "distill" / "moondream-kd" / "training_log.jsonl").read_text().splitlines()
    first, last = (json.loads(rows[place])["loss"] for place in (0, -1))
    assert f"125 steps, from {first:.2f} to {last:.3f} nats per token" in made.curve.caption[0]
    assert "the control predicts a letter, the student a whole rationale" in made.curve.caption[2]
    facts = dict(made.facts)
    assert facts["Trained on"] == "structured rationales"
    assert "Control (answers only)" in facts
    assert "(control, trained on answers only)" in made.comparisons[0]


def test_the_validation_curve_marks_the_student_that_was_kept(made: Panel) -> None:
    """With pictures and with grey ones, in percent; a fact says which step it is of."""
    curve = made.validation
    assert curve is not None
    assert curve.title == "Accuracy, %"
    assert [(line.name, line.dashed) for line in curve.lines] == [
        ("with the pictures", False),
        ("with grey pictures", True),
    ]
    assert curve.caption == (
        "5 evaluations; the dot is the student that was kept: step 100, 66.0%.",
    )
    assert f"{curve.best[0]:.1f} {curve.best[1]:.1f}" in curve.lines[0].path
    kept = dict(made.facts)["Student kept"]
    assert kept.startswith(
        "The student is that of step 100 of 125, the best of 5 evaluations by Acc"
    )


def test_a_validation_curve_without_scores_is_of_the_loss() -> None:
    """As where the task's metric is not defined for the answers; rows of other kinds are left out."""
    rows = [{"step": n, "score": None, "loss": 2 - n, "best": True} for n in (1, 2)]
    found = validation_curve([*rows, {"step": "3"}, {}], name="x")
    assert found is not None
    assert (found.title, len(found.lines)) == (LOSS, 1)
    assert validation_curve([], name="x") is None


def test_reasoning_to_error_has_examples_found_in_the_answers(made: Panel, runs: Path) -> None:
    """The count is distill.quality.answers'; each example is wrong though its reasoning names the right
    option, of different topics first."""
    answers = predictions(runs, "moondream-kd")
    found = reasoning_to_error(answers)
    assert made.errors.startswith(f"{len(found.sample_ids)} of {found.with_reasoning} wrong ")
    assert f"({100 * (found.of_wrong.value or 0):.1f}%)" in made.errors
    assert 0 < len(made.error_examples) <= 3
    by_id = {p.sample_id: p for p in answers}
    for example in made.error_examples:
        p = by_id[example.id]
        assert example.id in found.sample_ids
        assert not p.correct
        (output,) = example.outputs
        assert output.verdict.endswith("wrong")
        gold = next(text for _, text, is_gold in example.choices if is_gold)
        assert gold in dict(output.stages)["REASONING"]
    topics = [by_id[example.id].topic for example in made.error_examples]
    assert len(set(topics)) == len(topics)


def test_what_the_teacher_got_right_that_the_student_did_not(made: Panel, runs: Path) -> None:
    """Counted on the same questions, both ways round, with one example."""
    taught, own = (
        {p.sample_id: p for p in predictions(runs, name)} for name in ("llava-cot", "moondream-kd")
    )
    only = [key for key in own if taught[key].correct and not own[key].correct]
    back = [key for key in own if own[key].correct and not taught[key].correct]
    assert made.teacher_lead is not None
    assert made.teacher_lead.verdict == (f"{len(only)} of 120 questions; the reverse: {len(back)}.")
    assert made.teacher_lead.example is not None
    assert made.teacher_lead.example.id in only
    assert [output.verdict[-5:] for output in made.teacher_lead.example.outputs] == [
        "right",
        "wrong",
    ]


def test_input_and_output_are_shown_on_a_question_that_was_learned(made: Panel, runs: Path) -> None:
    """Right with all four tags after training, wrong before; teacher, student, distilled."""
    assert made.input_output is not None
    before, after = (
        {p.sample_id: p for p in predictions(runs, name)} for name in ("moondream", "moondream-kd")
    )
    assert after[made.input_output.id].correct
    assert not before[made.input_output.id].correct
    assert [output.role for output in made.input_output.outputs] == [
        "teacher",
        "student",
        "distilled",
    ]
    assert [tag for tag, _ in made.input_output.outputs[-1].stages] == [
        "SUMMARY",
        "CAPTION",
        "REASONING",
        "CONCLUSION",
    ]
    assert made.rationale is not None
    assert dict(made.rationale.output.stages)["CONCLUSION"] == "B"


def test_quality_and_tags_are_the_measured_ones(made: Panel, runs: Path) -> None:
    """quality.json's figures with their n; tag compliance of every side from its answers."""
    quality = json.loads((runs / "distill" / "moondream-kd" / "quality.json").read_text())
    assert made.quality is not None
    agrees = cells(made.quality, "Reasoning agrees (%)")["Teacher's rationales"]
    measured = quality["teacher"]["all"]["measures"]["reasoning_agrees"]
    assert (agrees.value, agrees.n) == (pytest.approx(measured["value"] * 100), measured["n"])
    assert cells(made.quality, "Image gain")["Teacher's rationales"].text == "0.21"
    assert cells(made.quality, "Image helps (%)")["Teacher's rationales"].value is None
    assert made.tags is not None
    for model, title in (("llava-cot", "LLaVA-CoT"), ("moondream-kd", "Moondream-kd")):
        expected = structure(predictions(runs, model))["well_formed"]
        found = cells(made.tags, title)["Well formed"]
        assert found.value == pytest.approx(100 * (expected.value or 0))


def test_pictures_are_shown_by_what_the_answers_name(material: Material) -> None:
    """The picture of an example is looked up by its own digests, and stands on the page."""
    asked: list[tuple[str, ...]] = []

    def picture(digests: Sequence[str]) -> str:
        asked.append(tuple(digests))
        return "data:image/webp;base64,AAAA"

    found = panel_of(material, material.distillations[0], picture=picture)
    assert found.input_output is not None
    assert found.input_output.picture == "data:image/webp;base64,AAAA"
    assert all(len(digest) == 64 for digests in asked for digest in digests)


# What is not there


def test_a_distillation_that_left_nothing_says_so() -> None:
    """No number is made up: no table, no drawing, no example."""
    page = render(Material(distillations=[Distillation(name="empty")]))
    text = " ".join(Page(page).text.split())
    assert "— no training log yet." in text
    assert "needs training counts and scores of at least two topics" in text
    assert "nan" not in text.lower().replace("finance", "")
    found = panel(
        Distillation(name="empty"),
        {},
        picture=lambda _: "",
    )
    assert (found.tables, found.headline, found.input_output, found.teacher_lead) == (
        (),
        (),
        None,
        None,
    )


def test_without_the_student_before_training_there_is_no_gain(material: Material) -> None:
    """Only what its own run says: tags and errors."""
    found = panel_of(material, replace(material.distillations[0], base=(), teacher=()))
    assert found.gains is None
    assert found.scatter is None
    assert found.teacher_lead is None
    assert found.tags is not None
    assert found.errors


WRONG: tuple[Any, ...] = ("<b>", None, [], {}, True, float("nan"), float("inf"), -1, 1e300, [{}])


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong)[:8])
def test_files_of_wrong_types_still_render(material: Material, wrong: Any) -> None:
    """Whatever stands where a number, a list or an object belongs."""
    known = material.distillations[0]
    assert known.training is not None
    broken = replace(
        known,
        rationales=dict.fromkeys(known.rationales, wrong),
        quality=dict.fromkeys(known.quality, wrong),
        training=replace(
            known.training,
            record=dict.fromkeys(known.training.record, wrong),
            log=lambda: [{"step": wrong, "loss": wrong}],
        ),
        kept=lambda: [dict.fromkeys(("id", "prompt", "reasoning", "images"), wrong)],
    )
    deeper = replace(
        known,
        rationales={"counts": {"topics": {"t": wrong}, "reasons": {"r": wrong}, "kept": wrong}},
        quality={"teacher": {"all": {"measures": {"words": wrong}}}, "students": {"s": wrong}},
        training=replace(known.training, record={"counts": {"by_topic": {"t": wrong}}}),
    )
    for each in (broken, deeper):
        page = Page(render(Material(distillations=[each]), samples="none"))
        assert ("b", ()) not in page.shape
        assert "NaN" not in page.text


def shown(value: Any, text: str) -> Any:
    """`value` with `text` for every string, in keys too where they are not field names."""
    if isinstance(value, str):
        return text
    if isinstance(value, Mapping):
        return {key: shown(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item, text) for item in value]
    return value


def filled_page(material: Material, text: str) -> str:
    """The page of a distillation with `text` in every field at once."""
    known = material.distillations[0]
    assert known.training is not None
    kept = shown(list(known.kept()), text)
    training = Training(
        name=text,
        record={
            **known.training.record,
            "status": text,
            "counts": {"used": 3, "by_topic": {text: 3}},
        },
        log=known.training.log,
    )
    filled = Distillation(
        name="kd",
        rationales={
            **shown(known.rationales, text),
            "counts": {
                "kept": 1,
                "selected": 1,
                "topics": {text: {"kept": 1}},
                "reasons": {text: 1},
            },
        },
        kept=lambda: kept,
        quality={
            **known.quality,
            "students": {text: known.quality["students"]["moondream-kd"]},
        },
        training=training,
        problems=(text,),
    )
    return render(Material(distillations=[filled]), samples="none")


@pytest.fixture(scope="module")
def harmless(material: Material) -> Any:
    return Page(filled_page(material, "harmless")).shape


@pytest.mark.parametrize("text", ON_A_PAGE, ids=lambda t: ascii(t[:20]))
def test_no_string_of_a_distillation_changes_the_page(
    material: Material, harmless: Any, text: str
) -> None:
    """In every field at once, the page has the elements that it has with a harmless one."""
    hostile = filled_page(material, text)
    hostile.encode()
    assert Page(hostile).shape == harmless


@pytest.mark.parametrize("metric", [made_up.GRADED, made_up.LOWER], ids=lambda m: m.name)
def test_a_distillation_of_graded_answers(metric: Metric, tmp_path: Path) -> None:
    """Its gains, comparisons, scatter and examples are in the metric's own unit and direction."""
    runs = {run.record.model.name: run for run in made_up.write(tmp_path, metric)}
    counts = {"counts": {"by_topic": {"signs": 10, "food": 20, "sports": 30}}}
    found = Distillation(
        name="strong",
        training=Training(name="strong", record=counts, runs=(runs["strong"],)),
        base=(runs["weak"],),
        teacher=(runs["student"],),
    )
    made = panel_of(Material(runs=list(runs.values())), found)
    points = metric.unit == "%"
    digits, unit = (2, "points") if points else (4, metric.title)
    before, after = (runs[name].record.metrics[metric.name].value for name in ("weak", "strong"))
    assert before is not None
    assert after is not None
    size = fixed((after - before) * (100 if points else 1), digits, sign="+")
    assert made.headline[0].startswith(f"{size} {unit}, from Weak ")
    assert made.gains is not None
    assert cells(made.gains, "All questions")["Result"].text == "better"
    assert made.scatter is not None
    assert made.scatter.score == metric.title
    assert made.teacher_lead is not None
    assert f"Student has a better {made.score} than Strong" in made.teacher_lead.words
    assert made.comparisons[0].endswith(": significant.")
    assert made.input_output is not None
    assert metric.title in made.input_output.outputs[0].verdict
    assert made.scatter.dots[0].top is not None
    lacking = [p for n, p in enumerate(runs["weak"].predictions()) if n % 4]
    short = replace(found, base=(runs["weak"].holding(lacking),))
    known = {name: run.holding(lacking) if name == "weak" else run for name, run in runs.items()}
    shown = panel_of(Material(runs=list(known.values())), short).scatter
    # The run's own interval is of more questions than the score that is drawn.
    assert shown is not None
    assert {dot.top for dot in shown.dots} == {None}
