"""Which of several attempts is kept, by each method; several teachers, with their share of each
question; the filter of contradictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from distill.config import DistillConfig
from distill.examples import Example
from distill.layout import Workspace
from distill.objectives import objective_of
from distill.options import RationaleOptions
from distill.questions import Questions
from distill.rationales import generate, importing
from distill.rationales.attempts import Work, written_by
from distill.rationales.collect import Teaching, collect_rationales
from distill.rationales.filters import why_rejected
from distill.rationales.gains import Scorer
from distill.rationales.logit_collection import target_logits
from distill.rationales.selection import METHODS, Candidate, Choose, help_text
from distill.rationales.store import Store
from distill.rationales.teacher import Teacher
from harness.core.errors import HarnessError
from harness.core.files.jsonl import read_objects
from harness.core.interrupts import Interrupted
from harness.core.options import ModelOptions
from harness.core.structured import Rationale, parse, render, up_to_conclusion
from harness.core.types import DataOptions, Decoding, Output, Prompt
from harness.run.conclusions import likelihoods
from harness.run.task_data import Data
from harness.sources.weights import Weights
from reports.distillation.summary import facts
from tasks import load_task
from tests.test_rationales import GOOD, SAMPLE, Scripted, Stage

TASK = load_task("scienceqa")


def candidate(conclusion: int | str | None = None, **known: Any) -> Any:
    measures = SimpleNamespace(score=known.pop("score", 0.0), words=known.pop("words", 0))
    return SimpleNamespace(
        quality=measures, conclusion=conclusion, **{"agreement": 0.0, "gain": None, **known}
    )


@pytest.mark.parametrize(
    ("method", "candidates", "scores"),
    [
        ("first", [candidate(0), candidate(1)], [0, 0]),
        ("best", [candidate(score=0.5), candidate(score=0.75)], [0.5, 0.75]),
        ("agreement", [candidate(0, agreement=0.0), candidate(1, agreement=1.0)], [0, 1]),
        ("consistency", [candidate(n) for n in (0, 1, 1, None)], [0.25, 0.5, 0.5, 0]),
        ("consistency", [candidate("Red  fox"), candidate("red fox"), candidate("")],
         [2 / 3, 2 / 3, 1 / 3]),
        ("gain", [candidate(gain=-0.5), candidate(gain=1.5), candidate()],
         [-0.5, 1.5, float("-inf")]),
        ("shortest", [candidate(words=30), candidate(words=12)], [-30, -12]),
        ("longest", [candidate(words=30), candidate(words=12)], [30, 12]),
    ],
)  # fmt: skip
def test_scores_by_hand(
    method: Choose, candidates: Sequence[Candidate], scores: Sequence[float]
) -> None:
    """Each method's formula, on values that are worked out by hand."""
    found = [METHODS[method].score(one, candidates) for one in candidates]
    assert found == pytest.approx(scores)


def test_every_method_is_named_in_the_help() -> None:
    """One list: the type that the command line checks, the table, and the words of --choose."""
    assert tuple(METHODS) == get_args(Choose)
    assert all(name in help_text() for name in METHODS)
    assert all("score(r_i)" in str(method.score.__doc__) for method in METHODS.values())


@pytest.mark.parametrize(
    ("reasoning", "reasons"),
    [
        ("Illinois is on the left.", ()),
        ("Alabama is on the left.", ("reasoning arrives at another option",)),
        ("Look at the compass.", ()),
    ],
)
def test_contradictions_can_be_dropped(reasoning: str, reasons: tuple[str, ...]) -> None:
    """Whatever the teacher concluded: the student learns the gold answer after this reasoning."""
    for letter in "AB":
        raw = render(Rationale("Find it.", "A map.", reasoning, letter))
        assert why_rejected(raw, SAMPLE, TASK, keep="coherent") == reasons
    assert why_rejected("no tags", SAMPLE, TASK, keep="coherent")[0] == "no SUMMARY"


def texts(letters: Mapping[int, str]) -> Scripted:
    """A model that concludes these letters by attempt, at six questions each; the later the
    attempt, the longer it is."""
    sampled = count()

    def write(prompt: Prompt, decoding: Decoding) -> str:
        attempt = 2 + next(sampled) // 6 if decoding.temperature else 1
        words = " ".join(["word"] * 10 * attempt)
        return render(Rationale("Look.", words, "It follows.", letters[attempt]))

    return Scripted(write)


@pytest.fixture
def stage(drawn: Path, tmp_path: Path) -> Stage:
    return Stage(
        Questions(data=Data(TASK, DataOptions(path=drawn)), limit=6),
        RationaleOptions(batch_size=4, inputs=("question",), keep="format", attempts=3),
        Workspace(runs=tmp_path, name="kd"),
    )


def test_another_method_asks_nobody_again(stage: Stage) -> None:
    """Three attempts that conclude A, B, B: each method keeps its own, and says why in the line."""
    model = texts({1: "A", 2: "B", 3: "B"})
    stage.generate(model.teacher)
    asked = len(model.asked)
    golds = {s.id: "ABCD"[s.target] for s in stage.questions.selected()}  # type: ignore[index]
    expected = {
        "first": dict.fromkeys(golds, 1),
        "consistency": dict.fromkeys(golds, 2),
        "agreement": {key: 2 if letter == "B" else 1 for key, letter in golds.items()},
        "shortest": dict.fromkeys(golds, 1),
        "longest": dict.fromkeys(golds, 3),
    }
    for method, attempts in expected.items():
        record = stage.but(choose=method).generate(model.teacher)
        rows = Store(stage.folder).read_kept()
        assert {row["id"]: row["attempt"] for row in rows} == attempts, method
        assert {row["choice"]["method"] for row in rows} == {method}
        assert {(r["choice"]["attempts"], r["choice"]["passed"]) for r in rows} == {(3, 3)}
        assert record["settings"]["choose"] == method
    assert len(model.asked) == asked
    stage.but(choose="consistency").generate(model.teacher)
    (score,) = {row["choice"]["score"] for row in Store(stage.folder).read_kept()}
    assert score == pytest.approx(2 / 3, abs=1e-4)
    rejected = read_objects(stage.folder / "rejected.jsonl")
    assert {row["choice_score"] for row in rejected} == {0.3333, 0.6667}


@dataclass
class Likelihoods(Scripted):
    """A model to which an answer is the likelier, the longer the rationale before it."""

    stop: bool = False

    def choose(self, prepared: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Output]:
        if self.stop:
            raise Interrupted(2)
        assert all(len(each) == 1 for each in options)
        self.asked += [prompt.answer_prefix for prompt in prepared]
        return [
            Output("A", p.text, None, 0, log_likelihoods=(-100 / len(p.answer_prefix.split()),))
            for p in prepared
        ]


def scorer(model: Likelihoods, weights: str = "sha256:9") -> Scorer:
    checkpoint = SimpleNamespace(
        name="base", title="Base", repo=None, revision=None, weights="here", licence="none"
    )
    source: Any = SimpleNamespace(
        checkpoint=checkpoint,
        weights_hash=weights,
        capabilities=SimpleNamespace(log_likelihoods=True),
        load=lambda: model,
        place="here",
    )
    return Scorer(source)


def gained(stage: Stage, teacher: Teacher, by: Scorer) -> dict[str, Any]:
    return generate.generate(
        [teacher], stage.workspace, stage.questions, options=stage.options, scorer=by
    )


def test_gains_are_computed_once(stage: Stage) -> None:
    """The answer's likelihood after each rationale, less that at once; stored, resumed, and by
    another model computed anew."""
    stage, model = stage.but(choose="gain"), texts({1: "A", 2: "B", 3: "B"})
    with pytest.raises(Interrupted):
        gained(stage, model.teacher, scorer(Likelihoods(model.write, stop=True)))
    assert Store(stage.folder).read_kept() == []  # nothing is chosen before it is scored
    reader = Likelihoods(model.write)
    record = gained(stage, model.teacher, scorer(reader))
    assert record["status"] == "complete"
    assert record["scorer"]["name"] == "base"
    assert record["settings"]["gain_by"] == "teacher"
    rows = Store(stage.folder).read_kept()
    assert {row["attempt"] for row in rows} == {3}
    gains = read_objects(stage.folder / "gains.jsonl")
    assert len(gains) == 18
    assert {row["without"] for row in gains} == {-100}  # after the opening tag alone
    first = next(row for row in gains if row["attempt"] == 3)
    words = 5 + 30 + 6 + 2 - 1  # the stages with their tags, the caption's 30 words, the last tag
    assert first["with_rationale"] == pytest.approx(-100 / words, rel=0.1)
    expected = first["with_rationale"] - first["without"]
    assert rows[0]["choice"]["score"] == pytest.approx(expected, abs=1e-4)
    again = Likelihoods(model.write)
    gained(stage, model.teacher, scorer(again))
    assert again.asked == []
    gained(stage, model.teacher, scorer(again, weights="sha256:10"))
    assert len(again.asked) >= 18
    assert len(read_objects(stage.folder / "gains.jsonl")) == 18


def named(model: Scripted, name: str, weights: str = "sha256:0") -> Teacher:
    return replace(
        model.teacher, name=name, about={"name": name, "title": name.title()},
        fingerprint=lambda: weights,
    )  # fmt: skip


def ask(stage: Stage, *teachers: Teacher) -> dict[str, Any]:
    return generate.generate(teachers, stage.workspace, stage.questions, options=stage.options)


def test_all_teachers_write_for_each_question(stage: Stage) -> None:
    """Each makes its attempts; rows, record and counts say who wrote what is kept."""
    stage = stage.but(attempts=1, choose="agreement")
    one, two = texts({1: "A"}), texts({1: "B"})
    record = ask(stage, named(one, "ann"), named(two, "bob"))
    rows = Store(stage.folder).read_kept()
    assert all(row["teacher"] == ("bob" if row["answer"] == "B" else "ann") for row in rows)
    assert record["teacher"]["title"] == "Ann and Bob"
    kept = {name: each["kept"] for name, each in record["counts"]["teachers"].items()}
    assert kept == {name: sum(row["teacher"] == name for row in rows) for name in ("ann", "bob")}
    assert {each["attempts"] for each in record["counts"]["teachers"].values()} == {6}
    assert record["fingerprint"]["weights of ann"] == "sha256:0"
    again = ask(stage, named(one, "ann"), named(two, "bob"))
    assert again["counts"] == record["counts"]
    assert (len(one.asked), len(two.asked)) == (6, 6)


def test_a_second_teacher_is_added(stage: Stage) -> None:
    """What the first one wrote alone stays; other weights under a known name are refused."""
    stage = stage.but(attempts=1)
    one, two = texts({1: "A"}), texts({1: "B"})
    stage.generate(named(one, "ann"))
    record = ask(stage, named(one, "ann"), named(two, "bob"))
    assert (len(one.asked), len(two.asked)) == (6, 6)
    assert [each["name"] for each in record["teachers"]] == ["ann", "bob"]
    with pytest.raises(HarnessError, match="weights of bob"):
        ask(stage, named(one, "ann"), named(two, "bob", "sha256:1"))
    alone = ask(stage, named(two, "bob"))
    assert {row["teacher"] for row in Store(stage.folder).read_kept()} == {"bob"}
    assert list(alone["counts"]["teachers"]) == ["bob"]
    assert (len(one.asked), len(two.asked)) == (6, 6)


def test_questions_can_be_split_among_teachers(stage: Stage) -> None:
    """Each question goes to one of them, the same one with another limit."""
    stage = stage.but(attempts=1, share="split", limit=4)
    one, two = texts({1: "A"}), texts({1: "B"})
    ask(stage, named(one, "ann"), named(two, "bob"))
    before = {a.id: a.teacher for a in Store(stage.folder).read_attempts()}
    assert len(before) == 4
    record = ask(stage.but(limit=20), named(one, "ann"), named(two, "bob"))
    after = {a.id: a.teacher for a in Store(stage.folder).read_attempts()}
    assert before.items() <= after.items()
    assert len(after) == len(one.asked) + len(two.asked) == 20
    assert min(len(one.asked), len(two.asked)) >= 4
    assert record["settings"]["teacher_share"] == "split"


def test_a_cascade_asks_the_next_teacher_what_the_first_got_wrong(stage: Stage) -> None:
    """With --choose first the next one is asked only where nothing has passed the filter."""
    stage = stage.but(attempts=1, choose="first", keep="agrees")
    one, two = texts({1: "A"}), texts({1: "B"})
    ask(stage, named(one, "ann"), named(two, "bob"))
    golds = ["ABCD"[s.target] for s in stage.questions.selected()]  # type: ignore[index]
    assert (len(one.asked), len(two.asked)) == (6, 6 - golds.count("A"))


def test_a_teacher_is_named_once(stage: Stage) -> None:
    """Its attempts could not be told apart."""
    model = texts({1: "A", 2: "A", 3: "A"})
    with pytest.raises(HarnessError, match="twice"):
        ask(stage, named(model, "ann"), named(model, "ann"))


def test_imported_rows_keep_their_teachers(stage: Stage, tmp_path: Path) -> None:
    """A rationales.jsonl of two teachers, imported elsewhere, still says who wrote which row."""
    stage = stage.but(attempts=1, choose="agreement")
    ask(stage, named(texts({1: "A"}), "ann"), named(texts({1: "B"}), "bob"))
    before = {row["id"]: row["teacher"] for row in Store(stage.folder).read_kept()}
    other = stage.but(name="imported")
    file = stage.folder / "rationales.jsonl"
    record = importing.import_rationales(
        file, other.workspace, other.questions, options=other.options
    )
    assert {row["id"]: row["teacher"] for row in Store(other.folder).read_kept()} == before
    assert set(record["counts"]["teachers"]) == {"ann", "bob"}
    with pytest.raises(HarnessError, match="--choose gain needs a teacher"):
        other.but(choose="gain").load(file)


def test_attempts_of_earlier_versions_are_resumed(stage: Stage) -> None:
    """One teacher, under another name by now and with the same weights: nobody is asked again."""
    stage.generate(named(texts({1: "A", 2: "B", 3: "B"}), "ann"))
    again = texts({1: "A", 2: "B", 3: "B"})
    record = stage.generate(named(again, "./models/ann"))
    assert again.asked == []
    assert record["counts"]["kept"] == 6
    work = Work(stage.workspace, stage.questions, stage.options, teachers=("./models/ann",))
    work.open()
    assert work.is_over


def test_a_card_says_how_many_each_teacher_wrote() -> None:
    """One teacher is named alone, as before."""
    about = [{"name": "ann", "title": "Ann"}, {"name": "bob", "title": "Bob"}]
    record = {
        "teacher": {"name": "ann + bob", "title": "Ann and Bob"},
        "teachers": about,
        "counts": {"teachers": {"ann": {"kept": 1200}, "bob": {"kept": 3}}},
    }
    assert written_by(record) == "Ann (1,200 of the rationales), Bob (3 of the rationales)"
    assert written_by({"teacher": {"name": "ann", "title": "Ann"}}) == "Ann"


def test_the_page_says_who_wrote_what() -> None:
    """Who wrote how many of the kept rationales, and how they were chosen."""
    record = {
        "teacher": {"name": "ann + bob", "title": "Ann and Bob"},
        "settings": {"attempts": 4, "choose": "consistency"},
        "counts": {"teachers": {"ann": {"kept": 1200}, "bob": {"kept": 3}}},
    }
    found: Any = SimpleNamespace(rationales=record, training=None, control=None)
    models: Any = SimpleNamespace(base=None, teacher=None)
    shown = dict(facts(found, models))
    assert shown["Rationales by teacher"] == "ann 1,200, bob 3"
    assert shown["Chosen"] == "of 4 attempts by each teacher, by consistency"


def test_options_are_repeated_before_the_conclusion() -> None:
    """Between its own tags, which are no stage: the answer is still well formed and read alike."""
    example = Example(SAMPLE, Rationale("Find it.", "A map.", "Illinois is left.", "B"))
    config = DistillConfig(repeat_options=True, conclusion_weight=4.0)
    (target,) = objective_of(config).targets(example)
    repeated = "<OPTIONS> A: Alabama, B: Illinois </OPTIONS>\n\n"
    (plain,) = objective_of(DistillConfig()).targets(example)
    assert target.text == plain.text.replace("<CONCLUSION>", f"{repeated}<CONCLUSION>")
    assert [piece.weight for piece in target.pieces] == [1, 1, 1, 1, 4]
    parsed = parse(target.text)
    assert parsed == parse(plain.text)
    assert parsed.well_formed
    assert TASK.extract(target.text, SAMPLE.choices).answer == 1
    assert parse("<OPTIONS> A: x").outside == ""


def test_repeating_options_is_a_setting_of_its_own() -> None:
    """It is refused where there is no conclusion, and a training without it resumes as before."""
    with pytest.raises(HarnessError, match="repeat_options"):
        DistillConfig(objective="answer", repeat_options=True)
    repeating = DistillConfig(repeat_options=True)
    assert repeating.outcome()["repeat_options"] is True
    assert DistillConfig().outcome()["repeat_options"] is None
    assert not repeating.with_objective("answer").repeat_options


def test_the_gain_is_that_of_the_logits(tiny: Any) -> None:
    """The likelihood of the gold letter, by the option scores that the engine computes, is that of
    a forward pass over rationale and answer."""
    import torch

    model: Any = Weights(
        ModelOptions(model="llava-cot", weights=str(tiny("llava-cot")), device="cpu")
    ).load()
    prompt = Prompt(
        text="Which? Options: A: Alabama, B: Illinois", question="Which?",
        choices=("Alabama", "Illinois"), style="structured",
    )  # fmt: skip
    begun = replace(prompt, answer_prefix=up_to_conclusion(GOOD))
    (output,) = likelihoods(model, [begun], [["B"]])
    tokens = model.tokenizer(" B", add_special_tokens=False)["input_ids"]
    logits = target_logits(model, begun, tokens)
    expected = logits.log_softmax(-1)[torch.arange(len(tokens)), tokens].mean()
    assert output.log_likelihoods[0] == pytest.approx(float(expected), abs=1e-4)


def test_teachers_by_name(stage: Stage, tiny: Any) -> None:
    """Two checkpoints, one loaded after the other: both texts are there, and how each words its
    prompts is part of what must not change."""
    models = [
        ModelOptions(model=str(tiny(name)), device="cpu", name=name)
        for name in ("llava-cot", "llava-next")
    ]
    options = replace(stage.options, attempts=1, keep="none", max_new_tokens=4)
    teaching = Teaching(teacher=models[0], others=models[1:], options=options)
    questions = replace(stage.questions, limit=2)
    record = collect_rationales(stage.workspace, questions, teaching)
    names = [each["name"] for each in record["teachers"]]
    assert len(names) == 2
    assert {a.teacher for a in Store(stage.folder).read_attempts()} == set(names)
    assert all(f"weights of {name}" in record["fingerprint"] for name in names)
    assert all(f"template of {name}" in record["fingerprint"] for name in names)
    assert collect_rationales(stage.workspace, questions, teaching)["counts"] == record["counts"]
