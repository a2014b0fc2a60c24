"""Every family of image-text models that is tested, on a tiny checkpoint with the files of its
published folders: any batch, either decoder, and both modes give what transformers alone gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core.image_marks import IMAGE_MARK
from harness.core.types import Prompt
from harness.families import FAMILIES, family_of
from harness.families.tested import GENERIC
from harness.models.loading import LoadOptions, load
from tests.families.checkpoint import build
from tests.families.dozen import DOZEN
from tests.families.observe import observe
from tests.families.results import ALL, DOCS, recorded, verdict, with_table

QUICK = {"qwen2_5_vl", "gemma3", "internvl"}
"""Of the dozen most used; `make test-slow` has the others, and `make test-families` all types."""


def marks(name: str) -> list[pytest.MarkDecorator]:
    missing = [package for package in ALL[name].packages if find_spec(package) is None]
    return [
        *([] if name in QUICK else [pytest.mark.slow] if name in DOZEN else [pytest.mark.families]),
        *([pytest.mark.skip(reason=f"needs {', '.join(missing)}")] if missing else []),
    ]


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in ALL])
def test_a_type_answers_as_transformers_does(name: str, tmp_path: Path) -> None:
    """Batch 1, batch 4, the engine and `generate` give the answers of a plain loop, on pictures of
    ten sizes and without one; options have the scores of plain forward passes."""
    found = observe(ALL[name], tmp_path / name)
    assert found.decoder == ("harness" if family_of(found.model_type).engine else "transformers")
    assert found.distinct > found.asked / 2, "equality of equals says nothing"
    assert set(found.equal.values()) == {found.asked}, found.equal
    assert max(found.letters, found.texts) < 1e-4
    assert verdict(ALL[name], found) == recorded()[name]


def test_users_are_told_which_types_are_tested() -> None:
    """Exactly those with a result, and the families with tests of their own."""
    asked = {row["model_type"] for row in recorded().values()}
    own = {"kosmos-2", "mllama", "moondream1", "phi3_v", "pix2struct", "vilt"}
    assert asked | own == GENERIC | FAMILIES.keys()


def test_the_table_of_the_docs_is_of_these_results() -> None:
    """`python -m tests.families.results` writes both."""
    page = DOCS.read_text()
    assert list(recorded()) == list(ALL)
    assert with_table(page, recorded()) == page


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in ALL])
def test_a_picture_stands_at_its_mark(name: str, tmp_path: Path) -> None:
    """Its tokens stand between those of the text before the mark and of the text after it; a family
    that cannot have them there puts pictures first, and calls them by words."""
    build(ALL[name], tmp_path / name)
    checkpoint = find_checkpoint(str(tmp_path / name))
    model = load(checkpoint, LoadOptions(device="cpu", dtype="float32"))
    picture = Image.new("RGB", (40, 40), (200, 30, 90))
    text = f"which letter {IMAGE_MARK} is this"
    (marked,) = model.prepare([Prompt(text=text, question=text, images=(picture,))])
    between = marked.text.partition("which letter")[2].partition("is this")[0]
    assert IMAGE_MARK not in marked.text
    if between.strip() == "<image 1>":
        assert family_of(checkpoint.model_type).placeholder is None
        return
    (bare,) = model.prepare([Prompt(text=text.replace(IMAGE_MARK, ""), question=text)])
    ids, without = (each.inputs["input_ids"][0].tolist() for each in (marked, bare))
    same = next(n for n, (a, b) in enumerate(zip(ids, without, strict=False)) if a != b)
    assert "letter" in model.tokenizer.decode(ids[:same])
    rest = without[same + 2 :]  # a space may or may not begin the token after a picture
    assert ids[len(ids) - len(rest) :] == rest
