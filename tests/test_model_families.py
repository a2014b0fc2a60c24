"""The seam of the model families: one file and one line of the registry are all that a family is."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import MappingProxyType

import pytest
from PIL import Image
from typer.testing import CliRunner

from harness import cli, families
from harness.checkpoints.catalog import CATALOG
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import Exit, SampleError
from harness.core.types import Decoding, Prompt
from harness.families import FAMILIES, every_family, family_of, tested
from harness.models.loading import LoadOptions, load, load_prompt_text
from tests.families.checkpoint import build
from tests.families.dozen import DOZEN

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


KOSMOS_CHAT = (
    "<md>A chat between a curious user and an artificial intelligence assistant. The assistant "
    "gives helpful, detailed, and polite answers to the user's questions. USER: Why? ASSISTANT:"
)


@pytest.mark.parametrize(
    ("model_type", "prompt"),
    [
        ("blip", "Why?"),
        ("blip-2", "Question: Why? Answer:"),
        ("chameleon", "Why?<image>"),
        ("florence2", "<VQA>Why?"),
        ("fuyu", "Why?\n"),
        ("git", "Why?"),
        ("idefics", "User:<image>Why?\nAssistant:"),
        ("instructblip", "Why?"),
        ("kosmos-2", "Question: Why? Answer:"),
        ("kosmos-2.5", KOSMOS_CHAT),
        ("moondream1", "<image>\n\nQuestion: Why?\n\nAnswer:"),
        ("paligemma", "<image>Why?"),
        ("phi3_v", "<|user|>\n<|image_1|>\nWhy?<|end|>\n<|assistant|>\n"),
    ],
)
def test_a_family_without_template_has_its_documented_prompt(model_type: str, prompt: str) -> None:
    """As the model's documentation has it; what is missing here its processor adds."""
    turn = family_of(model_type).turn
    assert turn is not None
    assert turn(1, "Why?") == prompt


def without_template(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    (to / "chat_template.jinja").unlink()
    return to


def test_a_template_in_the_folder_goes_before_the_documented_prompt(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fine-tune may have another one."""
    monkeypatch.setattr(families, "FAMILIES", MappingProxyType({**FAMILIES, "llava": "blip_2"}))
    for folder, expected in (
        (tiny("llava"), "USER: "),
        (without_template(tiny("llava"), tmp_path / "bare"), "Question: "),
    ):
        checkpoint = find_checkpoint(str(folder))
        render = load_prompt_text(checkpoint, {}, None)
        assert render(asked(1)).startswith(expected)


def test_an_unknown_type_is_run_as_the_generic_family_says(
    tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    """By `generate`, without a template by image token and question; said once."""
    folder = without_template(tiny("llava"), tmp_path / "bare")
    known = {key: value for key, value in FAMILIES.items() if key != "llava"}
    monkeypatch.setattr(families, "FAMILIES", MappingProxyType(known))
    monkeypatch.setattr(tested, "FAMILIES", MappingProxyType(known))
    for _ in range(2):
        model = load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32"))
    (said,) = [record.getMessage() for record in caplog.records if "No test" in record.message]
    for words in ("type llava", "generate", "one shape", "template: none"):
        assert words in said
    assert model.description["engine"] == "transformers"
    assert model.prepare([asked(1)])[0].text == "<image>Why?"
    (output,) = model.generate(model.prepare([asked(1)]), Decoding(max_new_tokens=3))
    assert output.tokens


def test_a_model_says_beforehand_that_it_needs_pictures(tmp_path: Path) -> None:
    """Where no question has one, the run does not begin; else the others fail by name."""
    folder = build(DOZEN["paligemma"], tmp_path / "paligemma")
    row = {"question": "Why?", "choices": ["no", "yes"], "answer": 1, "topic": "t"}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.jsonl").write_text(json.dumps({"id": "a", **row}) + "\n")
    command = ["eval", "--model", str(folder), "--task", "scienceqa", "--text-only", "include"]
    command += ["--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == Exit.USAGE
    assert "PaliGemma needs a picture with every question" in " ".join(done.output.split())
    render = load_prompt_text(find_checkpoint(str(folder)), {}, None)
    assert render(asked(1)) == "<image>Why?"
    with pytest.raises(SampleError, match="PaliGemma needs a picture; there is none"):
        render(asked(0))


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
