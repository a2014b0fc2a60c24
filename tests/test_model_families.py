"""The seam of the model families: one file and one line of the registry are all that a family is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType

import pytest
from PIL import Image

from harness import families
from harness.checkpoints.catalog import CATALOG
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import SampleError
from harness.core.types import Decoding, Prompt
from harness.families import FAMILIES, every_family, family_of
from harness.models.loading import LoadOptions, load

TOY = '''"""A toy family."""

from harness.families.engine_traits import ImageTokens
from harness.families.family import ModelFamily

FAMILY = ModelFamily(
    name="toy",
    title="Toy",
    turn=lambda images, text: "<image>" * images + f"TOY {text} =>",
    template_first=False,
    max_images=1,
    engine=ImageTokens(),
    describe=lambda network: {"toy": True},
)
'''


def asked(images: int) -> Prompt:
    picture = Image.new("RGB", (60, 40), (200, 30, 90))
    return Prompt(text="Why?", question="Why?", images=(picture,) * images, style="plain")


@pytest.fixture
def toy(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file in the package's folder, and one line of the registry; gives a checkpoint."""
    folder = tiny("llava")
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    monkeypatch.setattr(families, "FAMILIES", MappingProxyType({**FAMILIES, "llava": "toy"}))
    return folder


def test_a_family_is_one_file_and_one_line(toy: Path) -> None:
    """Its prompt, its limit of pictures, its engine and its description are in force."""
    checkpoint = find_checkpoint(str(toy))
    model = load(checkpoint, LoadOptions(device="cpu", dtype="float32"))
    assert model.max_images == 1
    assert model.description["engine"] == "harness"
    assert model.description["toy"]
    prepared = model.prepare([asked(1), asked(0)])
    assert [one.text for one in prepared] == ["<image>TOY Why? =>", "TOY Why? =>"]
    assert all(output.tokens for output in model.generate(prepared, Decoding(max_new_tokens=3)))
    with pytest.raises(SampleError, match="Toy takes one picture; there are 2"):
        model.prepare([asked(2)])


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_line_of_the_registry_leads_to_a_family(model_type: str) -> None:
    """Each has a name and a title of its own."""
    family = family_of(model_type)
    assert family.name
    assert family.title != families.generic.FAMILY.title
    assert [other.name for other in every_family()].count(family.name) == 1


@pytest.mark.parametrize("spec", CATALOG, ids=lambda spec: spec.name)
def test_every_row_of_the_catalogue_has_a_family(spec) -> None:
    """Nothing of the paper's models is left to the generic family."""
    assert spec.model_type in FAMILIES


def test_a_description_is_readable_without_torch() -> None:
    """Modules of families import nothing heavy; what they need, their functions import."""
    import ast

    heavy = {"torch", "transformers", "numpy", "jinja2"}
    for module in set(FAMILIES.values()) | {"generic", "family", "engine_traits"}:
        folder = Path(families.__path__[0]) / module
        path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & heavy, path


def test_an_unknown_type_is_of_the_generic_family() -> None:
    """Its defaults are those of every family."""
    family = family_of("no_such_type")
    assert family.name == "generic"
    assert family.engine is None
    plain = dataclasses.replace(family, complete_processor=None)
    assert plain == families.family.ModelFamily(name=family.name, title=family.title)
