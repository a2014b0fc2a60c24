"""LoRA adapters, merged into the weights when they are loaded."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from harness.core.errors import HarnessError
from harness.models import lora as lora_module

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.process


@pytest.fixture
def lora(tiny, tmp_path: Path) -> Path:
    """An adapter for the tiny LLaVA that changes its answers."""
    model = AutoModelForImageTextToText.from_pretrained(tiny("llava"))
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def raws(command, weights: Path, data: Path, runs: Path, *more: object) -> tuple[dict, list[str]]:
    from harness.run.folder import RunFolder

    run = command(
        "eval", "--model", weights, "--task", "scienceqa", "--data", data, "--limit", 4,
        "--max-new-tokens", 8, "--runs", runs, "--json", *more,
    ).json["runs"][0]  # fmt: skip
    return run, [p.raw for p in RunFolder(Path(run["folder"])).read_predictions()]


def test_an_adapter_changes_the_answers_and_the_identity(
    command, tiny, drawn: Path, tmp_path: Path, lora: Path
) -> None:
    """The run is another one, and says whose adapter it was."""
    plain, without = raws(command, tiny("llava"), drawn, tmp_path / "a")
    run, adapted = raws(command, tiny("llava"), drawn, tmp_path / "b", "--adapter", lora)
    assert adapted != without
    assert run["fingerprint"]["weights"] == plain["fingerprint"]["weights"]
    assert run["fingerprint"]["adapter"].startswith("sha256:")
    assert plain["fingerprint"]["adapter"] is None
    assert run["model"]["weights"].endswith("with LoRA lora")
    assert run["model"]["parameters"] == plain["model"]["parameters"]


def test_a_merged_adapter_answers_as_the_merged_weights(
    command, tiny, drawn: Path, tmp_path: Path, lora: Path
) -> None:
    """--adapter is the same as merging beforehand."""
    merged = Path(shutil.copytree(tiny("llava"), tmp_path / "merged"))
    base = AutoModelForImageTextToText.from_pretrained(merged)
    peft.PeftModel.from_pretrained(base, lora).merge_and_unload().save_pretrained(merged)
    _, expected = raws(command, merged, drawn, tmp_path / "a")
    _, found = raws(command, tiny("llava"), drawn, tmp_path / "b", "--adapter", lora)
    assert found == expected


def test_a_pickled_adapter_is_refused(command, tiny, drawn: Path, tmp_path: Path, lora: Path):
    """Nothing supplied by others is unpickled."""
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    result = command(
        "eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn, "--adapter", lora,
        "--runs", tmp_path,
    )  # fmt: skip
    assert result.code == 3
    assert "adapter_model.safetensors" in result.stderr


def merged(tiny, folder: Path, **fields: Any) -> Any:
    """The tiny LLaVA with the adapter, whose configuration is changed first."""
    path = folder / lora_module.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    model = AutoModelForImageTextToText.from_pretrained(tiny("llava"))
    return lora_module.merge(model, folder)


def test_nothing_that_a_configuration_names_is_imported(tiny, lora: Path) -> None:
    """Neither megatron_core's module nor auto_mapping's: what is merged is the same without."""
    expected = merged(tiny, lora).state_dict()
    elsewhere = {"base_model_class": "Evil", "parent_library": "antigravity"}
    model = merged(
        tiny,
        lora,
        megatron_core="this",
        megatron_config={"x": 1},
        auto_mapping=elsewhere,
        base_model_name_or_path="/nowhere",
    )
    assert {"this", "antigravity"}.isdisjoint(sys.modules)
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "not LORA"),
        ({"peft_type": None}, "not LORA"),
        ({"target_modules": "(.*.*)*!"}, "does not end within"),
        ({"exclude_modules": "((a|[a-z._0-9])+)+!"}, "does not end within"),
        ({"alpha_pattern": {"q_proj": 4, "([a-z0-9._]+)+!": 2}}, "does not end within"),
        ({"modules_to_save": ["([a-z0-9._]+)+!"]}, "does not end within"),
        (
            {"layers_pattern": "([a-z0-9._]+)+!", "layers_to_transform": [0]},
            "does not end within",
        ),
        ({"target_modules": "(q_proj"}, "is not a regular expression"),
        ({"rank_pattern": {"q_proj)": 4}}, "is not a regular expression"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused(
    tiny, lora: Path, monkeypatch, fields: dict[str, Any], message: str
) -> None:
    """Another kind, and regular expressions that never end or are none, by name."""
    monkeypatch.setattr(lora_module, "_LONGEST_MATCH", 0.5)
    with pytest.raises(HarnessError, match=message) as caught:
        merged(tiny, lora, **fields)
    assert caught.value.code == 3
    assert lora_module.CONFIG in caught.value.what


def test_modules_may_be_named_by_a_regular_expression(tiny, lora: Path) -> None:
    """As many published adapters have it."""
    expected = merged(tiny, lora).state_dict()
    model = merged(tiny, lora, target_modules=r".*\.(q_proj|v_proj)$", alpha_pattern={r"^x\d+": 1})
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_four_bits_need_their_library(command, tiny, drawn: Path, tmp_path: Path) -> None:
    """Without bitsandbytes or a CUDA device the option says so."""
    result = command(
        "eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn, "--quantize",
        "nf4", "--device", "cpu", "--runs", tmp_path,
    )  # fmt: skip
    assert result.code == 3
    assert "bitsandbytes" in result.stderr
