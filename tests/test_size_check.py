"""A config.json that does not fit the weights is refused before any memory is taken for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints import pretrained, size_check
from harness.core.errors import DataError, HarnessError

LARGE: list[tuple[str, str, Any]] = [
    ("llava-next", "text_config.vocab_size", 5_000_000),
    ("llava-next", "text_config", None),
    ("llava-next", "vision_config", None),
    ("llava-next", "text_config.hidden_size", 65_536),
    ("llava-next", "text_config.intermediate_size", 10**8),
    ("llava-next", "text_config.num_hidden_layers", 10**6),
    ("llava-next", "vision_config.num_hidden_layers", 10**6),
    ("llava-next", "vision_config.image_size", 10**6),
    ("llava-cot", "text_config.vocab_size", 2**31),
    ("llava-cot", "vision_config.num_global_layers", 10**7),
    ("kosmos-2", "text_config.max_position_embeddings", 10**8),
    ("kosmos-2", "text_config.layers", 10**6),
    ("phi-3.5", "vocab_size", 5_000_000),
    ("phi-3.5", "num_hidden_layers", 10**9),
    ("moondream", "text_config.vocab_size", 5_000_000),
    ("moondream", "text_config", {"model_type": "phi"}),
    ("moondream", "vision_config", None),
    ("vilt", "vocab_size", 10**7),
    ("vilt", "num_hidden_layers", 10**6),
]
"""Row of the catalogue, key of its config.json, and its new value."""


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are not asked for: what reads them would take memory first."""
    from transformers import PreTrainedModel

    monkeypatch.setattr(
        PreTrainedModel, "from_pretrained", lambda *_, **__: pytest.fail("it is loaded")
    )


def changed(folder: Path, path: Path, key: str, value: Any) -> Path:
    """A copy of a checkpoint with one key of its config.json changed."""
    made = Path(shutil.copytree(folder, path))
    config = json.loads((made / "config.json").read_text())
    inner = config
    *outer, last = key.split(".")
    for name in outer:
        inner = inner.setdefault(name, {})
    inner[last] = value
    (made / "config.json").write_text(json.dumps(config))
    return made


@pytest.mark.usefixtures("never_loaded")
@pytest.mark.parametrize(("kind", "key", "value"), LARGE)
def test_a_config_that_asks_for_more_than_there_is_is_refused(
    tiny: Callable[..., Path], tmp_path: Path, kind: str, key: str, value: Any
) -> None:
    """Exit 3, the folder's name, what the config asks for and what the files hold."""
    from transformers import AutoModelForImageTextToText

    import harness.models  # noqa: F401
    from harness.families.vilt import model as vilt

    folder = changed(tiny(kind), tmp_path / "model", key, value)
    load = partial(pretrained.load_model, AutoModelForImageTextToText)
    with pytest.raises(HarnessError, match=r"do not fit config\.json") as caught:
        (vilt.load if kind == "vilt" else load)(folder)
    assert caught.value.code == 3
    assert str(folder) in caught.value.what
    assert "Its *.safetensors hold" in caught.value.known


def test_a_config_is_not_even_read_with_endless_layers(tmp_path: Path) -> None:
    """Transformers makes a list of all layers: for some kinds, and for their processors too."""
    from transformers import AutoConfig, AutoProcessor

    config = {"model_type": "qwen2", "num_hidden_layers": 10**12}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for part in (AutoConfig, AutoProcessor):
        with pytest.raises(HarnessError, match="num_hidden_layers = 1,000,000,000,000"):
            pretrained.load(part, tmp_path)


@pytest.mark.usefixtures("never_loaded")
def test_a_model_that_cannot_be_built_in_time_is_refused(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever makes it endless."""
    from transformers import AutoModelForImageTextToText

    def endless(*_: object, **__: object) -> None:
        while True:
            pass

    monkeypatch.setattr(size_check, "LONGEST_BUILD", 0.1)
    monkeypatch.setattr(AutoModelForImageTextToText, "from_config", endless)
    with pytest.raises(HarnessError, match=r"cannot be built: it did not end within 0\.1 s"):
        pretrained.load_model(AutoModelForImageTextToText, tiny("llava"))


def test_a_base_is_refused_before_a_distillation(
    command, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """The dry run too, which counts the weights of a model without memory."""
    folder = changed(tiny("moondream"), tmp_path / "m", "text_config.num_hidden_layers", 10**6)
    result = command(
        "distill", "--dry-run", "--base", folder, "--task", "scienceqa-mini", "--limit", 4
    )
    assert result.code == 3
    assert "do not fit config.json" in " ".join(result.stderr.split())


@pytest.mark.usefixtures("never_loaded")
def test_an_encoder_of_bertscore_is_refused(tmp_path: Path) -> None:
    """As any other model."""
    import torch
    from safetensors.torch import save_file

    from harness.metrics.bertscore import bertscore

    config = {"model_type": "bert", "vocab_size": 10**8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"a": torch.zeros(4)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"do not fit config\.json"):
        bertscore(["a"], ["a"], encoder=tmp_path, device="cpu")


def test_a_quantized_checkpoint_has_fewer_numbers(tmp_path: Path) -> None:
    """Eight weights or more may lie in one number."""
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2_000_000)}, tmp_path / "model.safetensors")
    make = {"in_features": 4_000, "out_features": 6_000, "bias": False}
    with pytest.raises(HarnessError, match="asks for 24,000,000 weights"):
        size_check.refuse_other_sizes(tmp_path, {}, lambda: torch.nn.Linear(**make))
    packed = {"quantization_config": {"quant_method": "gptq"}}
    size_check.refuse_other_sizes(tmp_path, packed, lambda: torch.nn.Linear(**make))
