"""The miniatures that come with the package: whole, as good as their cards say, and made as their
cards say."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from PIL import Image
from sacrebleu import BLEU

from harness.checkpoints.catalog import CATALOG
from harness.core.errors import Exit
from harness.core.structured import Rationale, parse, render
from harness.core.types import DataOptions, Decoding, Prompt
from harness.mini import curriculum, examples
from harness.mini.encoding import IGNORE_INDEX, Encoder, TrainingExample, target_loss
from harness.mini.examples import TrainingQuestions
from harness.mini.recipes import RECIPES
from harness.models.loading import LoadOptions, load
from harness.synthetic.questions import open_questions, questions
from harness.weights import minis as weights
from harness.weights.resolve import resolve_weights
from tasks import load_task

NAMES = tuple(spec.name for spec in CATALOG)
WRITERS = tuple(name for name in NAMES if name != "vilt")
MB = 1_000_000
ABOVE_CHANCE = ("llava-cot", "llava-next", "phi-3.5", "moondream", "moondream-kd")
"""Those that reason, describe, or name an option that they see."""


def but(names: Sequence[str], *quick: str) -> list[Any]:
    """`names`, as parameters; all but `quick` are for `make test-slow`."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@cache
def pool() -> TrainingQuestions:
    """Questions of the validation split, which no mini has learned from."""
    return TrainingQuestions(
        choice=questions("validation"),
        open=open_questions("validation"),
        choice_task=load_task("scienceqa-mini"),
        open_task=load_task("vqaonline-mini"),
    )


@cache
def mini(name: str) -> Any:
    checkpoint = resolve_weights(name, size="mini")
    return load(checkpoint, LoadOptions(device="cpu", dtype="float32"))


def card(name: str) -> str:
    return (weights.FOLDER / name / "README.md").read_text(encoding="utf-8")


def stated(name: str, task: str, figure: str) -> tuple[float, int]:
    """A figure of the card, and the number of questions it is of."""
    found = re.search(
        rf"^\| {task} \| {figure} \| ([\d.]+) \|.*\| (\d+) \|$", card(name), re.MULTILINE
    )
    assert found, f"{name}: no {figure} of {task}"
    return float(found[1]), int(found[2])


def accuracy(
    name: str, number: int = 100, *, change: Callable[[Prompt], Prompt] | None = None
) -> float:
    """Share of the first validation questions that are answered right, as `harness eval` asks."""
    right = asked(name, number) if change is None else _asked(name, range(number), change)
    return sum(right) / number


answered: defaultdict[str, list[bool]] = defaultdict(list)
"""Which of the first validation questions each mini as it is answers right, so far as asked."""


def asked(name: str, number: int) -> list[bool]:
    """The same of `number` questions."""
    known = answered[name]
    if len(known) < number:
        known += _asked(name, range(len(known), number), lambda prompt: prompt)
    return known[:number]


def _asked(name: str, places: range, change: Callable[[Prompt], Prompt]) -> list[bool]:
    task = load_task("scienceqa-mini")
    samples = task.load(DataOptions(split="validation")).samples[places.start : places.stop]
    style = resolve_weights(name, size="mini").style
    prompts = [change(task.prompt(sample, style)) for sample in samples]
    model = mini(name)
    outputs = model.generate(model.prepare(prompts), Decoding(max_new_tokens=320))
    return [
        task.extract(output.raw, sample.choices).answer == sample.target
        for output, sample in zip(outputs, samples, strict=True)
    ]


def chance(number: int = 100) -> float:
    return sum(1 / len(item.choices) for item in pool().choice[:number]) / number


# What is shipped.


def test_every_row_of_the_catalogue_comes_as_a_mini() -> None:
    """Seven rows, seven miniatures."""
    assert set(weights.names()) == set(NAMES)


def test_they_are_small_enough_to_travel_with_the_package() -> None:
    """All together at most 24 MB, the teacher at most 8."""
    sizes = {
        name: sum(path.stat().st_size for path in weights.find(name).iterdir()) for name in NAMES
    }
    assert sum(sizes.values()) <= 24 * MB
    assert sizes["llava-cot"] <= 8 * MB


@pytest.mark.parametrize("name", NAMES)
def test_a_mini_has_the_classes_of_its_row(name: str) -> None:
    """The same model_type as the published weights, in at most 16 bits, marked as a mini."""
    found = resolve_weights(name, size="mini")
    spec = next(spec for spec in CATALOG if spec.name == name)
    assert found.model_type == spec.model_type
    assert found.name == f"{name}-mini"
    assert found.title == f"{spec.title}-mini"
    assert found.mini
    assert found.licence == "Apache-2.0"
    parameters = mini(name).description["parameters"]
    # A head that shares the embedding's weights, and buffers, are not counted twice.
    assert math.isclose(float(found.size[:-1]) * 1e6, parameters, rel_tol=0.05)
    (weights_file,) = found.folder.glob("*.safetensors")
    assert weights_file.stat().st_size < 2.1 * parameters


def test_the_manifest_is_that_of_the_files(tmp_path: Path) -> None:
    """Writing it anew changes nothing."""
    copied = Path(shutil.copytree(weights.FOLDER, tmp_path / "weights"))
    before = json.loads((copied / weights.MANIFEST).read_text())
    weights.write_manifest(copied)
    assert json.loads((copied / weights.MANIFEST).read_text()) == before


@pytest.mark.parametrize("name", RECIPES)
def test_a_mini_was_made_by_its_recipe(name: str) -> None:
    """Its card has the recipe's words and stages; those that end by their loss have fewer steps."""
    recipe = RECIPES[name]
    assert recipe.learned in card(name)
    rows = [line.strip("| ").split(" | ") for line in card(name).splitlines() if line[:1] == "|"]
    made = [row for row in rows if row[0] in {stage.name for stage in recipe.stages}]
    for stage, row in zip(recipe.stages, made, strict=True):
        mix = ", ".join(f"{number} {kind}" for kind, number in stage.mix.items())
        assert [row[0], row[2], row[3]] == [stage.name, f"{stage.rate:g}", mix]
        steps = int(row[1])
        assert 0 < steps <= stage.steps if stage.until else steps == stage.steps


def test_missing_weights_name_the_mini_that_can_be_tried(command, tmp_path: Path) -> None:
    """Without published weights the command ends with exit 3, and says what works at once."""
    data = tmp_path / "questions"
    command("draw", data, "--count", "1", "--split", "test")
    done = command("eval", "--model", "phi-3.5", "--task", "scienceqa", "--data", data)
    assert done.code == Exit.MISSING
    assert "harness eval --model phi-3.5 --size mini --task scienceqa-mini" in done.stderr


def test_a_run_of_a_mini_says_that_it_is_one(command, tmp_path: Path) -> None:
    """At once, offline: name, size and mark stand in the record."""
    arguments = ["--model", "vilt", "--size", "mini", "--task", "scienceqa-mini", "--limit", "7"]
    done = command("eval", *arguments, "--runs", tmp_path, "--json")
    assert done.code == 0, done.stderr
    record = json.loads((tmp_path / "scienceqa-mini/vilt-mini/test/run.json").read_text())
    assert record["model"]["mini"]
    assert record["model"]["title"] == "ViLT-mini"
    assert record["model"]["size"] == resolve_weights("vilt", size="mini").size
    assert record["model"]["size"] != "113M"


def test_sizes_that_do_nothing_are_refused(command) -> None:
    """--size mini with weights of one's own says nothing."""
    arguments = ["--model", "vilt", "--size", "mini", "--weights", ".", "--task", "scienceqa-mini"]
    done = command("eval", *arguments)
    assert done.code == Exit.USAGE
    assert "--size" in done.stderr


# As good as their cards say.


@pytest.mark.parametrize("name", but(NAMES, "moondream-kd", "vilt"))
def test_the_stated_score_is_reproduced_on_a_part_of_the_questions(name: str) -> None:
    """60 of the 350 validation questions, within three standard errors of such a part."""
    value, number = stated(name, "scienceqa-mini", "accuracy")
    assert number == 350
    error = math.sqrt(value * (1 - value) / 60 * (1 - 60 / number))
    assert abs(accuracy(name, 60) - value) <= 3 * error + 0.01


def bleu(name: str, number: int, *, change: Callable[[list[Prompt]], list[Prompt]] = list) -> float:
    """Corpus BLEU of the first open validation questions, 0 to 1, as `harness eval` asks them."""
    task = load_task("vqaonline-mini")
    samples = task.load(DataOptions(split="validation")).samples[:number]
    style = resolve_weights(name, size="mini").style
    prompts = change([task.prompt(sample, style) for sample in samples])
    model = mini(name)
    outputs = model.generate(model.prepare(prompts), Decoding(max_new_tokens=320))
    said = [task.extract(output.raw, ()).answer or "" for output in outputs]
    score = BLEU(tokenize="13a", smooth_method="none", force=True)
    return score.corpus_score(said, [[str(sample.target) for sample in samples]]).score / 100


def pictures_exchanged(prompts: list[Prompt]) -> list[Prompt]:
    """Each question with the picture of the next."""
    following = [*prompts[1:], prompts[0]]
    return [replace(p, images=other.images) for p, other in zip(prompts, following, strict=True)]


@pytest.mark.parametrize(
    "name", but([name for name in WRITERS if name != "moondream-kd"], "phi-3.5")
)
def test_open_answers_are_as_good_as_stated_and_are_about_the_picture(name: str) -> None:
    """Whatever an adapter gets wrong shows here: the score is the card's, and falls to next to
    nothing with another question's picture."""
    value, number = stated(name, "vqaonline-mini", "bleu")
    assert number == 100
    assert bleu(name, number) == pytest.approx(value, abs=0.01)
    assert bleu(name, 30, change=pictures_exchanged) < value / 3


@pytest.mark.parametrize("name", but(ABOVE_CHANCE, "moondream"))
def test_those_that_use_what_they_see_answer_better_than_chance(name: str) -> None:
    """By more than two standard errors, on questions whose pictures they never saw."""
    number = 200
    guess = chance(number)
    assert accuracy(name, number) > guess + 2 * math.sqrt(guess * (1 - guess) / number)


@pytest.mark.parametrize("name", but([*ABOVE_CHANCE, "vilt"], "vilt"))
def test_without_the_picture_they_guess(name: str) -> None:
    """What they know of an answer is in the picture, not in the words."""
    guess = chance()
    empty = (Image.new("RGB", (256, 256), "white"),) if name == "vilt" else ()
    blind = accuracy(name, change=lambda prompt: replace(prompt, images=empty))
    # A model that was never asked without a picture may write nothing that can be read.
    assert blind <= guess + 3 * math.sqrt(guess * (1 - guess) / 100)


@pytest.mark.slow
def test_the_teacher_writes_rationales_that_are_sometimes_wrong() -> None:
    """Four tags, each closed; more conclusions are right than by chance, and not all."""
    items = pool().choice[:100]
    model = mini("llava-cot")
    made = list(examples.make_examples(replace(pool(), choice=items), "structured", Random(0)))
    outputs = model.generate(model.prepare([m.prompt for m in made]), Decoding(max_new_tokens=320))
    parsed = [parse(output.raw) for output in outputs]
    right = sum(p.conclusion == item.letter for p, item in zip(parsed, items, strict=True))
    assert sum(p.well_formed for p in parsed) >= 90
    assert 100 * chance() < right < 100


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("phi-3.5", r"Step 1: [^<\n]+\nStep 2: [^<\n]*The answer is .+, [A-E]\."),
        pytest.param("llava-next", r"[^<\n]+ The answer is .+, [A-E]\.", marks=pytest.mark.slow),
        ("moondream", r"[^<\n]{1,30}"),
    ],
)
def test_each_answers_in_words_of_its_own(name: str, pattern: str) -> None:
    """Phi-3.5 in two steps, LLaVA-NeXT after a description, Moondream by an option: none in the
    teacher's tags, and of an open question the answer at once."""
    model, style = mini(name), resolve_weights(name, size="mini").style
    items = pool()
    asked = [
        *(examples.task_prompt(items.choice_task, item, style) for item in items.choice[:12]),
        *(examples.task_prompt(items.open_task, item, style) for item in items.open[:2]),
    ]
    outputs = model.generate(model.prepare(asked), Decoding(max_new_tokens=200))
    said = [output.raw.strip() for output in outputs]
    assert sum(bool(re.fullmatch(pattern, text)) for text in said[:12]) >= 10
    assert not any("Step" in text or "answer is" in text or "<" in text for text in said[12:])


def test_moondream_looks_up_an_option_by_its_letter_and_a_letter_by_its_option() -> None:
    """In texts that it never saw: what reasoning that ends in a letter needs."""
    model = mini("moondream")
    encoder = Encoder(model)
    words = curriculum.words_of(item.caption for item in pool().choice)
    right = asked = 0
    for seed in range(40):
        ids, labels = encoder.batch([encoder.text(curriculum.lookup(Random(seed), words))])
        with torch.inference_mode():
            found = model.network(**ids).logits.argmax(-1)[:, :-1]
        learned = labels[:, 1:] != IGNORE_INDEX
        right += int((found[learned] == labels[:, 1:][learned]).sum())
        asked += int(learned.sum())
    assert right / asked > 0.75


def test_moondream_describes_pictures_and_was_taught_no_rationales() -> None:
    """The base of the distillation sees, and writes none of the four tags."""
    model = mini("moondream")
    items = replace(pool(), choice=pool().choice[:40])
    made = list(examples.make_examples(items, "asked caption", Random(0)))
    outputs = model.generate(model.prepare([m.prompt for m in made]), Decoding(max_new_tokens=120))
    assert not any("<" in output.raw for output in outputs)
    shared = [_shared(o.raw, m.answer) for o, m in zip(outputs, made, strict=True)]
    crossed = [_shared(o.raw, m.answer) for o, m in zip(outputs, made[1:], strict=False)]
    assert sum(shared) / len(shared) > sum(crossed) / len(crossed) + 0.2


def _shared(one: str, other: str) -> float:
    """The share of the sentences of `other` that are in `one`."""
    said = {sentence.strip(" .") for sentence in other.split(". ")}
    return len(said & {sentence.strip(" .") for sentence in one.split(". ")}) / len(said)


# A broken adapter shows.


@cache
def loss_as_it_is() -> float:
    return loss()


def loss(*, shift: int = 0) -> float:
    """Of Moondream-kd: mean negative log-likelihood of 30 unseen rationales, asked as in training."""
    model = mini("moondream-kd")
    encoder = Encoder(model)
    rows = []
    for item in pool().choice[:30]:
        said = Rationale(item.summary, item.caption, item.reasoning, item.letter)
        asked = examples.task_prompt(pool().choice_task, item, "direct")
        rows.append(encoder.example(TrainingExample(asked, render(said), repr(item.scene))))
    inputs, labels = encoder.batch(rows)
    if shift:
        labels = labels.roll(shift, dims=1)
    with torch.inference_mode():
        total, number = target_loss(model.network, inputs, labels)
    return float(total) / number


@contextmanager
def features_changed(change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Moondream's image tokens, (N, T, D), changed on their way to the language model."""
    kept = mini("moondream-kd")
    model = kept.network.model
    whole = model.get_image_features
    model.get_image_features = lambda *arguments: change(whole(*arguments))
    kept.forget_images()
    try:
        yield
    finally:
        del model.get_image_features
        kept.forget_images()


def swapped(features: torch.Tensor) -> torch.Tensor:
    places = list(range(features.shape[1]))
    places[1], places[14] = places[14], places[1]
    return features[:, places]


def test_two_swapped_image_tokens_are_noticed() -> None:
    """An adapter that lays the image tokens out wrongly costs likelihood on unseen pictures."""
    right = loss_as_it_is()
    with features_changed(swapped):
        wrong = loss()
    assert wrong > right * 1.1


@pytest.mark.slow
def test_two_swapped_image_tokens_cost_answers() -> None:
    """And right answers, by more than 5 in a hundred."""
    answers = accuracy("moondream-kd", 200)
    with features_changed(swapped):
        fewer = accuracy("moondream-kd", 200, change=lambda prompt: prompt)
    assert fewer < answers - 0.05


def test_a_dropped_image_is_noticed() -> None:
    """An adapter that feeds the model nothing in the picture's place."""
    right, answers = loss_as_it_is(), accuracy("moondream-kd", 40)
    with features_changed(torch.zeros_like):
        wrong, fewer = loss(), accuracy("moondream-kd", 40, change=lambda prompt: prompt)
    assert wrong > right * 1.5
    assert fewer < answers - 0.2


def test_labels_that_are_shifted_by_one_are_noticed() -> None:
    """A label mask that begins a token late or early asks for what the model never learned."""
    right = loss_as_it_is()
    assert loss(shift=1) > right * 3
    assert loss(shift=-1) > right * 3
