"""LoRA adapters, merged into the weights when they are loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

peft = pytest.importorskip("peft")


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
    from harness.records import RunFolder

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
        "eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn, "--adapter", lora
    )
    assert result.code == 3
    assert "adapter_model.safetensors" in result.stderr


def test_four_bits_need_their_library(command, tiny, drawn: Path) -> None:
    """Without bitsandbytes or a CUDA device the option says so."""
    result = command(
        "eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn, "--quantize",
        "nf4", "--device", "cpu",
    )  # fmt: skip
    assert result.code == 3
    assert "bitsandbytes" in result.stderr
