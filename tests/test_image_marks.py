"""Pictures at their places in the text: what a task writes, and what each kind of model gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import SampleError
from harness.core.image_marks import IMAGE_MARK as MARK
from harness.core.image_marks import in_order, in_words, placed
from harness.core.images import ImageRef
from harness.core.prompts import lettered, shots
from harness.core.types import DataOptions, Decoding, Prompt, Sample
from harness.data.fingerprint import blank
from harness.models.loading import LoadOptions, load, load_prompt_text
from tasks import load_task

TEXT = f"Left {MARK} or right {MARK}?"


def image(name: str, number: int = 0) -> ImageRef:
    return ImageRef(name, lambda: b"", number=number)


def asked(text: str, images: int) -> Prompt:
    picture = Image.new("RGB", (60, 40), (200, 30, 90))
    return Prompt(text=text, question="?", images=(picture,) * images, style="plain")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Why?", ["1", "2", "Why?"]),
        (f"A {MARK} b", ["1", "A ", "2", " b"]),
        (f"{MARK}A{MARK}", ["1", "A", "2"]),
        (f"A {MARK}{MARK}b", ["A ", "1", "2", "b"]),
    ],
)
def test_pictures_stand_at_their_marks_and_others_first(text: str, parts: list[str]) -> None:
    """The k-th of the last pictures stands at the k-th mark."""
    assert in_order(text, ["1", "2"]) == parts


def test_a_mark_without_a_picture_is_an_error_of_the_question() -> None:
    """Nothing is asked without what it is about."""
    with pytest.raises(SampleError, match="places for 2 pictures; there are 1"):
        in_order(TEXT, ["1"])
    with pytest.raises(SampleError, match="places for 2"):
        in_words(TEXT, 1)


def test_names_of_pictures_become_marks_and_pictures_are_in_their_order() -> None:
    """By number, named twice or not at all; one that is not there is named."""
    one, two, three = image("a", 1), image("b", 2), image("c", 3)
    text, images = placed("A <image 3>, <image 1>; again <image 3>.", [one, two, three])
    assert text == f"A {MARK}, {MARK}; again <image 2>."
    assert images == (two, three, one)
    assert placed("Why <image 2>?", [one, two]) == (f"Why {MARK}?", (one, two))
    with pytest.raises(SampleError, match=r"names <image 4>, .* it has <image 1>, <image 3>"):
        placed("<image 4>", [one, three])
    with pytest.raises(SampleError, match="it has none"):
        placed("<image 1>", [])


def test_data_cannot_place_pictures(tmp_path: Path) -> None:
    """The mark is a space in what is read; blank pictures keep their numbers."""
    (tmp_path / "test.jsonl").write_text(
        f'{{"id": "a", "question": "Is{MARK}it?", "choices": ["x{MARK}y", "z"], "answer": 0}}\n'
    )
    options = DataOptions(path=tmp_path, text_only=True)
    (sample,) = load_task("scienceqa").load(options).samples
    assert (sample.question, sample.choices) == ("Is it?", ("x y", "z"))
    numbered = replace(sample, images=(image("a", 3),))
    assert [each.number for each in blank(numbered).images] == [3]


def test_shots_call_their_pictures_by_words() -> None:
    """They are shown as text, without pictures."""

    def prompt(sample: Sample, style: str) -> Prompt:
        return replace(lettered(sample, "direct"), text=TEXT, images=asked("", 2).images)

    task = replace(load_task("scienceqa"), prompt=prompt)
    sample = Sample(id="a", question="?", choices=("x", "y"), target=1)
    assert shots([sample], task) == ("Left <image 1> or right <image 2>?\nAnswer: B",)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("phi-3.5", "<|user|>\nLeft <|image_1|> or right <|image_2|>?<|end|>\n<|assistant|>\n"),
        (
            "moondream",
            "<image>\n\n<image>\n\nQuestion: Left <image 1> or right <image 2>?\n\nAnswer:",
        ),
        ("llava", "USER: Left <image>\n or right <image>\n? ASSISTANT:"),
    ],
)
def test_a_family_puts_its_own_placeholder_at_a_mark(tiny, name: str, prompt: str) -> None:
    """One that takes pictures first alone has them first, and their names in the text."""
    render = load_prompt_text(find_checkpoint(str(tiny(name))), {}, None)
    assert render(asked(TEXT, 2)) == prompt


def test_a_template_that_has_pictures_first_gets_their_names(tiny, tmp_path: Path) -> None:
    """The place of a part of the content decides, and not where it stands in the list."""
    template = tmp_path / "first.jinja"
    template.write_text(
        "{% for kind in ('image', 'text') %}{% for part in messages[0].content if part.type == kind"
        " %}{{ '<image>' if kind == 'image' else part.text }}{% endfor %}{% endfor %}"
    )
    from harness.checkpoints.chat_templates import read

    checkpoint = find_checkpoint(str(tiny("llava")))
    render = load_prompt_text(checkpoint, {}, read(template))
    assert render(asked(TEXT, 2)) == "<image><image>Left <image 1> or right <image 2>?"


def test_a_family_of_one_picture_has_it_first(tiny) -> None:
    """And calls it by its name."""
    render = load_prompt_text(find_checkpoint(str(tiny("kosmos-2"))), {}, None)
    assert render(asked(f"Why {MARK}?", 1)) == "Question: Why <image 1>? Answer:"


@pytest.mark.parametrize("name", ["llava-cot", "idefics3", "phi-3.5"])
def test_the_engine_decodes_a_picture_within_the_text(tiny, name: str) -> None:
    """As `generate` does, alone and next to a question with its picture first."""
    prompts = [asked(f"Left {MARK} or right?", 1), asked("Why?", 1), asked("Why?", 0)]
    found = []
    for engine in ("harness", "transformers"):
        options = LoadOptions(device="cpu", dtype="float32", engine=engine)
        model = load(find_checkpoint(str(tiny(name))), options)
        prepared = model.prepare(prompts)
        found.append([o.raw for o in model.generate(prepared, Decoding(max_new_tokens=6))])
    assert found[0] == found[1]
