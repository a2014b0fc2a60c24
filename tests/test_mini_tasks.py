"""The drawn tasks: the same everywhere, right, apart from each other, and useless without pictures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from math import log
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from harness.cli.printing import scope
from harness.core.errors import Exit, HarnessError
from harness.core.types import DataOptions, Prediction, Sample
from harness.data.white_space import one_line
from harness.run.compare import compare
from harness.run.folder import RunFolder
from harness.run.records import (
    Counts,
    MetricInfo,
    ModelInfo,
    RunRecord,
    TaskInfo,
)
from harness.synthetic import drawing, forum
from harness.synthetic.export import export
from harness.synthetic.questions import (
    FAMILIES,
    OPEN_SIZES,
    SIZES,
    Item,
    open_questions,
    parse_id,
    questions,
)
from harness.synthetic.scenes import GRID, Mark, Scene
from harness.synthetic.schema import png
from tasks import load_task, scienceqa, vqaonline
from tests import mini_answers

SPLITS = tuple(SIZES)
ITEMS = {split: (*questions(split), *open_questions(split)) for split in SPLITS}
TEST, OPEN = questions("test"), open_questions("test")
ASKED = "0e69670e8e9fd7dc9fd367eee9ad173a2d9eefd2ca272ebdb3d83b685530b711"
"""Of the test split, so far as models and metrics see it."""


TOLD = """
from hashlib import sha256
from harness.synthetic.questions import questions, open_questions
items = (*questions("test", count=60), *open_questions("test", count=20))
texts = sha256(repr(items).encode()).hexdigest()
pixels = sha256(b"".join(item.draw().tobytes() for item in items)).hexdigest()
print(texts, pixels)
"""


@pytest.mark.process
def test_the_questions_are_the_same_in_every_process() -> None:
    """Texts and pixels, whatever the seed of Python's own hashes."""
    said = {
        subprocess.run(
            [sys.executable, "-c", TOLD],
            check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    items = (*TEST[:60], *OPEN[:20])
    pixels = sha256(b"".join(item.draw().tobytes() for item in items)).hexdigest()
    assert said == {f"{sha256(repr(items).encode()).hexdigest()} {pixels}\n"}


def test_the_questions_are_the_ones_that_models_were_trained_on() -> None:
    """A change of what is asked or drawn makes the shipped models' scores untrue: see that they are
    trained again, then write the new hash here."""
    asked = [(i.id, i.question, i.choices, i.answer, i.hint, i.scene) for i in (*TEST, *OPEN)]
    assert sha256(repr(asked).encode()).hexdigest() == ASKED


@pytest.mark.parametrize("split", SPLITS)
def test_a_count_takes_the_first_ones(split: str) -> None:
    """A larger count only adds; another seed draws others, with scenes of the same split."""
    some = questions(split, count=60)
    assert some == questions(split)[:60]
    others = questions(split, seed=1, count=60)
    assert not {i.scene for i in some} >= {i.scene for i in others}
    assert {i.scene.split for i in (*some, *others)} == {split}


def test_an_unknown_split_is_told() -> None:
    """With those that there are."""
    with pytest.raises(HarnessError, match=r"no split 'dev'\.\nThere are train, validation, test"):
        questions("dev", count=3)


@pytest.mark.slow
def test_no_picture_is_in_two_splits() -> None:
    """By the bytes of the drawing, by the scene, and so with any question."""
    seen: dict[object, str] = {}
    for split, items in ITEMS.items():
        for item in items:
            for key in (sha256(item.draw().tobytes()).digest(), item.scene):
                assert seen.setdefault(key, split) == split, item.id


@pytest.mark.parametrize(
    "items", [TEST, OPEN, questions("validation")], ids=["test", "open", "val"]
)
def test_nothing_is_asked_twice(items: tuple[Item, ...]) -> None:
    """No question comes again with the same picture, and no id."""
    assert len({(item.scene, item.question) for item in items}) == len(items)
    assert len({item.id for item in items}) == len(items)


def test_the_splits_are_as_large_as_they_say() -> None:
    """Enough for training, and for telling models apart."""
    assert {s: len(questions(s)) for s in SPLITS} == SIZES
    assert {s: len(open_questions(s)) for s in SPLITS} == OPEN_SIZES
    assert SIZES["train"] >= 6000
    assert SIZES["test"] >= 700


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_follows_from_the_scene(split: str) -> None:
    """A second solver, which shares nothing with the first, finds the same option."""
    for item in questions(split):
        assert isinstance(item.answer, int)
        found = mini_answers.solve(item.skill, item.scene, item.question)
        assert found == item.choices[item.answer], item.id


@pytest.mark.parametrize("split", SPLITS)
def test_a_rationale_ends_in_the_right_option(split: str) -> None:
    """Its text first, then its letter; the caption alone decides nothing but says enough."""
    for item in questions(split):
        answer = item.choices[int(item.answer)]
        assert item.reasoning.endswith(f" The answer is {answer}, {item.letter}."), item.id
        assert answer in item.reasoning.split(" The answer is ")[0]
        assert not re.search(rf"\b{item.letter}\.$", item.solution)
        assert item.lecture
        assert len(set(item.choices)) == len(item.choices)
        assert all(one_line(t) == t for t in (item.question, item.solution, *item.choices))


def test_rationales_are_short_and_their_words_few() -> None:
    """Small enough for models of a few million parameters."""
    words: set[str] = set()
    for item in (*TEST, *OPEN):
        parts = (item.question, item.hint, item.summary, item.caption, item.reasoning)
        words |= set(re.findall(r"\w+", " ".join((*parts, str(item.answer), *item.choices))))
        assert len(item.caption.split()) <= 40, item.id
        assert len(item.reasoning.split()) <= 45, item.id
    assert len({word.lower() for word in words}) < 450


def test_topics_letters_steps_and_levels_are_balanced() -> None:
    """Each topic as often, each place of the right option as often, one step and several."""
    topics = Counter(item.topic for item in TEST)
    assert set(topics) == {
        *("geography", "physics", "biology", "earth-science", "chemistry", "us-history"),
        "science-and-engineering-practices",
    }  # fmt: skip
    assert len(set(topics.values())) == 1
    for k in {len(item.choices) for item in TEST}:
        places = Counter(item.answer for item in TEST if len(item.choices) == k)
        assert max(places.values()) - min(places.values()) <= 1
        assert set(places) == set(range(k))
    steps = defaultdict(set)
    levels = defaultdict(set)
    for item in TEST:
        steps[item.topic].add(item.steps)
        levels[item.topic].add(item.level)
    assert all(1 in each and max(each) >= 3 for each in steps.values())
    assert all(each == {1, 2, 3} for each in levels.values())


def test_an_id_says_what_to_report_by() -> None:
    """Topic, skill, steps and level can be had from a run's sample ids alone."""
    for item in (*TEST, *OPEN):
        assert parse_id(item.id) == (item.topic, item.skill, item.steps, item.level)
    assert parse_id("7") is None
    assert parse_id("physics-7") is None


def features(item: Item, at: int) -> Iterator[object]:
    """What a reader without a picture could go by."""
    choice, number = item.choices[at], len(item.choices)
    rank = sorted(item.choices).index(choice)
    words = item.question.rstrip("?").split()
    yield item.skill, choice, number
    yield item.skill, rank, number
    yield at, number
    yield "length", len(choice)
    yield "named", choice in words
    for word in words:
        yield word, choice
        yield word, rank, number
    for other in item.choices:
        yield item.skill, other, choice


def test_without_the_picture_nobody_is_better_than_chance() -> None:
    """A classifier of questions and options, trained on 6,300, guesses on new ones."""
    right: Counter[object] = Counter()
    offered: Counter[object] = Counter()
    for item in questions("train"):
        for at in range(len(item.choices)):
            seen = list(features(item, at))
            offered.update(seen)
            right.update(seen if at == item.answer else ())
    new = questions("test", seed=1, count=1500)
    hits = 0
    for item in new:
        k = len(item.choices)
        scores = [
            sum(log((right[f] + 5 / k) / (offered[f] + 5)) for f in features(item, at))
            for at in range(k)
        ]
        hits += scores.index(max(scores)) == item.answer
    chance = sum(1 / len(item.choices) for item in new) / len(new)
    spread = (chance * (1 - chance) / len(new)) ** 0.5
    assert 0.28 < chance < 0.36
    assert abs(hits / len(new) - chance) < 3 * spread


def test_the_picture_decides() -> None:
    """A question that is asked often with the same options has each of them as its answer."""
    answers = defaultdict(Counter)
    for item in questions("train"):
        answers[item.question, tuple(sorted(item.choices))][item.choices[int(item.answer)]] += 1
    often = {key: found for key, found in answers.items() if found.total() >= 8 * len(key[1])}
    assert len(often) > 20
    assert all(set(found) == set(choices) for (_, choices), found in often.items())


def test_scenes_that_differ_look_different_at_64_pixels() -> None:
    """What the smallest encoders see still tells them apart."""
    small: dict[bytes, Scene] = {}
    for item in (*TEST, *OPEN):
        pixels = item.draw().reduce(4).tobytes()
        seen = small.setdefault(pixels, item.scene)
        assert sorted(seen.marks) == sorted(item.scene.marks), item.id


def test_a_thing_stays_in_its_cell() -> None:
    """Every thing is in the grid, is seen, and changes no patch but its own."""
    for item in (*TEST[:200], *OPEN[:100]):
        picture = item.draw()
        assert (picture.size, picture.mode) == ((drawing.SIZE, drawing.SIZE), "RGB")
        for at, mark in enumerate(item.scene.marks):
            assert 0 <= mark.row < GRID
            assert 0 <= mark.column < GRID
            marks = item.scene.marks
            without = drawing.draw(Scene(item.scene.backdrop, marks[:at] + marks[at + 1 :]))
            box = ImageChops.difference(picture, without).getbbox()
            if box is None:  # a sign lies on it, or the picture's ground shows the same
                assert any(m[2:] == mark[2:] for m in marks[at + 1 :]), mark
                continue
            wide = mark.shape == "layer"
            left, top = mark.column * drawing.CELL, mark.row * drawing.CELL
            right = drawing.SIZE if wide else left + drawing.CELL
            assert left <= box[0] < box[2] <= right, mark
            assert top <= box[1] < box[3] <= top + drawing.CELL, mark


def test_equal_things_look_equal_wherever_they_are() -> None:
    """The drawing of a thing does not depend on its cell."""
    one, two = (
        drawing.draw(Scene("lab", (Mark("star", "red", row, column),)))
        for row, column in ((0, 0), (3, 2))
    )
    cell = drawing.CELL
    box = (2 * cell, 3 * cell, 3 * cell, 4 * cell)
    assert one.crop((0, 0, cell, cell)).tobytes() == two.crop(box).tobytes()


@pytest.mark.parametrize("split", SPLITS)
def test_open_answers_are_several_sentences_about_the_picture(split: str) -> None:
    """Two to five sentences, in at least four topics, and hardly two alike."""
    items = open_questions(split)
    assert len({item.topic for item in items}) >= 4
    for item in items:
        assert isinstance(item.answer, str)
        assert 2 <= len(re.findall(r"[^.]+\.", item.answer)) <= 5, item.answer
        assert not re.search(r"  | [.,]|\.\.|\bNone\b|\{|\}", item.answer), item.answer
        assert item.hint
        assert not item.choices
    assert len({item.answer for item in items}) > 0.8 * len(items)


def test_an_open_answer_is_true_of_its_picture() -> None:
    """What is named is there, and the numbers are those that can be counted."""
    for item in OPEN:
        answer, marks = str(item.answer), item.scene.marks
        shapes = Counter(mark.shape for mark in marks)
        if item.topic == "cooking":
            named = {food for food in (*forum.FOODS, *forum.STAPLES) if food in answer}
            assert named == set(shapes), item.id
        elif item.topic == "pets":
            first = answer.split(".", maxsplit=1)[0]
            counts = {c: int(n) for n, c in re.findall(r"(\d) (\w+)", first)}
            assert counts == Counter(m.colour for m in marks if m.shape == "fish"), item.id
            assert ("water is green" in answer) == (item.scene.backdrop == "tank-green")
            assert ("good for them" in answer) == (shapes["weed"] > 0)
        elif item.topic == "travel":
            by_shape = {m.shape: m for m in marks}
            start, end = by_shape["train"], by_shape["town"]
            ways = {way: int(n) for n, way in re.findall(r"(\d) blocks? (\w+)", answer)}
            assert ways.get("south", 0) - ways.get("north", 0) == end.row - start.row
            assert ways.get("east", 0) - ways.get("west", 0) == end.column - start.column
            assert f" {5 * sum(ways.values())} minutes" in answer
        elif item.topic == "gardening":
            for stem in (m for m in marks if m.shape == "stem"):
                (flower,) = item.scene.at(stem.row - 1, stem.column)
                if stem.colour != "fine" or "plants look fine" not in answer:
                    said = [s for s in answer.split(". ") if re.search(rf"\b{flower.colour}\b", s)]
                    word = {"spotted": "spots"}.get(stem.colour, stem.colour)
                    assert "Go on" in answer or "not change" in answer or word in said[0], item.id
        else:
            assert item.topic == "outdoors"
            best = {day: n for n, day in enumerate(forum.DAYS)}[
                re.findall("|".join(forum.DAYS), answer)[0]
            ]
            kind = {m.column: m.shape for m in marks if m.row == 0}
            warmth = Counter(m.column for m in marks if m.shape == "bar")
            key = {c: (forum.WEATHER.index(kind[c]), -warmth[c]) for c in kind}
            assert min(key, key=key.__getitem__) == best, item.id


def content(sample: Sample) -> tuple[object, ...]:
    return (
        replace(sample, images=()),
        [image.digest() for image in sample.images],
    )


@pytest.mark.parametrize(
    ("name", "real", "make"),
    [("scienceqa-mini", scienceqa, questions), ("vqaonline-mini", vqaonline, open_questions)],
)
def test_written_questions_are_read_as_real_ones(name: str, real, make, tmp_path: Path) -> None:
    """The real task's loader finds the same samples in the folder as the mini task draws."""
    items = make("validation")
    file = export(tmp_path / "mine", "validation", items)
    assert file.name == "validation.jsonl"
    options = DataOptions(path=tmp_path / "mine", split="validation")
    task = load_task(name)
    read = real.load(options).samples
    drawn = task.load(DataOptions(split="val"))
    assert list(map(content, read)) == list(map(content, drawn.samples))
    assert list(map(content, task.load(options).samples)) == list(map(content, read))
    assert drawn.total == len(items)
    assert (drawn.source, drawn.licence) == ("generated by harness", "Apache-2.0")
    for sample, item in zip(read, items, strict=True):
        assert (sample.topic, sample.context) == (item.topic, item.hint)
        assert (sample.lecture, sample.target) == (
            item.lecture if item.choices else "",
            item.answer,
        )
        assert png(item) == sample.images[0].read()
    mini, full = (t.prompt(read[0], "direct") for t in (task, real.TASK))
    assert (mini.text, mini.choices) == (full.text, full.choices)
    assert mini.images[0].tobytes() == full.images[0].tobytes() == items[0].draw().tobytes()
    assert isinstance(mini.images[0], Image.Image)


def test_drawn_questions_are_written_for_ones_own_use(command, tmp_path: Path) -> None:
    """`harness draw` makes a folder that --data takes; what is there is not written over."""
    folder = tmp_path / "mine"
    arguments = ("draw", folder, "--split", "train", "--count", 5, "--seed", 3)
    made = command(*arguments, "--json")
    assert made.code == 0, made.stderr
    assert made.json["questions"] == 5
    read = scienceqa.load(DataOptions(path=folder, split="train")).samples
    assert [sample.id for sample in read] == [i.id for i in questions("train", 3, 5)]
    assert read[0].images[0].decode().size == (256, 256)
    again = command(*arguments)
    assert again.code == 2
    assert "train.jsonl is there already" in again.stderr
    (tmp_path / "file").touch()
    for wrong, told in (
        ((tmp_path / "x", "--task", "scienceqa"), "Choose one of scienceqa-mini, vqaonline-mini"),
        ((tmp_path / "x", "--split", "dev"), "no split 'dev'"),
        ((tmp_path / "x", "--count", 0), "--count"),
        ((tmp_path / "file" / "x",), "cannot be written"),
    ):
        refused = command("draw", *wrong)
        assert (refused.code, told in refused.stderr) == (2, True), refused.stderr
    opened = command("draw", folder, "--task", "vqaonline-mini", "--count", 3)
    assert "3 questions: " in opened.stdout
    assert len(vqaonline.load(DataOptions(path=folder, split="test")).samples) == 3


def test_splits_in_one_folder_keep_their_own_pictures(tmp_path: Path) -> None:
    """Some questions of two splits go by the same id: neither gets the other's picture."""
    firsts = {split: questions(split)[:900] for split in ("train", "test")}
    both = {item.id for item in firsts["train"]} & {item.id for item in firsts["test"]}
    assert both
    items = {
        split: [item for item in some if item.id in both][:30] for split, some in firsts.items()
    }
    for split, drawn in items.items():
        export(tmp_path, split, drawn)
    for split, drawn in items.items():
        read = scienceqa.load(DataOptions(path=tmp_path, split=split)).samples
        assert all(s.images[0].read() == png(i) for s, i in zip(read, drawn, strict=True))


@pytest.mark.parametrize("name", ["scienceqa-mini", "vqaonline-mini"])
def test_what_a_drawn_task_does_not_have_is_told(name: str) -> None:
    """Other splits, and revisions."""
    load = load_task(name).load
    with pytest.raises(HarnessError, match=r"no split 'dev'") as caught:
        load(DataOptions(split="dev"))
    assert caught.value.code == Exit.MISSING
    with pytest.raises(
        HarnessError, match=r"--revision applies only to a data set on the hub"
    ) as caught:
        load(DataOptions(revision="main"))
    assert caught.value.code == Exit.USAGE


def record(*, synthetic: bool = False, mini: bool = False) -> RunRecord:
    return RunRecord(
        task=TaskInfo(name="scienceqa", title="ScienceQA", split="test", synthetic=synthetic),
        model=ModelInfo(name="phi-3.5", title="Phi-3.5", mini=mini),
        fingerprint={},
        counts=Counts(total=1, available=1, done=1),
        metric_info={"accuracy": MetricInfo(title="Accuracy", unit="%", scope="sample")},
    )


def test_a_record_says_that_it_is_of_the_miniature() -> None:
    """Where the model or the questions are; and records of before these were told of still read."""
    assert record().label == ""
    assert record(synthetic=True).label == record(mini=True).label == "mini (synthetic)"
    assert scope(record(mini=True)).endswith("; mini (synthetic)")
    assert "mini" not in scope(record())
    data = record(mini=True).to_json()
    assert RunRecord.from_json(data, label="run.json").label == "mini (synthetic)"
    del data["task"]["synthetic"], data["model"]["mini"]
    assert RunRecord.from_json(data, label="run.json").label == ""


def run_folder(path: Path, made: RunRecord) -> RunFolder:
    folder = RunFolder(path)
    folder.write_record(made)
    with folder.locked():
        folder.append(
            [
                Prediction(
                    sample_id="1", raw="A", answer=0, rule="letter", target=0, scores={"accuracy": 1.0},
                    choices=("x", "y"),
                )
            ]
        )  # fmt: skip
    return folder


def test_mini_and_real_runs_are_not_compared(tmp_path: Path) -> None:
    """A mini model on real questions is no rival of a real one; two minis are told as such."""
    real = run_folder(tmp_path / "real", record())
    mini = run_folder(tmp_path / "mini", record(mini=True))
    other = run_folder(tmp_path / "other", record(mini=True))
    for pair in ((real, mini), (mini, real)):
        with pytest.raises(HarnessError, match=r"miniature cannot be compared with a real one"):
            compare(*pair)
    assert compare(mini, other).label == "mini (synthetic)"
    assert compare(real, real).label == ""


def test_a_run_on_drawn_questions_is_marked_wherever_it_is_shown(command, tmp_path: Path) -> None:
    """After the run, in the list, in the run itself, and in a comparison."""
    runs = tmp_path / "runs"
    arguments = ("--weights", "random", "--size", "tiny", "--max-new-tokens", 2, "--runs", runs)
    for name in ("one", "two"):
        shown = command(
            "eval", "--model", "moondream", "--task", "scienceqa-mini", "--split", "validation",
            "--limit", 14, "--sample", "stratified", "--name", name, *arguments,
        )  # fmt: skip
        assert shown.code == 0, shown.stderr
        assert "mini (synthetic)" in shown.stdout
        for topic in {family.topic for family in FAMILIES}:
            assert topic in shown.stdout
    listed = command("list", "runs", "--runs", runs)
    assert listed.stdout.count("mini (synthetic)") == 2
    folders = [runs / "scienceqa-mini" / name / "validation" for name in ("one", "two")]
    assert "mini (synthetic)" in command("show", folders[0]).stdout
    assert "ScienceQA-mini, mini (synthetic): 14" in command("compare", *folders).stdout
    made = json.loads((folders[0] / "run.json").read_text())
    assert made["task"]["synthetic"] is True
    assert made["counts"]["available"] == SIZES["validation"]


def test_drawn_questions_can_be_distilled(command, tmp_path: Path) -> None:
    """Rationales written elsewhere are imported for them as for real data."""
    theirs = tmp_path / "theirs.jsonl"
    rows = [
        {
            "id": item.id,
            "rationale": f"<SUMMARY> {item.summary} </SUMMARY>\n\n<CAPTION> {item.caption} "
            f"</CAPTION>\n\n<REASONING> {item.reasoning} </REASONING>\n\n"
            f"<CONCLUSION> {item.letter} </CONCLUSION>",
        }
        for item in questions("validation", count=7)
    ]
    theirs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = command(
        "distill", "rationales", "--task", "scienceqa-mini", "--split", "validation",
        "--import", theirs, "--limit", 7, "--filter", "agrees", "--runs", tmp_path / "runs", "--json",
    )  # fmt: skip
    assert made.code == 0, made.stderr
    assert made.json["counts"]["kept"] == 7


def test_the_families_are_told_apart() -> None:
    """A skill's name with its topic is one family's."""
    names = [(family.topic, family.skill) for family in (*FAMILIES, *forum.FAMILIES)]
    assert len(set(names)) == len(names)
    assert all(set(family.sizes) <= {1, 2, 3} for family in FAMILIES)


def test_the_page_on_the_miniature_states_what_is_so() -> None:
    """Its tables have each topic's skills, numbers and chance, and the sums."""
    text = (Path(__file__).parents[1] / "docs" / "miniature.md").read_text(encoding="utf-8")
    splits = [questions(split) for split in SPLITS]
    rows = []
    for topic in dict.fromkeys(family.topic for family in FAMILIES):
        own = [family for family in FAMILIES if family.topic == topic]
        one, several = (
            ", ".join(family.skill for family in own if (family.steps > 1) == more)
            for more in (False, True)
        )
        numbers = [sum(item.topic == topic for item in items) for items in splits]
        inverse = [1 / len(item.choices) for item in TEST if item.topic == topic]
        chance = sum(inverse) / len(inverse)
        rows.append(" | ".join(map(str, [topic, one, several, *numbers, f"{chance:.2f}"])))
    chance = sum(1 / len(item.choices) for item in TEST) / len(TEST)
    totals = " | ".join(f"{len(items):,}" for items in splits)
    rows.append(f"all | | | {totals} | {chance:.2f}")
    opens = [open_questions(split) for split in SPLITS]
    for topic in dict.fromkeys(family.topic for family in forum.FAMILIES):
        numbers = [sum(item.topic == topic for item in items) for items in opens]
        assert re.search(rf"\| {topic} \| [^|]+ \| {' [|] '.join(map(str, numbers))} \|", text)
    rows.append("all | | " + " | ".join(f"{len(items):,}" for items in opens))
    for row in rows:
        assert f"| {row} |" in text
    assert f"({len(FAMILIES)} kinds of questions)" in text


def test_drawn_questions_are_under_the_packages_licence(command) -> None:
    """Not under that of the data set whose schema they have."""
    listed = {
        each["name"]: each["licence"] for each in command("list", "tasks", "--json").json["tasks"]
    }
    assert {listed[name] for name in ("scienceqa-mini", "vqaonline-mini")} == {"Apache-2.0"}
