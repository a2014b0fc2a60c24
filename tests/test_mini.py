"""The miniatures: their training examples, their training and the check of their files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.checkpoints.checkpoint import MINI_MARK
from harness.checkpoints.resolve import find_checkpoint
from harness.cli.checking import download
from harness.core.errors import Exit, HarnessError
from harness.core.options import ModelOptions
from harness.core.progress import Silent
from harness.families import family_of
from harness.families.tiny import build
from harness.mini import build as build_module
from harness.mini import curriculum, examples, image_alignment, objectives, pretraining
from harness.mini.encoding import IGNORE_INDEX, Encoder, TrainingExample
from harness.mini.examples import TrainingQuestions, task_prompt
from harness.mini.recipes import RECIPES, Recipe
from harness.mini.training_loop import Stage
from harness.models.loading import LoadOptions, load
from harness.synthetic.questions import open_questions, questions
from harness.weights import minis as weights
from tasks import load_task

WORDS = [a + b for a in "bcdfglmnpr" for b in ("ato", "elu", "imo", "oba", "ude")]


@pytest.fixture(scope="module")
def pool() -> TrainingQuestions:
    return TrainingQuestions(
        choice=questions("train")[:24],
        open=open_questions("train")[:8],
        choice_task=load_task("scienceqa-mini"),
        open_task=load_task("vqaonline-mini"),
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, pool: TrainingQuestions) -> Any:
    """`models(name)` is a loaded mini with its first, random weights."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            folder = tmp_path_factory.mktemp("minis") / name
            build(name, folder, size="mini", corpus=pretraining.tokenizer_corpus(pool))
            found = find_checkpoint(name, weights=str(folder))
            made[name] = load(found, LoadOptions(device="cpu", dtype="float32"))
        return made[name]

    return get


@pytest.mark.parametrize("seed", range(20))
def test_what_is_to_be_recalled_stands_before(seed: int) -> None:
    """Every recalled span of a text follows from the text before it."""
    for make in curriculum.KINDS.values():
        text = make(Random(seed), WORDS)
        assert text.recalled
        for start, end in text.recalled:
            assert text.text[start:end].strip() in text.text[:start]


def test_only_what_is_recalled_is_learned(models) -> None:
    """Labels are the tokens of the recalled spans, in their own positions."""
    encoder = Encoder(models("moondream"))
    text = curriculum.lookup(Random(3), WORDS)
    row = encoder.text(text)
    learned = [token for token in row.labels if token != IGNORE_INDEX]
    said = models("moondream").tokenizer.decode(learned)
    assert said.split() == "".join(text.text[a:b] for a, b in text.recalled).split()
    assert all(
        label in {IGNORE_INDEX, token} for token, label in zip(row.ids, row.labels, strict=True)
    )


@pytest.mark.parametrize("name", ["moondream", "llava-cot", "phi-3.5", "llava-next", "kosmos-2"])
def test_an_example_is_the_prompt_of_evaluation_and_its_answer(models, pool, name: str) -> None:
    """The tokens before the first label are those that the model prepares."""
    model = models(name)
    item = pool.choice[0]
    prompt = task_prompt(pool.choice_task, item, "direct")
    row = Encoder(model).example(TrainingExample(prompt, "B", "picture"))
    (prepared,) = model.prepare([prompt])
    length = prepared.inputs["input_ids"].shape[1]
    assert list(row.ids[:length]) == prepared.inputs["input_ids"][0].tolist()
    assert set(row.labels[:length]) == {IGNORE_INDEX}
    assert row.labels[length:] == row.ids[length:]
    assert row.ids[-1] == model.tokenizer.eos_token_id


def test_a_prefix_has_no_labels(models, pool) -> None:
    """The whole rationale is there; only what follows its caption has labels."""
    model = models("llava-cot")
    items = replace(pool, choice=pool.choice[:4])
    for whole, part in zip(
        examples.make_examples(items, "structured", Random(0)),
        examples.make_examples(items, "reasoning", Random(0)),
        strict=True,
    ):
        row, learned = (Encoder(model).example(each) for each in (whole, part))
        assert learned.ids == row.ids
        labels = [label for label in learned.labels if label != IGNORE_INDEX]
        assert list(row.labels[-len(labels) :]) == labels
        said = model.tokenizer.decode(labels, skip_special_tokens=True)
        assert said == whole.answer[whole.answer.index("<REASONING>") :]


@pytest.mark.parametrize("name", ["moondream", "phi-3.5", "llava-next", "kosmos-2"])
def test_a_frozen_encoder_gives_the_loss_of_its_pixels(models, pool, name: str) -> None:
    """Features that are computed once take the place of the pixels; no gradient reaches the vision
    encoder, and afterwards the pixels count again."""
    encoder, network = Encoder(models(name)), models(name).network
    items = replace(pool, choice=pool.choice[:6])
    rows = [encoder.example(each) for each in examples.make_examples(items, "letter", Random(0))]

    def loss_and_trained() -> tuple[float, set[str]]:
        network.zero_grad()
        total, number = encoder.loss(rows)
        total.backward()
        return total.item() / number, {
            n for n, p in network.named_parameters() if p.grad is not None
        }

    whole, trained = loss_and_trained()
    encoder.freeze()
    frozen, fewer = loss_and_trained()
    assert frozen == pytest.approx(whole, abs=1e-5)
    traits = family_of(network.config.model_type).training
    assert traits
    sees = tuple(f"{part}." for part in (*traits.vision, *traits.projector))
    assert (
        {n for n in fewer if n.startswith(sees)}
        == set()
        < {n for n in trained if n.startswith(sees)}
    )
    encoder.thaw()
    assert loss_and_trained() == (pytest.approx(whole, abs=1e-6), trained)


@pytest.mark.parametrize("kind", ["steps", "described letter", "one-step option"])
def test_what_a_mini_is_taught_to_say_is_read_as_the_answer(kind: str) -> None:
    """Of every kind of question: what is extracted is the right option."""
    each = {(item.topic, item.skill): item for item in questions("train")[:400]}
    pool = TrainingQuestions(
        choice=list(each.values()),
        open=[],
        choice_task=load_task("scienceqa-mini"),
        open_task=load_task("vqaonline-mini"),
    )
    asked = [item for item in pool.choice if item.steps == 1 or not kind.startswith("one-step")]
    for item, made in zip(asked, examples.make_examples(pool, kind, Random(0)), strict=True):
        found = pool.choice_task.extract(made.answer, item.choices, finished=True)
        assert found.answer == item.answer, made.answer


def test_an_option_is_said_in_the_tokens_that_stand_in_the_question(models, pool) -> None:
    """A model that can copy can say it."""
    tokenizer = models("moondream").tokenizer
    for kind in ("one-step option", "several-step guess"):
        for made in examples.make_examples(pool, kind, Random(0)):
            said, asked = (
                tokenizer(text, add_special_tokens=False)["input_ids"]
                for text in (made.answer, made.prompt.text)
            )
            starts = range(len(asked) - len(said) + 1)
            assert any(asked[start : start + len(said)] == said for start in starts)


def test_answers_to_several_steps_say_nothing_about_the_right_one() -> None:
    """Moondream's are options at random: right as often as chance has it."""
    items = [item for item in questions("train")[:2000] if item.steps > 1]
    pool = TrainingQuestions(
        choice=questions("train")[:2000],
        open=[],
        choice_task=load_task("scienceqa-mini"),
        open_task=load_task("vqaonline-mini"),
    )
    made = list(examples.make_examples(pool, "several-step guess", Random(0)))
    right = [
        one.answer.strip() == item.choices[int(item.answer)]
        for one, item in zip(made, items, strict=True)
    ]
    guess = sum(1 / len(item.choices) for item in items) / len(items)
    assert sum(right) / len(right) == pytest.approx(guess, abs=0.04)


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.style])
def test_a_mini_is_asked_in_the_style_of_its_recipe(tmp_path: Path, pool, name: str) -> None:
    """Its mark says so: nothing is added to the question, as when it was trained. The published
    row, and a folder that is not asked for by the row's name, keep their style."""
    folder = tmp_path / name
    build(name, folder)
    plain = find_checkpoint(name, weights=str(folder))
    assert plain.style == "direct"
    build_module.write_mark(folder, name)
    found = find_checkpoint(name, weights=str(folder))
    style = RECIPES[name].style
    assert style
    assert found.style == style
    assert find_checkpoint(str(folder)).style == "direct"
    asked = task_prompt(pool.choice_task, pool.choice[0], style)
    (kind,) = {"steps", "described letter"} & set(RECIPES[name].stages[-1].mix)
    learned = next(examples.make_examples(pool, kind, Random(0))).prompt
    before, after = (
        load(each, LoadOptions(device="cpu", dtype="float32")) for each in (plain, found)
    )
    (sent,), (taught,) = after.prepare([asked]), before.prepare([learned])
    assert sent.text == taught.text


def test_a_mark_with_a_style_that_there_is_not_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    build("phi-3.5", tmp_path / "model")
    mark = {"model": "phi-3.5", "parameters": 1, "style": "loud"}
    (tmp_path / "model" / MINI_MARK).write_text(json.dumps(mark))
    with pytest.raises(HarnessError, match=MINI_MARK):
        _ = find_checkpoint("phi-3.5", weights=str(tmp_path / "model")).style


@pytest.mark.parametrize("name", ["moondream", "llava-cot", "phi-3.5", "llava-next", "kosmos-2"])
def test_each_cell_has_a_token(models, pool, name: str) -> None:
    """A change in one cell of the picture moves that cell's token, of every view, the most."""
    model, encoder = models(name), Encoder(models(name))
    picture = pool.choice[0].scene
    prompt = task_prompt(pool.choice_task, pool.choice[0], "direct")
    (image,) = prompt.images
    changed = image.copy()
    changed.paste((255, 0, 255), (128, 64, 192, 128))  # row 1, column 2
    encoder.example(TrainingExample(prompt, "B", repr(picture)))
    encoder.example(TrainingExample(replace(prompt, images=(changed,)), "B", "changed"))
    see = family_of(model.network.config.model_type).cell_tokens
    with torch.inference_mode():
        one, other = (
            see(model.network, encoder.pixels([key])) for key in (repr(picture), "changed")
        )
    assert one.shape[2] == image_alignment.CELLS
    if name != "kosmos-2":  # its queries have no place before they are taught one
        assert set((one - other).norm(dim=-1)[0].argmax(dim=-1).tolist()) == {6}


def test_neighbours_are_labelled_in_both_orders() -> None:
    """Of a bar chart: the bar before, and how tall each bar is; nothing of empty cells."""
    item = next(i for i in questions("train") if i.skill == "height")
    names = image_alignment.names_of([item.scene])
    told = image_alignment.neighbour_labels(item.scene, names)
    bars: dict[int, list[Any]] = {}
    for mark in item.scene.marks:
        bars.setdefault(mark.column, []).append(mark)
    before = ""
    for column, cells in sorted(bars.items()):
        top = min(cell.row for cell in cells)
        row = told[top * image_alignment.GRID + column]
        assert row[-image_alignment.GRID :].argmax() == len(cells) - 1
        colours = {n for n, given in zip(names, row[len(names) :], strict=False) if given}
        assert not before or before in colours
        before = cells[0].colour
    empty = {(r, c) for r in range(4) for c in range(4)} - {
        (m.row, m.column) for m in item.scene.marks
    }
    assert all(not told[r * image_alignment.GRID + c].any() for r, c in empty)


def test_a_text_with_an_image_has_the_same_labels(pool, models) -> None:
    """Mllama's texts have the columns that its examples have; ids and labels are those without."""
    model = models("llava-cot")
    encoder = Encoder(model)
    item = pool.choice[0]
    example = encoder.example(
        TrainingExample(task_prompt(pool.choice_task, item, "structured"), "B", "one")
    )
    text = curriculum.lookup(Random(0), WORDS)
    alone, with_image = encoder.text(text), encoder.text(text, "one")
    assert (alone.ids, alone.labels) == (with_image.ids, with_image.labels)
    assert set(with_image.columns) == set(example.columns)
    inputs, _ = encoder.batch([with_image, encoder.text(text, "one")])
    with torch.inference_mode():
        seen = model.network(**inputs).logits
        blind = model.network(input_ids=inputs["input_ids"]).logits
    assert not torch.allclose(seen, blind, atol=1e-3)


def test_embeddings_share_a_direction_where_nothing_else_is_constant(models) -> None:
    """Llama's and Phi-3's queries have no bias; Moondream's have."""
    for name, shared in (("llava-cot", True), ("phi-3.5", True), ("moondream", False)):
        embeddings = models(name).network.get_input_embeddings().weight
        assert (embeddings.mean() > 0.4) == shared


STAGES = (
    Stage(name="words", steps=2, rate=1e-3, mix={"copies": 2, "lookup": 2}),
    Stage(name="seeing", steps=2, rate=1e-3, mix={"cells": 4}),
    Stage(name="captions", steps=2, rate=1e-3, mix={"caption": 3}, frozen=True, falling=True),
)


def test_a_resumed_training_ends_like_an_uninterrupted_one(pool, tmp_path: Path) -> None:
    """To the bit: a stage depends on the seed, and not on which process ran those before."""
    keep = tmp_path / "keep"
    pretraining.pretrain("moondream", tmp_path / "a", questions=pool, stages=STAGES[:2], keep=keep)
    pretraining.pretrain("moondream", tmp_path / "b", questions=pool, stages=STAGES, keep=keep)
    pretraining.pretrain("moondream", tmp_path / "c", questions=pool, stages=STAGES)
    resumed, whole = (load_file(tmp_path / x / "model.safetensors") for x in "bc")
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    assert {tensor.dtype for tensor in whole.values()} == {torch.float32}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_mix_what_there_is(name: str) -> None:
    """A misspelt kind of text or example would be left out silently."""
    known = {*curriculum.KINDS, *examples.KINDS, objectives.CELLS}
    for stage in RECIPES[name].stages:
        assert set(stage.mix) <= known, stage.name


@pytest.fixture
def built(pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`built(**changes)` trains a Moondream for a few steps, measured on a few questions."""
    recipes = {"moondream": Recipe(stages=STAGES, learned="Next to nothing.")}
    monkeypatch.setattr(build_module, "RECIPES", recipes)
    monkeypatch.setattr(pretraining, "RECIPES", recipes)
    monkeypatch.setattr(build_module, "training_questions", lambda: pool)
    monkeypatch.setattr(build_module, "measure", partial(build_module.measure, limit=7))
    command = ("harness", "mini", "pretrain", "moondream")

    def made(**changes: Any) -> Path:
        given = {"name": "moondream", "out": tmp_path / "made", "command": command, **changes}
        return build_module.build_mini(build_module.BuildSettings(**given), show=Silent)

    return made


@pytest.mark.slow
def test_a_mini_is_made_with_its_card(built, tmp_path: Path) -> None:
    """It loads and is marked; the card has what it was made with and what it scored."""
    folder = built(seed=3)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    found = find_checkpoint("moondream", weights=str(folder))
    assert found.mini
    load(found, LoadOptions(device="cpu", dtype="float32"))
    card = (folder / "README.md").read_text()
    for words in ("- Made by: `harness mini pretrain moondream`", "- Seed: 3", "Next to nothing."):
        assert words in card
    assert re.search(r"\| scienceqa-mini \| accuracy \| 0\.\d{3} \| .* \| 7 \|", card)
    assert "| captions | 2 | 0.001 | 3 caption |" in card
    assert "mini (synthetic)" in card


def test_nothing_is_written_over(built, tmp_path: Path) -> None:
    """A folder that holds anything stays as it is; so does what `--keep` would lose."""
    there = tmp_path / "models" / "mine.safetensors"
    there.parent.mkdir()
    there.write_text("weights")
    with pytest.raises(HarnessError, match="is there already"):
        built(out=there.parent)
    with pytest.raises(HarnessError, match="is there already"):
        built(out=there)
    with pytest.raises(HarnessError, match="--keep"):
        built(keep=tmp_path / "made" / "stages")
    assert there.read_text() == "weights"
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_the_shipped_files_are_verified(command) -> None:
    """One line for each, as `harness mini verify` says."""
    done = command("mini", "verify")
    assert done.code == 0
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(weights.names())


def test_a_stage_ends_when_it_is_learned(pool, tmp_path: Path) -> None:
    """A loss below `until` over its last steps, and not before there are that many."""
    stage = Stage(name="words", steps=60, until=1e9, rate=1e-3, mix={"copies": 1})
    (result,) = pretraining.pretrain("moondream", tmp_path / "a", questions=pool, stages=[stage])
    assert result.steps == 40


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A folder of two checkpoints with its manifest."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "README.md").write_text("a card")
    weights.write_manifest(tmp_path)
    return tmp_path


def test_a_file_that_is_not_what_was_shipped_is_told_with_what_to_do(shipped: Path) -> None:
    """One changed byte; the others are whole, and a card may change."""
    (shipped / "one" / "config.json").write_text("{ ")
    (shipped / "two" / "README.md").write_text("another card")
    with pytest.raises(HarnessError, match=r"one.config\.json is not the file") as told:
        weights.find("one", shipped)
    assert "git checkout -- harness/mini/weights" in told.value.remedy
    assert told.value.code is Exit.MISSING
    assert weights.find("two", shipped) == shipped / "two"


def test_a_missing_file_and_a_broken_manifest_are_told(shipped: Path) -> None:
    """With their names."""
    (shipped / "one" / "config.json").unlink()
    with pytest.raises(HarnessError, match=r"one.config\.json cannot be read"):
        weights.find("one", shipped)
    (shipped / weights.MANIFEST).write_text("{")
    with pytest.raises(HarnessError, match=r"manifest\.json cannot be read"):
        weights.find("two", shipped)


def test_a_model_without_a_mini_is_refused(shipped: Path) -> None:
    """With those that there are, or with how one is made."""
    with pytest.raises(HarnessError, match="no mini of three") as told:
        weights.find("three", shipped)
    assert told.value.known == "There are one, two."
    (shipped / weights.MANIFEST).unlink()
    with pytest.raises(HarnessError, match="no mini of vilt") as told:
        weights.find("vilt", shipped)
    assert "harness mini pretrain vilt" in told.value.remedy
    with pytest.raises(HarnessError, match="no mini of one") as told:
        weights.find("one", shipped)
    assert told.value.remedy == "harness list models"


def test_whatever_is_made_from_a_mini_is_marked_as_one(
    models, tmp_path: Path, pool: TrainingQuestions
) -> None:
    """The mark is a file that every copy of the folder carries; the size is its own."""
    folder = tmp_path / "mini"
    build("moondream", folder, size="mini", corpus=pretraining.tokenizer_corpus(pool))
    assert not find_checkpoint("moondream", weights=str(folder)).mini
    (folder / MINI_MARK).write_text(json.dumps({"parameters": 1_315_945}))
    found = find_checkpoint("moondream", weights=str(folder))
    assert found.mini
    assert found.size == "1.3M"
    assert found.licence == "Apache-2.0"
    assert found.title == "Moondream-mini"


def test_a_mini_needs_no_download() -> None:
    """It comes with the package; the published weights of the same name are downloaded."""
    assert download(ModelOptions(model="moondream", size="mini")) is None
    assert (download(ModelOptions(model="moondream")) or {})["repo"] == "vikhyatk/moondream2"
