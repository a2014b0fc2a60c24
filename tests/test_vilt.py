"""ViLT: choices scored at masks, answers picked among labels, in batches of any size."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import ViltForMaskedLM, ViltForQuestionAnswering

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import NOT_FINITE, HarnessError, SampleError
from harness.core.types import Decoding, Prompt
from harness.extract import extract_choice
from harness.families.tiny import build
from harness.families.vilt.model import Vilt
from harness.families.vilt.tiny import random_model
from harness.models.loading import LoadOptions, load

DECODING = Decoding(max_new_tokens=16)
KINDS = ("vilt", "vilt-vqa")
WORDS = ["which", "of", "these", "states", "is", "farthest", "west", "and", "true", "magnetic"]


def loaded(folder: Path, dtype: str = "float32") -> Vilt:
    found = load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype=dtype))
    assert isinstance(found, Vilt)
    return found


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tiny: Callable[..., Path]) -> Vilt:
    """A checkpoint of either kind."""
    return loaded(tiny(request.param))


@pytest.fixture(scope="module")
def masks(tiny: Callable[..., Path]) -> Vilt:
    return loaded(tiny("vilt"))


@pytest.fixture(scope="module")
def labels(tiny: Callable[..., Path]) -> Vilt:
    return loaded(tiny("vilt-vqa"))


def picture(seed: int = 0, size: tuple[int, int] | None = None) -> Image.Image:
    chance = random.Random(seed)
    width, height = size or (chance.randint(20, 200), chance.randint(20, 200))
    return Image.frombytes("RGB", (width, height), chance.randbytes(3 * width * height))


def ask(question: str, *choices: str, image: Image.Image | None = None) -> Prompt:
    return Prompt(
        text=question,
        question=question,
        choices=choices,
        images=(image or picture(),),
    )


def make_prompts(number: int) -> list[Prompt]:
    """Questions and choices of many lengths; some without choices, some without a picture."""
    chance = random.Random(1)

    def words(most: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(1, most)))

    prompts = []
    for place in range(number):
        choices = () if place % 5 == 4 else ["yes", "no", "red", words(8), words(30)]
        prompt = ask(words(60), *chance.sample(choices, len(choices)), image=picture(place))
        prompts.append(replace(prompt, images=()) if place % 4 == 3 else prompt)
    return prompts


def answers(model: Vilt, prompts: Sequence[Prompt], size: int) -> list[str]:
    found = []
    for start in range(0, len(prompts), size):
        batch = model.prepare(prompts[start : start + size])
        found += [output.raw for output in model.generate(batch, DECODING)]
    return found


def scores(model: Vilt, *prompts: Prompt) -> list[tuple[float, ...]]:
    return [output.log_likelihoods for output in model.generate(model.prepare(prompts), DECODING)]


# What holds for both kinds


@pytest.mark.parametrize("size", [3, 8])
def test_batched_answers_equal_single_ones(model: Vilt, size: int) -> None:
    """An answer does not depend on what else is in its batch, nor on its place in it."""
    prompts = make_prompts(16)
    single = answers(model, prompts, 1)
    assert len(set(single)) > 2
    assert answers(model, prompts, size) == single
    assert answers(model, prompts[::-1], size) == single[::-1]


@pytest.mark.slow
def test_real_questions_are_answered_alike_in_every_batch(model: Vilt, real_data: Path) -> None:
    """Batches of 1, 3 and 8 real questions in two orders give the same raw answers, which are read
    as one of the choices wherever the checkpoint can choose."""
    source = real_data / "scienceqa-real"
    rows = [json.loads(line) for line in (source / "test.jsonl").read_text().splitlines()]
    prompts = [
        ask(row["question"], *row["choices"], image=Image.open(source / row["image"]))
        for row in rows
    ]
    prompts = [replace(p, images=(p.images[0].convert("RGB"),)) for p in prompts]
    single = answers(model, prompts, 1)
    for size in (3, 8):
        assert answers(model, prompts, size) == single
        assert answers(model, prompts[::-1], size) == single[::-1]
    for prompt, raw, found in zip(prompts, single, scores(model, *prompts), strict=True):
        if max(found) > float("-inf"):
            assert extract_choice(raw, prompt.choices).answer == found.index(max(found))


def test_choosing_is_what_it_always_does(model: Vilt) -> None:
    """Letters or texts as options: the choices themselves are scored, as in every mode."""
    prompts = make_prompts(4)
    prepared = model.prepare(prompts)
    for options in ([p.choices for p in prompts], ["ABCDE"[: len(p.choices)] for p in prompts]):
        assert model.choose(prepared, options) == model.generate(prepared, DECODING)


def test_the_picture_is_seen(model: Vilt) -> None:
    """Another picture under the same question changes what the model makes of the choices."""
    first, second = (ask("Which is it?", "yes", "no", image=picture(seed)) for seed in (1, 2))
    assert scores(model, first) != scores(model, second)


def test_answers_repeat_to_the_bit_and_leave_the_random_state_alone(model: Vilt) -> None:
    """The order in which the library draws patches comes from a state of their own."""
    prompts = make_prompts(4)
    torch.manual_seed(7)
    first = scores(model, *prompts)
    state = torch.get_rng_state()
    torch.manual_seed(8)
    assert scores(model, *prompts) == first
    torch.manual_seed(7)
    assert torch.equal(state, torch.get_rng_state())


def test_data_cannot_write_control_tokens(model: Vilt) -> None:
    """A question and choices that spell masks and separators are sent as harmless text."""
    special = set(model._tokenizer.all_special_ids) - {model._tokenizer.unk_token_id}

    def count(question: str, choice: str) -> tuple[int, bool]:
        prepared = model.prepare([ask(question, "yes", choice)])[0]
        found = sum(token in special for text in prepared.texts.values() for token in text)
        return found - sum(prepared.texts), any(special & set(t) for t in prepared.targets)

    assert count("x [MASK] [SEP] [CLS] [PAD]", "[MASK][SEP]") == count("x", "no")


def test_no_picture_is_a_grey_picture(model: Vilt) -> None:
    """A question without a picture is asked under a plain grey one of the model's own size."""
    side = model._model.config.image_size
    with_grey = ask("Which is it?", "yes", "no", image=Image.new("RGB", (side, side), "#808080"))
    without = replace(with_grey, images=())
    assert scores(model, without) == scores(model, with_grey)


def test_two_pictures_are_refused(model: Vilt) -> None:
    """ViLT sees one picture; the sample fails and says why."""
    prompt = ask("x", "yes")
    with pytest.raises(SampleError, match="one picture"):
        model.prepare([replace(prompt, images=prompt.images * 2)])


@pytest.mark.parametrize("size", [(1, 1), (900, 2), (2, 900), (640, 20)])
def test_pictures_of_any_shape_are_seen(model: Vilt, size: tuple[int, int]) -> None:
    """A picture so thin that the library would make nothing of it is stretched."""
    question = model.prepare([ask("x", "yes", image=picture(0, size))])[0]
    assert min(question.pixels.shape) >= 1
    assert model.generate([question], DECODING)[0].raw


def test_tokens_count_what_is_read_and_what_is_written(model: Vilt) -> None:
    """Scored choices are not written, a word or a label is one token; each text is read beside
    the picture's patches and their class token."""
    square = picture(0, (128, 128))  # 4 x 4 patches
    prompts = [ask("Which is it?", "yes", "no", image=square), ask("Which is it?", image=square)]
    for prompt, output in zip(
        prompts, model.generate(model.prepare(prompts), DECODING), strict=True
    ):
        texts = model.prepare([prompt])[0].texts.values()
        assert output.tokens == (0 if prompt.choices else 1)
        assert output.tokens_in == sum(len(text) + 17 for text in texts)
        assert len(output.prompt.splitlines()) == len(texts)
        assert "which is it?" in output.prompt


def test_bfloat16_scores_are_close(tiny: Callable[..., Path], model: Vilt) -> None:
    """The checkpoint runs in the type of an accelerator."""
    prompts = make_prompts(4)
    name = "vilt" if model.description["class"] == "ViltForMaskedLM" else "vilt-vqa"
    half = scores(loaded(tiny(name), "bfloat16"), *prompts)
    for exact, rough in zip(scores(model, *prompts), half, strict=True):
        assert rough == pytest.approx(exact, rel=0.2, abs=0.5)


def test_scores_that_are_not_numbers_are_an_error(tiny: Callable[..., Path]) -> None:
    """A model that overflows answers nothing, rather than A."""
    broken = loaded(tiny("vilt"))
    torch.nn.init.constant_(broken._model.vilt.layernorm.weight, float("nan"))
    prepared = broken.prepare([ask("x", "yes", "no"), ask("x")])
    for outputs in (broken.generate(prepared, DECODING), broken.choose(prepared, ["AB", ""])):
        assert [output.error for output in outputs] == [NOT_FINITE] * 2


def test_one_question_that_is_no_number_leaves_the_others_alone(
    tiny: Callable[..., Path],
) -> None:
    """The question with the token whose embedding is NaN is the only error."""
    for name in ("vilt", "vilt-vqa"):
        model = loaded(tiny(name))
        (token,) = set(model.tokenizer("q", add_special_tokens=False)["input_ids"])
        prepared = model.prepare([ask("x", "yes", "no"), ask("q q", "yes", "no"), ask("y")])
        before = model.generate(prepared, DECODING)
        with torch.no_grad():
            model.network.vilt.embeddings.text_embeddings.word_embeddings.weight[token] = torch.nan
        after = model.generate(prepared, DECODING)
        assert after[1].error == NOT_FINITE
        if name == "vilt":  # what fills its masks is tied to its words: NaN is everybody's
            continue
        assert [after[0], after[2]] == [before[0], before[2]]


# Masked language modelling


def naive_score(folder: Path, prompt: Prompt, choice: str, longest: int) -> float:
    """One choice by the library's own forward pass: its tokens at masks, one text, one picture."""
    library: Any = ViltForMaskedLM.from_pretrained(folder).eval()
    model = loaded(folder)
    tokenizer = model._tokenizer
    asked = tokenizer.tokenize(prompt.question)[: 34 - longest]
    target = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(choice))
    tokens = ["question", ":", *asked, "answer", ":", *["[MASK]"] * len(target)]
    ids = tokenizer.convert_tokens_to_ids(["[CLS]", *tokens, "[SEP]"])
    pixels = model._pixels(prompt.images[0], return_tensors="pt")
    with torch.no_grad():
        logits = library(input_ids=torch.tensor([ids]), **pixels).logits[0]
    logs = logits.log_softmax(dim=-1)[
        [i for i, t in enumerate(ids) if t == tokenizer.mask_token_id]
    ]
    return float(sum(row[token] for row, token in zip(logs, target, strict=True)) / len(target))


def test_scores_are_those_of_one_choice_at_a_time(tiny: Callable[..., Path], masks: Vilt) -> None:
    """Batched, shared and padded, the scores are the library's, to 1e-5."""
    folder = tiny("vilt")
    prompts = [
        ask("Which of these is true?", "yes", "the magnetic force", "no", "zebra"),
        ask("Which of these states is farthest west? " * 8, "Illinois", "the compass rose is true"),
        ask("x", *(" ".join(WORDS[:n]) for n in (1, 3, 7)), image=picture(5, (300, 60))),
    ]
    for prompt, found in zip(prompts, scores(masks, *prompts), strict=True):
        longest = max(len(masks._tokenizer.tokenize(choice)) for choice in prompt.choices)
        naive = [naive_score(folder, prompt, choice, longest) for choice in prompt.choices]
        assert found == pytest.approx(naive, abs=1e-5, rel=0)


@pytest.mark.parametrize(
    ("question", "choices", "kept", "numbers"),
    [
        (5, (1, 2, 2), 5, [1, 2]),  # choices of one length share a text
        (33, (1,), 33, [1]),  # 40 tokens, nothing cut
        (34, (1,), 33, [1]),  # 41
        (200, (1, 5), 29, [1, 5]),  # as much for every choice as the longest needs
        (10, (24,), 10, [24]),  # 40
        (10, (25,), 9, [25]),
        (10, (34,), 0, [34]),  # the choice takes all the room
        (10, (35, 2), 0, [2, 34]),  # and is cut itself only beyond it
        (10, (400,), 0, [34]),
        (0, (3,), 0, [3]),
        (50, (), 33, [1]),  # an open question
    ],
)
def test_the_question_is_cut_and_never_the_masks(
    masks: Vilt, question: int, choices: tuple[int, ...], kept: int, numbers: list[int]
) -> None:
    """Each text has 40 tokens at most, all its masks, and the beginning of the question."""
    prompt = ask("west " * question, *("true " * n for n in choices))
    texts = masks.prepare([prompt])[0].texts
    tokenizer = masks._tokenizer
    assert list(texts) == numbers
    for number, text in texts.items():
        assert len(text) <= 40
        words = ["[CLS]", "question", ":", *["west"] * kept, "answer", ":"]
        assert tokenizer.convert_ids_to_tokens(text) == [*words, *["[MASK]"] * number, "[SEP]"]
    assert len(scores(masks, prompt)[0]) == len(choices)


def test_the_library_takes_40_tokens_and_no_more(masks: Vilt) -> None:
    """The limit is the model's: 41 tokens raise."""
    pixels = masks._pixels(picture(), return_tensors="pt")
    masks._model(input_ids=torch.full((1, 40), 9), **pixels)
    with pytest.raises(RuntimeError):
        masks._model(input_ids=torch.full((1, 41), 9), **pixels)


def test_the_highest_score_is_the_answer_as_a_letter(masks: Vilt) -> None:
    """Whatever the order of the choices, the letter is that of the best one, and is read so."""
    choices = ["true", "the compass rose", "west", "B"]
    best = set()
    for shift in range(4):
        prompt = ask("Which?", *choices[shift:], *choices[:shift])
        found = scores(masks, prompt)[0]
        raw = answers(masks, [prompt], 1)[0]
        assert raw == ascii_uppercase[found.index(max(found))]
        assert extract_choice(raw, prompt.choices).answer == found.index(max(found))
        best.add(prompt.choices[found.index(max(found))])
    assert len(best) == 1


def test_of_equal_scores_the_first_wins(masks: Vilt) -> None:
    """Choices that differ only in case have the same tokens, the same score and the first letter,
    in every batch."""
    prompt = ask("Which?", "True West", "true west", "TRUE WEST")
    crowd = [prompt, *make_prompts(5)]
    assert len(set(scores(masks, *crowd)[0])) == 1
    assert answers(masks, crowd, 6)[0] == "A"


def test_an_option_without_a_token_cannot_win(masks: Vilt) -> None:
    """An empty choice is never chosen; where all are empty the answer is a word."""
    assert scores(masks, ask("Which?", "", "west"))[0][0] == float("-inf")
    assert answers(masks, [ask("Which?", "", "west")], 1) == ["B"]
    assert answers(masks, [ask("Which?", "", " ")], 1)[0].isalnum()


def test_beyond_26_choices_the_answer_is_the_text(masks: Vilt) -> None:
    """There is no letter for the 27th option."""
    prompt = ask("Which?", *[""] * 26, "west")
    assert answers(masks, [prompt], 1) == ["west"]


def test_an_open_answer_is_the_likeliest_word(masks: Vilt) -> None:
    """One mask, and of the vocabulary what is a word: no punctuation, no piece, no control."""
    prompt = ask("Where is it?")
    question = masks.prepare([prompt])[0]
    tokenizer = masks._tokenizer
    (text,) = question.texts.values()
    with torch.no_grad():
        logits = masks._model(
            input_ids=torch.tensor([text]),
            pixel_values=question.pixels,
            pixel_mask=torch.ones_like(question.pixels[:, 0], dtype=torch.long),
        ).logits[0, -2]
    ranked = tokenizer.convert_ids_to_tokens(logits.argsort(descending=True).tolist())
    assert answers(masks, [prompt], 1) == [next(word for word in ranked if word.isalnum())]


# Classification


@pytest.mark.parametrize("choices", [("YES", "No."), (" north ", "zebra", "Left"), ("map",)])
def test_a_choice_is_scored_by_the_label_that_is_spelled_like_it(
    labels: Vilt, choices: tuple[str, ...]
) -> None:
    """Case, white space around and a full stop do not count; what is no label cannot win."""
    prompt = ask("Which is it?", *choices)
    names = {name: index for index, name in labels._model.config.id2label.items()}
    inputs = labels._tokenizer(prompt.question, return_tensors="pt")
    pixels = labels._pixels(prompt.images[0], return_tensors="pt")
    with torch.no_grad():
        logs = labels._model(**inputs, **pixels).logits[0].sigmoid().log().tolist()
    wanted = [names.get(choice.strip().rstrip(".").lower()) for choice in choices]
    expected = [float("-inf") if index is None else logs[index] for index in wanted]
    assert scores(labels, prompt)[0] == pytest.approx(expected, abs=1e-5)
    best = expected.index(max(expected))
    assert answers(labels, [prompt], 1) == [ascii_uppercase[best]]


@pytest.mark.parametrize("choices", [(), ("zebra", "nothing of these")])
def test_without_a_label_among_the_choices_the_answer_is_the_top_label(
    labels: Vilt, choices: tuple[str, ...]
) -> None:
    """An open question, and one none of whose choices is a label, get the likeliest label."""
    prompt = ask("which of these states is it " * 20, *choices)
    library: Any = ViltForQuestionAnswering
    assert isinstance(labels._model, library)
    inputs = labels._tokenizer(prompt.question, truncation=True, max_length=40, return_tensors="pt")
    pixels = labels._pixels(prompt.images[0], return_tensors="pt")
    with torch.no_grad():
        top = int(labels._model(**inputs, **pixels).logits.argmax())
    assert answers(labels, [prompt], 1) == [labels._model.config.id2label[top]]


# Folders


def test_a_folder_saved_by_an_older_library_loads(
    tiny: Callable[..., Path], masks: Vilt, tmp_path: Path
) -> None:
    """Before version 5 the output bias had another name, the head could stand in for the tied
    embedding, and positions were saved: the same scores come out."""
    old = build("vilt", tmp_path / "old")
    tensors = load_file(old / "model.safetensors")
    tensors["mlm_score.bias"] = tensors.pop("mlm_score.decoder.bias") + 1
    embedding = "vilt.embeddings.text_embeddings.word_embeddings.weight"
    tensors["mlm_score.decoder.weight"] = tensors.pop(embedding)
    tensors["vilt.embeddings.text_embeddings.position_ids"] = torch.arange(40)[None]
    save_file(tensors, old / "model.safetensors", metadata={"format": "pt"})
    prompts = make_prompts(4)
    for older, newer in zip(scores(loaded(old), *prompts), scores(masks, *prompts), strict=True):
        assert older == pytest.approx(newer, abs=1e-5)  # one more for every token changes nothing


def test_a_decoder_that_is_not_tied_is_kept(tmp_path: Path) -> None:
    """The published checkpoint has embeddings and a decoder; the library's config would tie them."""
    folder = build("vilt", tmp_path / "untied")
    tensors = load_file(folder / "model.safetensors")
    embedding = tensors["vilt.embeddings.text_embeddings.word_embeddings.weight"]
    tensors["mlm_score.decoder.weight"] = embedding.flip(0).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model = loaded(folder)._model
    assert torch.equal(model.mlm_score.decoder.weight, embedding.flip(0))
    assert torch.equal(model.get_input_embeddings().weight, embedding)
    assert not model.config.tie_word_embeddings


def test_a_folder_without_a_tensor_is_refused(tmp_path: Path) -> None:
    """What is missing would be random numbers."""
    folder = build("vilt", tmp_path / "cut")
    tensors = load_file(folder / "model.safetensors")
    del tensors["mlm_score.decoder.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(HarnessError, match="lacks 1 tensors"):
        loaded(folder)


def test_an_architecture_that_answers_nothing_is_refused(tmp_path: Path) -> None:
    """A ViLT that ranks pictures has no words and no labels."""
    folder = build("vilt", tmp_path / "retrieval")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["ViltForImageAndTextRetrieval"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(HarnessError) as error:
        loaded(folder)
    assert "ViltForImageAndTextRetrieval answers no questions" in error.value.known


def test_an_old_name_of_the_image_processor_is_understood(tmp_path: Path, masks: Vilt) -> None:
    """The published folder calls it a feature extractor and gives its size as one number."""
    folder = build("vilt", tmp_path / "published")
    path = folder / "preprocessor_config.json"
    fields = {**json.loads(path.read_text()), "feature_extractor_type": "ViltFeatureExtractor"}
    del fields["image_processor_type"]
    path.write_text(json.dumps({**fields, "size": 128}))
    prompts = make_prompts(4)
    assert scores(loaded(folder), *prompts) == scores(masks, *prompts)


def test_the_full_size_is_the_published_one() -> None:
    """The paper's 113M, and once more the embeddings: the published decoder is not tied to them."""
    model = random_model(device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == 112_217_658 + 30_522 * 768


@pytest.mark.parametrize("name", KINDS)
def test_a_tiny_checkpoint_is_small_and_comes_from_its_seed(
    name: str, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """Below 2 MB; the same seed gives the same files, another seed other weights."""
    folder, again = tiny(name), build(name, tmp_path / "again")
    names = sorted(path.name for path in folder.iterdir())
    assert sum((folder / name).stat().st_size for name in names) < 2_000_000
    assert [(again / n).read_bytes() for n in names] == [(folder / n).read_bytes() for n in names]
    weights = "model.safetensors"
    assert (tiny(name, 1) / weights).read_bytes() != (folder / weights).read_bytes()
