"""Weights in eight bits: loaded as weights in float32 are, as good, and told apart from damaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from harness.checkpoints import pretrained, quantized
from harness.checkpoints.folder import tensor_shapes
from harness.core.errors import Exit, HarnessError
from harness.models.loading import LoadOptions, load, network_of
from harness.weights.resolve import resolve_weights

ROWS = ["moondream", "phi-3.5", "vilt", "llava-cot"]


def quantized_copy(folder: Path, copy: Path) -> Path:
    """The same checkpoint with its weights in eight bits."""
    shutil.copytree(folder, copy)
    quantized.quantize(copy)
    return copy


@pytest.mark.parametrize("name", ROWS)
def test_each_weight_is_within_half_a_step_of_what_it_was(tiny, tmp_path: Path, name: str) -> None:
    """A step is a 127th of the largest of its row; vectors stay as they are."""
    before = load_file(tiny(name) / "model.safetensors")
    with quantized.dequantized(quantized_copy(tiny(name), tmp_path / "mine")) as whole:
        after = load_file(whole / "model.safetensors")
    assert after.keys() == before.keys()
    for key, weight in before.items():
        step = weight.abs().amax(dim=-1, keepdim=True) / 127 if weight.ndim > 1 else 0
        assert ((after[key] - weight).abs() <= 0.51 * step).all(), key


@pytest.mark.parametrize("name", ROWS)
def test_a_model_is_loaded_as_from_a_folder_of_floats(tiny, tmp_path: Path, name: str) -> None:
    """Whatever names and layouts a family's loading changes."""
    whole = resolve_weights(str(tiny(name)))
    found = resolve_weights(str(quantized_copy(whole.folder, tmp_path / "mine")))
    assert tensor_shapes(found.folder) == tensor_shapes(whole.folder)
    options = LoadOptions(device="cpu", dtype="float32")
    expected = dict(network_of(whole, options).named_parameters())
    network = network_of(found, options)
    assert network.config.name_or_path == str(found.folder)
    for key, weight in network.named_parameters():
        assert torch.allclose(weight, expected[key], atol=expected[key].abs().max().item() / 250)


def test_a_row_of_zeros_stays_one(tiny, tmp_path: Path) -> None:
    """It has no largest weight to divide by."""
    folder = Path(shutil.copytree(tiny("moondream"), tmp_path / "mine"))
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    tensors[name][0] = 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    quantized.quantize(folder)
    with quantized.dequantized(folder) as whole:
        restored = load_file(whole / "model.safetensors")
    assert restored[name][0].eq(0).all()
    assert all(tensor.dtype == torch.float32 for tensor in restored.values())


def test_a_folder_is_as_small_as_its_integers(tiny, tmp_path: Path) -> None:
    """Scales and vectors add little, and the weights are there once."""
    folder = tiny("moondream")
    copy = quantized_copy(folder, tmp_path / "mine")
    (small,) = copy.glob("*.safetensors")
    assert small.stat().st_size < 0.35 * (folder / "model.safetensors").stat().st_size


def test_a_folder_that_is_read_only_is_loaded(tiny, tmp_path: Path) -> None:
    """As an installed package may be: the copy can be written to."""
    folder = quantized_copy(tiny("moondream"), tmp_path / "mine")
    folder.chmod(0o555)
    with quantized.dequantized(folder) as whole:
        assert whole.stat().st_mode & 0o700 == 0o700
        assert (whole / "model.safetensors").is_file()
    assert not whole.exists()
    folder.chmod(0o755)


def test_other_folders_are_loaded_where_they_are(tiny) -> None:
    """Only weights in eight bits are written anew."""
    with quantized.dequantized(tiny("moondream")) as whole:
        assert whole == tiny("moondream")


@pytest.mark.parametrize("damage", ["missing", "[3]"])
def test_scales_that_do_not_fit_are_refused(tiny, tmp_path: Path, damage: str) -> None:
    """By the weight's name; the integers alone are no weights."""
    folder = quantized_copy(tiny("moondream"), tmp_path / "mine")
    tensors = load_file(folder / quantized.FILE)
    scale = next(name for name in tensors if name.endswith(".scale"))
    del tensors[scale]
    if damage != "missing":
        tensors[scale] = torch.ones(3)
    save_file(tensors, folder / quantized.FILE)
    with pytest.raises(HarnessError, match="is damaged: the scales of") as caught:
        pretrained.load_model(AutoModelForImageTextToText, folder)
    assert damage in caught.value.what
    assert caught.value.code is Exit.MISSING


def test_a_file_that_is_cut_short_is_refused(tiny, tmp_path: Path) -> None:
    """As a damaged model.safetensors is, by `harness eval` too."""
    folder = quantized_copy(tiny("moondream"), tmp_path / "mine")
    path = folder / quantized.FILE
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(HarnessError, match="cannot be loaded") as caught:
        load(resolve_weights(str(folder)), LoadOptions(device="cpu", dtype="float32"))
    assert caught.value.code is Exit.MISSING


def test_transformers_alone_never_takes_integers_for_weights(tiny, tmp_path: Path) -> None:
    """It finds no weights there, where a model.safetensors would be loaded with a warning."""
    folder = quantized_copy(tiny("llava"), tmp_path / "mine")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
