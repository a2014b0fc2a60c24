"""Llama 3.2 Vision: a picture's features are the states that the weights were trained with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers.models.mllama import modeling_mllama

from distill.rationales.teacher import teacher_of
from harness.checkpoints.checkpoint import MINI_MARK
from harness.checkpoints.resolve import find_checkpoint
from harness.core.options import ModelOptions
from harness.core.types import Decoding, Prompt
from harness.families.mllama.trained_state import VISION_STATE, trained_state
from harness.families.tiny import build
from harness.models.loading import LoadOptions, load
from harness.sources.weights import Weights
from harness.weights.resolve import resolve_weights

NAMES = (
    "input_ids",
    "attention_mask",
    "pixel_values",
    "aspect_ratio_ids",
    "aspect_ratio_mask",
    "cross_attention_mask",
)


@pytest.fixture(scope="module")
def reference(real_data: Path) -> Path:
    """A checkpoint, inputs and logits that transformers 4.46.3 wrote."""
    folder = real_data / "mllama-446"
    if not folder.is_dir():
        pytest.skip("no reference of Mllama: it is not part of the repository")
    return folder


def loaded(folder: Path, **options: Any) -> Any:
    return load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32", **options))


def logits(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return network(**inputs).logits[0, -4:]


def before_each_layer(
    self: Any, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> Any:
    """The encoder as it may be one day: the state before each layer, and the last one."""
    states = [hidden_states]
    for layer in self.layers:
        states.append(layer(hidden_states=states[-1], attention_mask=attention_mask))
    return SimpleNamespace(last_hidden_state=states[-1], hidden_states=tuple(states))


@pytest.fixture(params=["as installed", "mended by the library"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "as installed":
        encoder = modeling_mllama.MllamaVisionEncoder
        monkeypatch.setattr(encoder, "forward", before_each_layer)
    return str(request.param)


@pytest.mark.parametrize("engine", ["harness", "transformers"])
def test_published_weights_give_the_logits_of_their_time(
    reference: Path, library: str, engine: str
) -> None:
    """All three pictures, to the rounding of float32, also once the library mends itself: the
    inputs, the logits, and so the first token of the answer."""
    model = loaded(reference / "checkpoint", engine=engine)
    expected = load_file(reference / "expected.safetensors")
    for number, case in enumerate(json.loads((reference / "expected.json").read_text())["cases"]):
        question = case["prompt"].partition("<|image|>")[2].partition("<|eot_id|>")[0]
        picture = Image.open(reference / case["image"]).convert("RGB")
        prompt = Prompt(text=question, question=question, images=(picture,), style="plain")
        (row,) = rows = model.prepare([prompt])
        assert row.text == case["prompt"]
        for name in NAMES:
            assert torch.equal(row.inputs[name].float(), expected[f"{name}.{number}"].float())
        wanted = expected[f"logits_last4.{number}"]
        torch.testing.assert_close(logits(model.network, row.inputs), wanted, rtol=0, atol=1e-5)
        (answer,) = model.generate(rows, Decoding(max_new_tokens=1))
        assert answer.raw == model.tokenizer.decode([int(wanted[-1].argmax())])
    assert model.description["vision_features"] == "state before layer"


def features(folder: Path) -> torch.Tensor:
    """What the loaded model makes of a picture of noise: (P, D) of its first tile."""
    network = loaded(folder).network
    vision = network.config.vision_config
    side, tiles = vision.image_size, vision.max_num_tiles
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        output = network.model.vision_model(
            pixel_values=torch.randn(1, 1, tiles, 3, side, side, generator=generator),
            aspect_ratio_ids=torch.ones(1, 1, dtype=torch.long),
            aspect_ratio_mask=torch.ones(1, 1, tiles, dtype=torch.long),
        )
    return output.last_hidden_state[0, 0, 0]


def stating(folder: Path, state: str | None, to: Path) -> Path:
    """A copy of a checkpoint whose config.json says `state`."""
    shutil.copytree(folder, to)
    config = json.loads((to / "config.json").read_text())
    config["vision_config"].pop(VISION_STATE, None)
    if state:
        config["vision_config"][VISION_STATE] = state
    (to / "config.json").write_text(json.dumps(config))
    return to


def test_a_checkpoint_can_state_it(tiny: Callable[..., Path], library: str, tmp_path: Path) -> None:
    """`before` is what a checkpoint without a statement gets; `after` gives other features, the
    same ones under either release. The last state does not depend on it."""
    folder = tiny("llava-cot")
    unstated = features(folder)
    before = features(stating(folder, "before", tmp_path / "before"))
    after = features(stating(folder, "after", tmp_path / "after"))
    width = unstated.shape[-1] // 2
    assert torch.equal(unstated, before)
    assert torch.equal(before[:, :width], after[:, :width])
    assert not torch.allclose(before[:, width:], after[:, width:], atol=0.1)


def test_both_releases_give_the_same(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever a checkpoint states, a mended library changes nothing."""
    folders = [stating(tiny("llava-cot"), state, tmp_path / state) for state in ("before", "after")]
    today = [features(folder) for folder in folders]
    monkeypatch.setattr(modeling_mllama.MllamaVisionEncoder, "forward", before_each_layer)
    assert all(map(torch.equal, today, map(features, folders)))


def test_the_mini_keeps_the_state_that_it_was_trained_with(tmp_path: Path) -> None:
    """Its files are as they were shipped, so runs of it can be resumed; a new one states it."""
    shipped = resolve_weights("llava-cot", size="mini")
    assert trained_state(shipped) == "after"
    assert VISION_STATE not in shipped.config["vision_config"]
    made = build("llava-cot", tmp_path / "made", size="mini", corpus=["a map", "B: x"])
    assert not (made / MINI_MARK).exists()
    assert trained_state(find_checkpoint("llava-cot", weights=str(made))) == "after"


@pytest.mark.parametrize("state", ["before", "after"])
def test_what_is_saved_states_it(tiny: Callable[..., Path], tmp_path: Path, state: str) -> None:
    """A model that is loaded, trained and saved is loaded again with the same convention."""
    folder = stating(tiny("llava-cot"), state if state == "after" else None, tmp_path / "base")
    loaded(folder).network.save_pretrained(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["vision_config"][VISION_STATE] == state


def test_a_lora_adapter_keeps_the_convention_of_its_base(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """Merging replaces weights only."""
    peft = pytest.importorskip("peft")
    folder = stating(tiny("llava-cot"), None, tmp_path / "base")
    adapted = peft.get_peft_model(
        loaded(folder).network, peft.LoraConfig(target_modules=["q_proj"], r=2)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    merged = find_checkpoint(str(folder), lora=tmp_path / "adapter")
    model: Any = load(merged, LoadOptions(device="cpu", dtype="float32"))
    assert model.description["vision_features"] == "state before layer"


def test_check_says_it(command, tiny: Callable[..., Path]) -> None:
    shown = command("check", tiny("llava-cot"), "--device", "cpu").stdout
    assert "state before layer" in next(x for x in shown.splitlines() if "vision features" in x)


def test_older_runs_are_not_comparable(command, tiny, drawn: Path, tmp_path: Path) -> None:
    """A run from before the field existed is refused; one of the mini is resumed, whose features
    are what they were."""

    def evaluated(runs: Path, limit: int, *model: object) -> Any:
        return command(
            "eval", "--model", "llava-cot", *model, "--task", "scienceqa", "--data", drawn,
            "--limit", limit, "--max-new-tokens", 2, "--runs", runs,
        )  # fmt: skip

    for place, model in enumerate((("--weights", tiny("llava-cot")), ("--size", "mini"))):
        runs = tmp_path / str(place)
        assert evaluated(runs, 1, *model).code == 0
        (path,) = runs.glob("*/*/*/run.json")
        record = json.loads(path.read_text())
        stated = record["fingerprint"].pop("vision_features")
        path.write_text(json.dumps(record))
        again = evaluated(runs, 2, *model)
        if place:
            assert (stated, again.code) == (None, 0)
        else:
            assert (stated, again.code) == ("state before layer", 2)
            assert ": vision_features" in again.stderr


def test_the_teachers_convention_is_part_of_a_distillation(tiny: Callable[..., Path]) -> None:
    """Rationales of the two do not belong together; the mini's are as they were."""
    folder = str(tiny("llava-cot"))
    published = teacher_of(Weights(ModelOptions(model="llava-cot", weights=folder, device="cpu")))
    shipped = teacher_of(Weights(ModelOptions(model="llava-cot", size="mini", device="cpu")))
    assert published.settings["vision_features"] == "state before layer"
    assert shipped.settings["vision_features"] is None
    assert published.load().description["vision_features"] == "state before layer"


def test_an_unknown_statement_is_refused(
    tiny: Callable[..., Path], tmp_path: Path, command
) -> None:
    folder = stating(tiny("llava-cot"), "between", tmp_path / "odd")
    result = command("check", folder)
    assert result.code == 3
    assert "'between'" in result.stderr


def test_a_library_that_collects_something_else_is_refused(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, command
) -> None:
    """Neither the state before nor the one after: no answer is better than a wrong one."""

    def last(self: Any, hidden_states: torch.Tensor, attention_mask: Any = None) -> Any:
        states = before_each_layer(self, hidden_states, attention_mask).hidden_states
        return SimpleNamespace(
            last_hidden_state=states[-1], hidden_states=states[-1:] * len(states)
        )

    monkeypatch.setattr(modeling_mllama.MllamaVisionEncoder, "forward", last)
    result = command("check", tiny("llava-cot"))
    assert result.code == 3
    assert "state after 3 layers" in result.stderr
