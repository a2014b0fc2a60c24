"""Control tokens in questions are plain text, for every family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from harness.checkpoints.resolve import find_checkpoint
from harness.core.control_tokens import breaker
from harness.core.errors import SampleError
from harness.core.prompts import shots
from harness.core.types import Decoding, Prompt, Sample
from harness.models.loading import LoadOptions, load
from harness.models.prompt_format import control_token_escaper
from harness.run.prompting import Prompter, PromptSettings
from tasks import load_task

SPELLED = (
    *("<image>", "<|image|>", "<|image_1|>", "<|image_pad|>", "<image_soft_token>", "<img>"),
    *("<|end|>", "<|eot_id|>", "<|im_end|>", "<|endoftext|>", "<end_of_turn>", "</s>", "<s>"),
    *("<pad>", "<unk>", "<mask>", "[INST]", "[/INST]", "[IMG]", "<<SYS>>", "[MASK]", "[CLS]"),
    *("<grounding>", "<phrase>", "</phrase>", "<patch_index_0007>", "<row_1_col_1>"),
    *("<|user|>", "<|assistant|>", "<|begin_of_text|>", "<\uff5cUser\uff5c>", "<IMAGE>"),
    *("<<image>image>", "<s</s>>"),
)
ORDINARY = (
    "Is 3 < 5 and 7 > 2?",
    "<SUMMARY> x </SUMMARY> <CONCLUSION> A </CONCLUSION>",
    "What is a[i] in x<sub>2</sub>, or f(x) = [0, 1]?",
    "<p>Log in as USER: root</p> ASSISTANT: ### Human:",
    "if (a<b && c>d) { s = <string>; } // [see INST 4]",
    "\u00bfQu\u00e9 es? \u56fe\u50cf \u2264 \u221e <\u00e9> [x] [A] [ABC] <|> || <>",
)
FAMILIES = ("llava", "llava-next", "llava-cot", "idefics3", "moondream", "phi-3.5", "kosmos-2")
PICTURE = Image.new("RGB", (40, 40))
TASK = load_task("scienceqa")
WITH_CONTEXT = load_task("vqaonline")


@cache
def loaded(folder: Any) -> Any:
    return load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32"))


def asked(model: Any, sample: Sample, examples: Sequence[str] = ()) -> Prompt:
    """The question as a run puts it."""
    task = WITH_CONTEXT if sample.context else TASK
    prompter = Prompter(
        model, task, settings=PromptSettings(style="direct", examples=lambda _: tuple(examples)),
        decoding=Decoding(max_new_tokens=1), digests={},
    )  # fmt: skip
    prompt = prompter.prompt(sample)
    assert isinstance(prompt, Prompt)
    return replace(prompt, images=(PICTURE,))


def questions(text: str) -> dict[str, tuple[Sample, tuple[str, ...]]]:
    """A text in each place of a question, with the answered questions that are shown first."""
    plain = Sample(id="1", question=f"Which is{text}it?", target=0, choices=(f"x {text}", text))
    shown = shots([replace(plain, question=f"Why {text}?", choices=("x", "y"))], TASK)
    return {
        "question, choices and shots": (plain, shown),
        "context": (Sample(id="1", question="?", target="", context=f"{text} is here."), ()),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_no_question_writes_a_control_token(tiny, family: str) -> None:
    """In a question, its choices, its context and examples: not one token more, no picture more."""
    model = loaded(tiny(family))
    tokenizer = model.tokenizer
    control = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    control.discard(tokenizer.unk_token_id)

    def found(sample: Sample, examples: Sequence[str]) -> list[int]:
        (row,) = model.prepare([asked(model, sample, examples)])
        ids = row.inputs["input_ids"][0].tolist()
        return [token for token in ids if token in control or token < 0]

    expected = found(*questions("x")["context"])
    # KOSMOS-2 has 1,024 tokens that differ in their number only.
    added = {re.sub(r"\d+", "#", token): token for token in tokenizer.get_added_vocab()}
    for text in (*SPELLED, *added.values(), "".join(SPELLED), " ".join(SPELLED)):
        for place, question in questions(text).items():
            assert found(*question) == expected, (text, place)
        assert control.isdisjoint(model._option_tokens("Answer:", text)), text


@pytest.mark.parametrize("family", ["vilt", "vilt-vqa"])
def test_no_question_fills_or_ends_a_vilt(tiny, family: str) -> None:
    """[MASK] and [SEP] in a question or a choice are letters and brackets."""
    model = loaded(tiny(family))
    special = {*model.tokenizer.all_special_ids} - {model.tokenizer.unk_token_id}
    for text in SPELLED:
        for sample, _ in questions(text).values():
            (question,) = model.prepare([asked(model, sample)])
            assert all(special.isdisjoint(target) for target in question.targets), text
            for masks, tokens in question.texts.items():
                assert sum(token in special for token in tokens) == masks + 2, text


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(tiny, family: str, text: str) -> None:
    """Less-than signs, tags of HTML, our own tags, brackets: token for token as they are."""
    model = loaded(tiny(family))
    assert model._escape(text) == text


@pytest.mark.parametrize("text", SPELLED)
def test_every_spelling_is_known_without_a_tokenizer(text: str) -> None:
    """As for a server, whose tokenizer is not at hand."""
    neutral = breaker()
    assert neutral(text) != text
    assert neutral(neutral(text)) == neutral(text)


def words(*special: str, **settings: Any) -> Any:
    """A processor with a tokenizer whose pieces are its control tokens and single characters."""
    pieces = [("<unk>", 0.0), *((token, -1.0) for token in special)]
    pieces += [(chr(c), -2.0) for c in range(32, 127)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.normalizer = normalizers.NFKC()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", additional_special_tokens=list(special)
    )
    return SimpleNamespace(tokenizer=tokenizer, **settings)


def test_what_a_normalizer_makes_is_broken_up_too() -> None:
    """Full-width signs become a control token only within the tokenizer."""
    processor = words("<media>")
    text = "a \uff1cmedia\uff1e b \uff1cmedia>"
    assert (
        processor.tokenizer("<media>")["input_ids"]
        == processor.tokenizer("\uff1cmedia\uff1e")["input_ids"]
    )
    token = processor.tokenizer.convert_tokens_to_ids("<media>")
    assert token not in processor.tokenizer(control_token_escaper(processor)(text))["input_ids"]


class Opaque:
    """A tokenizer that does not say where its tokens stand, and finds one everywhere."""

    is_fast = False
    all_special_tokens = ("<media>",)
    added_tokens_decoder: dict[int, Any] = {}
    unk_token_id = None

    def convert_tokens_to_ids(self, token: str) -> int:
        return len(token)

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [len("<media>")]}


def test_what_cannot_be_broken_up_is_an_error_row() -> None:
    """Rather than a question that says something else than its text."""
    with pytest.raises(SampleError, match="control token"):
        control_token_escaper(SimpleNamespace(tokenizer=Opaque()))("\uff1cmedia\uff1e")


def test_words_that_were_added_to_a_vocabulary_are_words() -> None:
    """Only what is special, or is spelled like a tag, is a control token."""
    processor = words("<media>", image_token="<picture>")
    processor.tokenizer.add_tokens(["COVID-19", "<tool>"])
    neutral = control_token_escaper(processor)
    assert neutral("COVID-19 <tool> <picture>") == "COVID-19 < tool> < picture>"
