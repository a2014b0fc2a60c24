"""Every family of image-text models that is tested, on a tiny checkpoint with the files of its
published folders: any batch, either decoder, and both modes give what transformers alone gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.families import family_of
from tests.families.dozen import DOZEN
from tests.families.observe import observe
from tests.families.templated import TEMPLATED
from tests.families.untemplated import UNTEMPLATED

QUICK = {"qwen2_5_vl", "gemma3", "internvl"}
"""Of the dozen most used; `make test-slow` has the others, and `make test-families` all types."""
_NO_PROMPT = pytest.mark.xfail(strict=False, reason="no prompt format yet")
FAMILIES = pytest.mark.families
TYPES = [
    pytest.param(
        name,
        family,
        id=name,
        marks=[
            *([] if name in QUICK else [pytest.mark.slow] if name in DOZEN else [FAMILIES]),
            *([_NO_PROMPT] if family.image is None else []),
        ],
    )
    for name, family in {**DOZEN, **TEMPLATED, **UNTEMPLATED}.items()
]


@pytest.mark.parametrize(("name", "family"), TYPES)
def test_a_type_answers_as_transformers_does(name, family, tmp_path: Path) -> None:
    """Batch 1, batch 4, the engine and `generate` give the answers of a plain loop, on pictures of
    ten sizes and without one; options have the scores of plain forward passes."""
    found = observe(family, tmp_path / name)
    model_type = json.loads((tmp_path / name / "config.json").read_text())["model_type"]
    assert found.decoder == ("harness" if family_of(model_type).engine else "transformers")
    assert found.distinct > found.asked / 2, "equality of equals says nothing"
    assert set(found.equal.values()) == {found.asked}, found.equal
    assert found.letters < 1e-4
    assert found.texts < 1e-4
