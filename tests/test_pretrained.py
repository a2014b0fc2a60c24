"""Nothing of a checkpoint is executed, and nobody is asked whether it may be."""

from __future__ import annotations

import ast
import builtins
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints import pretrained
from harness.core.errors import HarnessError
from tests.test_architecture import MODULES

Change = Callable[[dict[str, Any]], object]
CONFIG, PROCESSOR, TOKENIZER = "config.json", "processor_config.json", "tokenizer_config.json"
IMAGES, VIDEOS = "preprocessor_config.json", "video_preprocessor_config.json"
AUDIO = {"audio_tokenizer_class": "CLIPVisionModel", "audio_tokenizer_name_or_path": "elsewhere"}


def with_code(part: str, *, key: str = "", name: str = "Evil", reference: Any = "evil.Evil") -> Any:
    """Fields of a part that only code in the folder could make."""
    return {"auto_map": {part: reference}} | ({key: name} if key else {})


REFUSED: Mapping[str, tuple[str, Change, str]] = {
    "a configuration": (
        CONFIG,
        lambda j: j.update(with_code("AutoConfig"), model_type="its_own"),
        "AutoConfig",
    ),
    "a model": (
        CONFIG,
        lambda j: j.update(with_code("AutoModelForImageTextToText"), model_type="its_own"),
        "AutoModelForImageTextToText",
    ),
    "a part of the model": (
        CONFIG,
        lambda j: j["text_config"].update(with_code("AutoModel"), model_type="its_own"),
        "AutoModel",
    ),
    "code in another repository": (
        CONFIG,
        lambda j: j.update(
            with_code("AutoConfig", reference="some/one--evil.Evil"), model_type="its_own"
        ),
        "some/one--evil.Evil",
    ),
    "an image processor": (
        PROCESSOR,
        lambda j: j["image_processor"].update(
            with_code("AutoImageProcessor", key="image_processor_type")
        ),
        "AutoImageProcessor",
    ),
    "an image processor in its own file": (
        IMAGES,
        lambda j: j.update(with_code("AutoImageProcessor", key="image_processor_type")),
        "AutoImageProcessor",
    ),
    "an image processor of either backend": (
        IMAGES,
        lambda j: j.update(
            with_code("AutoImageProcessor", key="image_processor_type", reference=["evil.A", None])
        ),
        "AutoImageProcessor",
    ),
    "a feature extractor": (
        IMAGES,
        lambda j: j.update(with_code("AutoFeatureExtractor", key="feature_extractor_type")),
        "AutoFeatureExtractor",
    ),
    "a video processor": (
        VIDEOS,
        lambda j: j.update(with_code("AutoVideoProcessor", key="video_processor_type")),
        "AutoVideoProcessor",
    ),
    "a processor": (
        PROCESSOR,
        lambda j: j.update(with_code("AutoProcessor", key="processor_class")),
        "AutoProcessor",
    ),
    "a tokenizer": (
        TOKENIZER,
        lambda j: j.update(with_code("AutoTokenizer", key="tokenizer_class")),
        "AutoTokenizer",
    ),
    "a second tokenizer": (
        f"decoder_tokenizer/{TOKENIZER}",
        lambda j: j.update(with_code("AutoTokenizer", key="tokenizer_class")),
        "AutoTokenizer",
    ),
    "an auto_map that is none": (CONFIG, lambda j: j.update(auto_map="evil.Evil"), "auto_map"),
    "an audio tokenizer": (
        PROCESSOR,
        lambda j: j.update(audio_tokenizer=AUDIO),
        "audio_tokenizer",
    ),
    "an audio tokenizer in its own file": (
        "audio_tokenizer_config.json",
        lambda j: j.update(AUDIO),
        "audio_tokenizer",
    ),
    "another configuration": (
        CONFIG,
        lambda j: j.update(configuration_files=["config.4.0.0.json"]),
        "configuration_files",
    ),
    "another tokenizer": (
        TOKENIZER,
        lambda j: j.update(fast_tokenizer_files=["../elsewhere/tokenizer.4.0.json"]),
        "fast_tokenizer_files",
    ),
    "a pretrained backbone": (
        CONFIG,
        lambda j: j["vision_config"].update(use_pretrained_backbone=True, backbone="some/one"),
        "use_pretrained_backbone",
    ),
    "attention from the hub": (
        CONFIG,
        lambda j: j.update(_attn_implementation="org/repo"),
        "org/repo",
    ),
    "attention of a part": (
        CONFIG,
        lambda j: j["vision_config"].update(attn_implementation={"": "sdpa", "b": "org/repo@v1"}),
        "org/repo@v1",
    ),
    "experts from the hub": (
        CONFIG,
        lambda j: j.update(_experts_implementation_internal="org/repo:fast"),
        "org/repo:fast",
    ),
    "kernels": (CONFIG, lambda j: j.update(use_kernels=True), "use_kernels"),
    "a mapping of kernels": (
        CONFIG,
        lambda j: j.update(kernel_config={"RMSNorm": "org/repo:RMSNorm"}),
        "kernel_config",
    ),
}


@pytest.fixture
def folder(tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint with code beside it that must not run, and a terminal that says yes."""
    made = Path(shutil.copytree(tiny("llava-next"), tmp_path / "model"))
    (made / "evil.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\nclass Evil: pass\n")
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("it asks"))
    return made


def change(path: Path, how: Change) -> None:
    data = json.loads(path.read_text()) if path.exists() else {}
    how(data)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_foreign_code_is_refused_by_name(folder: Path, tmp_path: Path, name) -> None:
    """The file and the key are named, whichever part is to be loaded."""
    from transformers import AutoConfig, AutoProcessor, AutoTokenizer

    file, how, named = REFUSED[name]
    change(folder / file, how)
    for part in (AutoConfig, AutoProcessor, AutoTokenizer):
        with pytest.raises(HarnessError) as caught:
            pretrained.load(part, folder)
        assert Path(file).name in caught.value.what
        assert named in caught.value.what
        assert caught.value.code == 3
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    ("file", "how"),
    [
        (CONFIG, lambda j: j.update(with_code("AutoConfig"))),
        (CONFIG, lambda j: j.update(with_code("AutoProcessor"))),
        (CONFIG, lambda j: j.update(_attn_implementation="sdpa", use_kernels=False)),
        (PROCESSOR, lambda j: j.update(with_code("AutoProcessor"))),
        (PROCESSOR, lambda j: j["image_processor"].update(with_code("AutoImageProcessor"))),
        (TOKENIZER, lambda j: j.update(with_code("AutoTokenizer", reference=[None, "evil.Evil"]))),
    ],
)
def test_code_that_is_not_needed_is_ignored(folder: Path, tmp_path: Path, file, how) -> None:
    """Where there is a class, a published folder's own code makes no difference."""
    from transformers import AutoConfig, AutoProcessor

    change(folder / file, how)
    assert pretrained.load(AutoConfig, folder).model_type == "llava_next"
    assert type(pretrained.load(AutoProcessor, folder, backend="pil")).__name__ == (
        "LlavaNextProcessor"
    )
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("name", ["eval", "distill"])
def test_no_command_asks(command, tiny, drawn, tmp_path, monkeypatch, name) -> None:  # noqa: PLR0917  # pytest gives them by name
    """A yes on the terminal runs nothing: there is no question."""
    monkeypatch.chdir(tmp_path)
    folder = Path(shutil.copytree(tiny("moondream"), tmp_path / "model"))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")
    change(folder / CONFIG, lambda j: j.update(with_code("AutoConfig"), model_type="its_own"))
    monkeypatch.setattr(builtins, "input", lambda *_: pytest.fail("it asks"))
    result = {
        "eval": lambda: command("eval", "--model", folder, "--task", "scienceqa", "--data", drawn),
        "distill": lambda: command(
            "distill", "--dry-run", "--base", folder, "--task", "scienceqa-mini", "--limit", 4
        ),
    }[name]()
    assert result.code == 3
    assert "auto_map" in result.stderr
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", "garbage", "SafetensorError"),
        (CONFIG, '{"model_type": "moondream1", "text_config": [1]}', "TypeError"),
        (CONFIG, '{"model_type": "moondream1", "vision_config": "x"}', "ValueError"),
        (CONFIG, "{", "cannot be read"),
        (CONFIG, '{"model_type": "llama"}', "is a llama, which cannot be trained"),
        ("tokenizer.json", "{}", "cannot be loaded as moondream1"),
        ("tokenizer.json", "[]", "cannot be loaded as moondream1"),
    ],
)
def test_a_base_that_cannot_be_used_is_refused(tiny, tmp_path, file, content, message) -> None:
    """Before a distillation takes long, with an exit code and without a traceback."""
    from distill.training.requirements import check_base

    folder = Path(shutil.copytree(tiny("moondream"), tmp_path / "model"))
    (folder / file).write_text(content)
    with pytest.raises(HarnessError) as caught:
        check_base(folder)
    assert message in str(caught.value)
    assert caught.value.code == 3


def test_transformers_never_asks(folder: Path) -> None:
    """Past our refusals too: its own question is switched off."""
    from transformers import AutoConfig

    change(folder / CONFIG, lambda j: j.update(with_code("AutoConfig"), model_type="its_own"))
    with pytest.raises(ValueError, match="custom code"):
        AutoConfig.from_pretrained(folder)


def test_kernels_cannot_be_imported() -> None:
    """Compiled code from the hub has no way into the process, however transformers is set."""
    from transformers.utils import is_kernels_available

    assert sys.modules["kernels"] is None
    assert not is_kernels_available()


ALLOWED = {
    "harness.checkpoints.pretrained": 1,
    # Classes that extend the library's own method.
    "harness.families.moondream.modeling": 1,
    "harness.families.phi3v.modeling": 1,
    # A LoRA adapter, onto a model that is loaded.
    "harness.models.lora": 1,
}


def test_everything_is_loaded_through_one_function() -> None:
    """`from_pretrained` is called in one place, and where a class extends it or an adapter is
    read; nobody else may import what asks for code."""
    found = {}
    for module, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        if "from_pretrained" not in text and "dynamic_module_utils" not in text:
            continue
        tree = ast.parse(text)
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "from_pretrained"
        ]
        if calls:
            found[module] = len(calls)
        imported = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        }
        loads_code = "transformers.dynamic_module_utils" in imported
        assert loads_code == (module == "harness.checkpoints.pretrained"), module
    assert found == ALLOWED
