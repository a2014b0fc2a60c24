"""Every family of image-text models that is tested, on a tiny checkpoint with the files of its
published folders: any batch, either decoder, and both modes give what transformers alone gives."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from harness.families import FAMILIES, family_of
from harness.families.tested import GENERIC
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
