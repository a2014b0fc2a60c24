"""Rationales: a teacher that is asked, stopped and asked again; filters; files of others."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from distill.layout import Workspace
from distill.options import RationaleOptions
from distill.questions import Questions
from distill.rationales import generate, importing
from distill.rationales.filters import rationale, why_rejected
from distill.rationales.kept import read_rationales
from distill.rationales.prompt import wording
from distill.rationales.store import Store
from distill.rationales.teacher import Teacher, teacher_of
from harness.core.errors import DataError, HarnessError, SampleError
from harness.core.files.jsonl import read_objects
from harness.core.interrupts import Interrupted
from harness.core.options import ModelOptions
from harness.core.structured import Rationale, render
from harness.core.types import DataOptions, Decoding, Output, Prompt, Sample
from harness.run.task_data import Data
from harness.sources.weights import Weights
from tasks import load_task

TASK = load_task("scienceqa")
SAMPLE = Sample(
    id="7",
    question="Which of these states is farthest west?",
    choices=("Alabama", "Illinois"),
    target=1,
    topic="geography",
    lecture="Maps have four cardinal directions.",
    solution="Look at the compass rose.",
)
GOOD = render(Rationale("Find it.", "A map.", "Illinois is on the left.", "B"))


@dataclass
class Scripted:
    """A model that writes what `write(prompt, decoding)` gives, and counts its calls."""

    write: Callable[[Prompt, Decoding], str]
    asked: list[str] = field(default_factory=list)
    stop_after: int | None = None
    description: Mapping[str, Any] = field(default_factory=lambda: {"device": "cpu"})
    max_images: int | None = None

    def prepare(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        return prompts

    def generate(self, prepared: Sequence[Prompt], decoding: Decoding) -> list[Output]:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise Interrupted(2)
        self.asked += [prompt.question for prompt in prepared]
        return [
            Output(raw=self.write(p, decoding), prompt=p.text, tokens_in=1, tokens=5)
            for p in prepared
        ]

    def choose(self, prepared: Any, options: Sequence[Sequence[str]]) -> list[Output]:
        raise NotImplementedError

    @property
    def teacher(self) -> Teacher:
        return Teacher(
            name="scripted",
            about={"name": "scripted", "licence": "none"},
            max_new_tokens=64,
            instruction="",
            settings={"dtype": "float32"},
            load=lambda: self,
            fingerprint=lambda: "sha256:0",
        )


def right(prompt: Prompt, decoding: Decoding) -> str:
    """A good rationale, by the answer that the prompt gives."""
    letter = prompt.text.partition("he correct answer is ")[2][:1] or "A"
    option = prompt.choices[ord(letter) - ord("A")]
    return render(Rationale("Look.", f"t={decoding.temperature}", f"It is {option}.", letter))


@pytest.fixture
def data(drawn: Path) -> Data:
    return Data(TASK, DataOptions(path=drawn))


@dataclass(frozen=True)
class Stage:
    """What the first stage is given; a test changes the part that it is about, by field."""

    questions: Questions
    options: RationaleOptions
    workspace: Workspace

    def but(self, **changes: Any) -> Stage:
        parts = {
            name: replace(part, **{k: v for k, v in changes.items() if hasattr(part, k)})
            for name, part in vars(self).items()
        }
        return Stage(**parts)

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    def generate(self, teacher: Teacher) -> dict[str, Any]:
        return generate.generate([teacher], self.workspace, self.questions, options=self.options)

    def load(self, path: Path) -> dict[str, Any]:
        return importing.import_rationales(
            path, self.workspace, self.questions, options=self.options
        )


@pytest.fixture
def stage(data: Data, tmp_path: Path) -> Stage:
    return Stage(
        Questions(data=data, limit=10),
        RationaleOptions(batch_size=4),
        Workspace(runs=tmp_path, name="kd"),
    )


def test_the_wording_is_this_version() -> None:
    """Any other wording needs another PROMPT_VERSION: it stands beside each rationale."""
    question = "Which of these states is farthest west? Options: A: Alabama, B: Illinois"
    assert wording(question, SAMPLE, ("question", "answer", "lecture", "solution")) == (
        "Which of these states is farthest west? Options: A: Alabama, B: Illinois\n"
        "The correct answer is B: Illinois.\n"
        "Lecture: Maps have four cardinal directions.\n"
        "Solution: Look at the compass rose.\n"
        "Reason from the question and the image to this answer, as if it had not been given."
    )


@pytest.mark.parametrize(
    ("inputs", "there", "absent"),
    [
        (("question",), ["farthest west"], ["B: Illinois.", "Lecture", "Solution", "Reason"]),
        (("answer",), ["B: Illinois."], ["farthest west?", "Lecture"]),
        (("question", "lecture"), ["Maps have"], ["correct answer", "Solution"]),
        (("solution", "question"), ["compass rose"], ["correct answer", "Lecture"]),
    ],
)
def test_the_teachers_input_is_chosen(inputs: Any, there: list[str], absent: list[str]) -> None:
    """What is not chosen is not in the prompt."""
    text = wording("Which state is farthest west?", SAMPLE, inputs)
    assert all(words in text for words in there)
    assert not any(words in text for words in absent)


@pytest.mark.parametrize(
    ("raw", "reasons"),
    [
        (GOOD, {"none": (), "format": (), "agrees": ()}),
        (GOOD.replace(" B ", " A "), {"agrees": ("concludes another option",)}),
        (GOOD.replace("</CAPTION>", ""), {"none": (), "format": (), "agrees": ()}),
        (GOOD.replace(" B ", " hm "), {"format": (), "agrees": ("conclusion cannot be read: ",)}),
        (GOOD.replace("A map.", ""), {"none": (), "format": ("no CAPTION",)}),
        (f"{GOOD}\n{GOOD}", {"none": (), "format": tuple(
            f"{name} twice" for name in ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION"))}),
        ("Illinois, of course.", {"none": (), "format": tuple(
            f"no {name}" for name in ("SUMMARY", "CAPTION", "REASONING", "CONCLUSION"))}),
        ("", {"none": ("empty",), "format": ("empty",), "agrees": ("empty",)}),
        ("<CONCLUSION> B </CONCLUSION>", {"none": ("empty",), "format": ("empty",)}),
    ],
)  # fmt: skip
def test_filters(raw: str, reasons: dict[Any, tuple[str, ...]]) -> None:
    """With none any text is kept; format wants four filled stages, agrees the gold answer too."""
    for keep, expected in reasons.items():
        found = why_rejected(raw, SAMPLE, TASK, keep=keep)
        assert len(found) == len(expected)
        assert all(map(str.startswith, found, expected))


def test_the_conclusion_is_always_the_gold_answer() -> None:
    """Whatever the teacher concluded; text without tags is a reasoning."""
    assert rationale(GOOD.replace(" B ", " A "), SAMPLE).conclusion == "B"
    assert rationale("It is Alabama.", SAMPLE) == Rationale("", "", "It is Alabama.", "B")


def test_each_question_gets_its_rationale(data: Data, stage: Stage) -> None:
    """The first rows, in order, each with what made it; nothing rejected."""
    record = stage.generate(Scripted(right).teacher)
    store = Store(stage.folder)
    rows = store.read_kept()
    assert [row["id"] for row in rows] == [s.id for s in data.samples.samples[:10]]
    assert record["status"] == "complete"
    assert record["counts"]["kept"] == record["counts"]["selected"] == 10
    assert record["counts"]["topics"] == {"geography": {"kept": 10, "dropped": 0}}
    row, sample = rows[0], data.samples.samples[0]
    assert row["images"] == list(data.digests[sample.id])
    assert row["teacher_fingerprint"] == "sha256:0"
    assert row["prompt_version"] == "1"
    assert row["decoding"]["temperature"] == 0
    assert row["attempt"] == 1
    assert not row["hinted"]
    assert f"It is {sample.choices[sample.target]}." == row["reasoning"]  # type: ignore[index]
    assert read_objects(store.rejected_path) == []
    assert read_rationales(stage.folder)[sample.id].conclusion == row["answer"]


def test_the_same_call_again_asks_nobody(stage: Stage) -> None:
    """A complete stage is skipped: the model is not even loaded."""
    first = stage.generate(Scripted(right).teacher)
    before = {p.name: p.read_bytes() for p in stage.folder.iterdir()}

    def load() -> Any:
        raise AssertionError("loaded")

    again = stage.generate(replace(Scripted(right).teacher, load=load))
    assert again == first
    assert {p.name: p.read_bytes() for p in stage.folder.iterdir()} == before


LINES = ("attempts.jsonl", "rationales.jsonl", "rejected.jsonl")


@pytest.mark.parametrize("cut", [b"", b'{"id": "geogr'])
def test_stopped_anywhere_it_goes_on(stage: Stage, cut: bytes) -> None:
    """Nothing lost, nothing double, and the files of an uninterrupted run: also with attempts,
    hints and a line that was cut."""

    def write(prompt: Prompt, decoding: Decoding) -> str:
        if "Hint" in prompt.text:
            return right(prompt, decoding)
        wrong = sum(map(ord, prompt.text)) % 3
        return "no tags" if wrong or not decoding.temperature else right(prompt, decoding)

    stage = stage.but(attempts=2, hint_on_retry=True, keep="format", choose="first")
    whole = stage.but(name="whole")
    whole.generate(Scripted(write).teacher)
    hinted = [row["hinted"] for row in Store(whole.folder).read_kept()]
    assert any(hinted)
    assert not all(hinted)
    for stop_after in (0, 3, 9, 14, 25):
        cut_short = stage.but(name=str(stop_after))
        with pytest.raises(Interrupted):
            cut_short.generate(Scripted(write, stop_after=stop_after).teacher)
        record = Store(cut_short.folder).read_record()
        assert record is not None
        assert record["status"] == "interrupted", stop_after
        if cut:
            for name in LINES:
                with open(cut_short.folder / name, "ab") as file:
                    file.write(cut)
        kept = read_objects(cut_short.folder / "attempts.jsonl")
        record = cut_short.generate(Scripted(write).teacher)
        assert record["status"] == "complete", stop_after
        assert read_objects(cut_short.folder / "attempts.jsonl")[: len(kept)] == kept, stop_after
        for name in LINES:
            assert timeless(cut_short.folder / name) == timeless(whole.folder / name), (
                f"{name} of a run that was stopped after {stop_after}"
            )


def timeless(path: Path) -> list[dict[str, Any]]:
    return [{**row, "seconds": None} for row in read_objects(path)]


def test_views_left_behind_by_a_crash_are_made_good(stage: Stage) -> None:
    """Killed between two writes: the attempts are the truth, the other files follow."""
    stage.generate(Scripted(right).teacher)
    before = (stage.folder / "rationales.jsonl").read_bytes()
    for damaged in (before[:-30], before + before, b""):
        (stage.folder / "rationales.jsonl").write_bytes(damaged)
        model = Scripted(right)
        stage.generate(model.teacher)
        assert (stage.folder / "rationales.jsonl").read_bytes() == before
        assert model.asked == []


def test_the_best_of_several_attempts_is_kept(stage: Stage) -> None:
    """Greedy first, then sampled, each with its own seed; the highest score wins."""

    def write(prompt: Prompt, decoding: Decoding) -> str:
        text = right(prompt, decoding)
        return text if decoding.temperature else text.replace("Look.", "look " * 40)

    record = stage.but(attempts=3).generate(Scripted(write).teacher)
    assert record["counts"]["attempts"] == 30
    rows = Store(stage.folder).read_kept()
    assert {row["attempt"] for row in rows} == {2}
    assert {row["decoding"]["temperature"] for row in rows} == {0.7}
    rejected = read_objects(stage.folder / "rejected.jsonl")
    assert {row["attempt"] for row in rejected} == {1, 3}
    assert {reason for row in rejected for reason in row["reasons"]} == {
        "another attempt is better"
    }
    seeds = {row["attempt"]: row["decoding"]["seed"] for row in [*rows, *rejected]}
    assert seeds[2] != seeds[3]


def test_more_attempts_go_on_from_one(stage: Stage) -> None:
    """What was written greedily is kept when attempts are added."""
    stage.generate(Scripted(right).teacher)
    model = Scripted(right)
    stage.but(attempts=2).generate(model.teacher)
    assert len(model.asked) == 10


def test_another_filter_asks_nobody_again(stage: Stage) -> None:
    """Filters are applied to what was written."""

    def write(prompt: Prompt, decoding: Decoding) -> str:
        text = right(prompt, decoding)
        return text.replace("Look.", "") if sum(map(ord, prompt.text)) % 2 else text

    stage.generate(Scripted(write).teacher)
    model = Scripted(write)
    record = stage.but(keep="format").generate(model.teacher)
    assert model.asked == []
    assert 0 < record["counts"]["kept"] < 10
    assert record["counts"]["reasons"] == {"no SUMMARY": record["counts"]["dropped"]}


def test_a_hint_is_for_what_was_rejected(stage: Stage) -> None:
    """Asked once more with the answer, flagged; those that were right are not asked again."""

    def write(prompt: Prompt, decoding: Decoding) -> str:
        return right(prompt, decoding)  # without an answer in the prompt, it is always A

    settings = stage.but(inputs=("question",), keep="agrees", hint_on_retry=True)
    record = settings.generate(Scripted(write).teacher)
    assert record["counts"]["kept"] == 10
    for row in Store(stage.folder).read_kept():
        assert row["hinted"] == (row["answer"] != "A")
        assert ("Hint: " in row["prompt"]) == row["hinted"]
    assert record["counts"]["hinted"] == sum(r["answer"] != "A" for r in read_objects(
        stage.folder / "rationales.jsonl"))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"inputs": ("question",)}, "teacher_input"),
        ({"sample": "stratified"}, "sample"),
    ],
)
def test_other_settings_are_refused_by_name(
    stage: Stage, changes: dict[str, Any], named: str
) -> None:
    """Rationales of two settings are never mixed, and --fresh deletes none."""
    stage.generate(Scripted(right).teacher)
    with pytest.raises(HarnessError, match=named):
        stage.but(**changes).generate(Scripted(right).teacher)
    stage.but(**changes, fresh=True).generate(Scripted(right).teacher)
    (aside,) = stage.folder.glob("rationales.*/")
    assert len(read_objects(aside / "rationales.jsonl")) == 10


def test_other_weights_are_refused(stage: Stage) -> None:
    """Another teacher under the same name, by its fingerprint."""
    stage.generate(Scripted(right).teacher)
    other = replace(Scripted(right).teacher, fingerprint=lambda: "sha256:1")
    with pytest.raises(HarnessError, match=r"differ from those of the rationales in .*: weights"):
        stage.but(limit=12).generate(other)


def test_a_larger_limit_goes_on(stage: Stage) -> None:
    """And a smaller one shows fewer, without losing any."""
    stage.generate(Scripted(right).teacher)
    model = Scripted(right)
    stage.but(limit=15).generate(model.teacher)
    assert 5 <= len(model.asked) <= 7
    assert len(read_rationales(stage.folder)) == 15
    stage.but(limit=3).generate(model.teacher)
    assert len(read_rationales(stage.folder)) == 3
    assert len(Store(stage.folder).read_attempts()) == 15


def test_a_broken_picture_is_a_rejected_row(questions: Path, stage: Stage) -> None:
    """One row with its reason; the others have their rationales."""
    (questions / "images" / "geography-02.png").write_bytes(b"not a picture")
    record = stage.but(data=Data(TASK, DataOptions(path=questions))).generate(
        Scripted(right).teacher
    )
    assert record["status"] == "partial"
    assert (record["counts"]["kept"], record["counts"]["failed"]) == (9, 1)
    (row,) = read_objects(stage.folder / "rejected.jsonl")
    assert row["id"] == "geography-02"
    assert "geography-02.png" in row["reasons"][0]


def test_agrees_needs_options(drawn: Path, stage: Stage) -> None:
    """Written answers are compared by no rule."""
    data = Data(load_task("vqaonline"), DataOptions(path=drawn))
    with pytest.raises(HarnessError, match="written answers"):
        stage.but(data=data, keep="agrees").generate(Scripted(right).teacher)


def test_any_checkpoint_can_be_the_teacher(
    data: Data, stage: Stage, tiny: Callable[..., Path]
) -> None:
    """The tiny LLaVA-CoT writes no tags: with the filter none, what it writes is a reasoning."""
    weights = Weights(ModelOptions(model="llava-cot", weights=str(tiny("llava-cot"))))
    record = stage.but(limit=3).generate(teacher_of(weights, max_new_tokens=12))
    assert record["teacher"]["title"] == "LLaVA-CoT"
    assert record["fingerprint"]["weights"] == weights.fingerprint["weights"]
    rows = [*Store(stage.folder).read_kept(), *read_objects(stage.folder / "rejected.jsonl")]
    assert [row["id"] for row in rows] == [s.id for s in data.samples.samples[:3]]
    assert all("The correct answer is" in row["prompt"] for row in rows)
    assert all(row["reasoning"] == row["raw"].strip() for row in rows if "reasoning" in row)


def test_texts_do_not_depend_on_how_many_are_asked_at_once(
    stage: Stage,
) -> None:
    """A teacher whose finished rationales leave the batch writes the same, in the same files."""
    teacher = teacher_of(Weights(ModelOptions(model="llava-cot", size="mini", device="cpu")))
    for size in (3, 40):
        own = stage.but(name=str(size), batch_size=size, keep="agrees")
        own.generate(teacher)
        assert len({row["tokens"] for row in read_objects(own.folder / "attempts.jsonl")}) > 1
    for name in ("attempts.jsonl", "rationales.jsonl", "rejected.jsonl"):
        first, *others = (timeless(stage.but(name=str(size)).folder / name) for size in (3, 40))
        assert all(other == first for other in others), name


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_imported_from_csv_by_id(data: Data, stage: Stage, tmp_path: Path) -> None:
    """Line breaks and commas in cells; rows of no question are kept apart with the reason."""
    path = write_csv(
        tmp_path / "theirs.csv",
        [
            {"id": "geography-00", "rationale": GOOD, "note": "x, y"},
            {"id": "geography-03", "rationale": "", "note": ""},
            {"id": "nobody", "rationale": GOOD, "note": ""},
            {"id": "physics-01", "rationale": GOOD, "note": ""},
        ],
    )
    record = stage.but(keep="format").load(path)
    assert record["status"] == "complete"
    assert record["counts"]["kept"] == 1
    assert record["counts"]["unasked"] == 8
    (row,) = Store(stage.folder).read_kept()
    assert row["raw"] == GOOD
    assert row["images"] == list(data.digests["geography-00"])
    assert row["conclusion"] == row["answer"]
    reasons = {r["id"]: r["reasons"][0] for r in read_objects(stage.folder / "rejected.jsonl")}
    assert reasons == {
        "geography-03": "empty",
        "nobody": "no such question",
        "physics-01": "not among the selected questions",
    }
    assert stage.but(keep="format").load(path) == record
    with pytest.raises(HarnessError, match="differ"):
        stage.generate(Scripted(right).teacher)


def test_the_rationales_of_another_distillation_are_imported(
    stage: Stage,
) -> None:
    """Its rationales.jsonl as it is: the same texts are learned."""
    stage.generate(Scripted(right).teacher)
    again = stage.but(name="again")
    record = again.load(Store(stage.folder).kept_path)
    assert record["counts"]["kept"] == 10
    assert read_rationales(again.folder) == read_rationales(stage.folder)


def test_imported_by_question(tmp_path: Path, stage: Stage, drawn: Path) -> None:
    """Joined where one question reads so; where several do, nobody guesses."""
    rows = [json.loads(line) for line in (drawn / "test.jsonl").read_text().splitlines()[:4]]
    rows[0]["question"] = "Which town  is southernmost?"
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "images").symlink_to(drawn / "images")
    (folder / "images").unlink()
    (folder / "images").mkdir()
    for row in rows:
        picture = (drawn / row["image"]).read_bytes()
        (folder / row["image"]).write_bytes(picture)
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    theirs = [
        {"question": "Which town is southernmost?", "rationale": GOOD},
        {"question": rows[1]["question"], "rationale": GOOD},
    ]
    path = tmp_path / "theirs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in theirs))
    stage.but(data=Data(TASK, DataOptions(path=folder))).load(path)
    assert list(read_rationales(stage.folder)) == [rows[0]["id"]]
    (stray,) = read_objects(stage.folder / "rejected.jsonl")
    assert stray["reasons"] == ["the question fits 3 samples: an id is needed"]


def test_several_imported_rows_are_attempts(data: Data, stage: Stage, tmp_path: Path) -> None:
    """The best of them is kept."""
    sample = data.samples.samples[0]
    best = render(Rationale("s", "c", f"It is {sample.choices[sample.target]}.", "A"))  # type: ignore[index]
    path = tmp_path / "theirs.jsonl"
    texts = ["no tags", best, "nor here"]
    path.write_text("".join(json.dumps({"id": sample.id, "rationale": t}) + "\n" for t in texts))
    stage.load(path)
    (row,) = Store(stage.folder).read_kept()
    assert (row["raw"], row["attempt"]) == (best, 2)
    assert len(read_objects(stage.folder / "rejected.jsonl")) == 2


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.csv", "id,text\n1,x\n", "line 2, field 'rationale'"),
        ("a.csv", "id,rationale\n1,x,y\n", "line 2: 3 cells"),
        ("a.csv", 'id,rationale\n1,"x\n', "line 2"),
        ("a.csv", "rationale\nx\n", "neither an id nor a question"),
        ("a.csv", "", "holds no rows"),
        ("a.jsonl", "[1]\n", "line 1"),
        ("a.jsonl", '{"id": 1}\n', "field 'rationale'"),
        ("a.jsonl", '{"id": 1, "rationale": 5}\n', "must be text"),
        ("a.jsonl", '\n{"id": 1, "rationale": "x"\n', "line 2"),
        ("a.txt", "x", "not a file of rationales"),
    ],
)
def test_a_bad_file_names_its_line(stage: Stage, name: str, content: str, named: str) -> None:
    """Every row is checked; nothing is taken in from a file that is wrong."""
    path = stage.workspace.runs / name
    path.write_text(content)
    with pytest.raises(DataError, match=named):
        stage.load(path)
    assert not Store(stage.folder).attempts_path.exists()


def test_fresh_keeps_the_old_rationales_until_there_is_a_new_one(data: Data, stage: Stage) -> None:
    """A teacher that fails on every question leaves them byte for byte; one that fails on the first
    ones only takes their place, those failures included."""
    stage.generate(Scripted(right).teacher)
    before = {path.name: path.read_bytes() for path in stage.folder.glob("*.json*")}
    again = stage.but(fresh=True)

    def cannot(_prompt: Prompt, _decoding: Decoding) -> str:
        raise SampleError("no room")

    with pytest.raises(HarnessError, match="No rationale was written"):
        again.generate(Scripted(cannot).teacher)
    assert {path.name: path.read_bytes() for path in stage.folder.glob("*.json*")} == before
    first = {sample.images[0].decode().tobytes() for sample in data.samples.samples[:5]}

    def late(prompt: Prompt, decoding: Decoding) -> str:
        bad = prompt.images[0].tobytes() in first
        return cannot(prompt, decoding) if bad else right(prompt, decoding)

    record = again.generate(Scripted(late).teacher)
    assert record["counts"]["failed"] == 5
    assert len(read_objects(Store(stage.folder).kept_path)) == 5
    assert len(read_objects(Store(stage.folder).rejected_path)) == 5
    (aside,) = stage.folder.glob("rationales.*-*")
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before
