"""A model that is spread over several devices: the same answers, and the record says where it lies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import HarnessError
from harness.core.types import Decoding, Prompt
from harness.models.loading import LoadOptions, load

CPU = LoadOptions(device="cpu", dtype="float32", engine="transformers")


@pytest.fixture
def evaluate(command, drawn: Path, tmp_path: Path):
    """`evaluate(model, name)` evaluates on the CPU as the command does."""

    def run(model: Any, name: str, *more: object):
        return command(
            *("eval", "--model", model, "--name", name, "--task", "scienceqa", "--data", drawn),
            *("--limit", 8, "--max-new-tokens", 8, "--runs", tmp_path, "--device", "cpu"),
            *("--json", *more),
        )

    return run


def raws(result: Any) -> list[str]:
    (run,) = result.json["runs"]
    lines = (Path(run["folder"]) / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line)["raw"] for line in lines]


def test_the_record_says_where_the_model_lies(evaluate, tiny) -> None:
    """Device by device, with the parameters there; minutes count each device that computes."""
    one = evaluate(tiny("llava"), "one")
    spread = evaluate(tiny("llava"), "spread", "--device-map", "auto")
    assert spread.code == 0, spread.stderr
    assert raws(spread) == raws(one)
    (run,) = spread.json["runs"]
    model = run["settings"]["model"]
    assert model["device_map"] == {"cpu": model["parameters"]}
    assert model["engine"] == "transformers"
    assert run["timing"]["devices"] == 1
    assert run["timing"]["device_minutes"] == run["timing"]["inference_minutes"]
    assert one.json["runs"][0]["settings"]["model"].get("device_map") is None


def test_parts_in_different_places(tiny) -> None:
    """What is fetched layer by layer gives the same tokens, and is counted where it lies."""
    checkpoint = find_checkpoint(str(tiny("llava")))
    prompt = Prompt(text="What?", question="What?", images=(Image.new("RGB", (64, 64), "red"),))
    places = {"model.language_model": "disk", "model.multi_modal_projector": "disk"}
    places |= {"model.vision_tower": "cpu", "lm_head": "cpu"}
    outputs = []
    for options in (CPU, replace(CPU, device_map=places)):
        model = load(checkpoint, options)
        (output,) = model.generate(model.prepare([prompt]), Decoding(max_new_tokens=8))
        outputs.append(output.raw)
    assert outputs[0] == outputs[1]
    spread = model.description["device_map"]
    assert spread.keys() == {"cpu", "disk"}
    assert sum(spread.values()) == model.description["parameters"]


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("vilt", (), "ViLT is small"),
        ("llava", ("--adapter", "lora"), "does not merge an adapter"),
    ],
)
def test_what_is_not_spread(  # noqa: PLR0917  # pytest gives them by name
    evaluate, tiny, tmp_path: Path, model: str, more: Any, said: str
) -> None:
    """It is told before anything is loaded."""
    if more:
        (tmp_path / "lora").mkdir()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (tmp_path / "lora" / name).write_text("{}")
        more = ("--adapter", tmp_path / "lora")
    result = evaluate(tiny(model), "x", "--device-map", "auto", *more)
    assert result.code == 2
    assert said in result.stderr


def test_several_processes_do_not_spread_a_model(evaluate, tiny, monkeypatch) -> None:
    """Each would take all devices."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    result = evaluate(tiny("llava"), "x", "--device-map", "auto")
    assert result.code == 2
    assert "each do so" in result.stderr


def test_a_model_that_fits_nowhere(tiny) -> None:
    """The message is about room, not about the library's folders."""
    checkpoint = find_checkpoint(str(tiny("moondream")))
    places = {"model.language_model": "disk", "model.projector": "cpu"}
    places |= {"model.vision_tower": "cpu", "lm_head": "cpu"}
    with pytest.raises(HarnessError, match="does not fit"):
        load(checkpoint, replace(CPU, device_map=places))
