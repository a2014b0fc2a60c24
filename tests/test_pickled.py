"""Checkpoints that have pickles only: refused, with a conversion that works."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from harness.checkpoints import hub
from harness.checkpoints.folder import read_json
from harness.checkpoints.pickled import without_safetensors
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import Exit, HarnessError
from harness.families.vilt.model import load


def pickled(source: Path, folder: Path) -> dict[str, torch.Tensor]:
    """Copy a checkpoint with its weights as a pickle; returns them."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if "mlm_score.decoder.bias" in weights:  # as published, by a release of 2022
        weights["mlm_score.bias"] = weights.pop("mlm_score.decoder.bias") + 1
        weights["vilt.embeddings.text_embeddings.position_ids"] = torch.arange(40)[None]
    torch.save(weights, folder / "pytorch_model.bin")
    return weights


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("vilt", "ViltForMaskedLM"),
        ("vilt-vqa", "ViltForQuestionAnswering"),
        ("llava", "LlavaForConditionalGeneration"),
        ("llava-cot", "MllamaForConditionalGeneration"),
        ("kosmos-2", "Kosmos2ForConditionalGeneration"),
        ("moondream", "MoondreamForConditionalGeneration"),
        ("phi-3.5", "Phi3VForCausalLM"),
    ],
)
def test_the_printed_conversion_works(tiny, tmp_path: Path, name: str, architecture: str) -> None:
    """With the class that the folder is for; every tensor is as it was, and the folder is found."""
    folder = tmp_path / "it's mine"
    weights = pickled(tiny(name), folder)
    with pytest.raises(HarnessError, match=r"no \*\.safetensors") as caught:
        find_checkpoint(str(folder))
    assert caught.value.code is Exit.MISSING
    assert caught.value.known == "It has pytorch_model.bin, a pickle, which is never loaded."
    python, option, code = shlex.split(caught.value.remedy.partition("author: ")[2])
    assert (python, option) == ("python", "-c")
    assert architecture in code
    assert "weights_only=True" in code
    exec(code, {})  # what the user would run
    converted = load_file(folder / "model.safetensors")
    weights.pop("vilt.embeddings.text_embeddings.position_ids", None)
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[key], value) for key, value in weights.items())
    assert find_checkpoint(str(folder)).folder == folder
    if name == "vilt":
        assert torch.equal(load(folder).mlm_score.decoder.bias, weights["mlm_score.bias"])


def test_a_class_that_nobody_knows_is_not_converted(tiny, tmp_path: Path) -> None:
    """What config.json says never becomes part of a command, unless it is a class's name."""
    pickled(tiny("llava"), folder := tmp_path / "mine")
    for name in ("NoSuchModel", "os; import this", 3):
        config = {**read_json(folder / "config.json"), "architectures": [name]}
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(HarnessError, match=r"no \*\.safetensors") as caught:
            find_checkpoint(str(folder))
        assert not caught.value.remedy


@pytest.mark.parametrize(
    ("repo", "revision", "remedy"),
    [
        ("dandelin/vilt-b32-mlm", "main", "--model-revision refs/pr/4 has them."),
        ("dandelin/vilt-b32-finetuned-vqa", "main", "--model-revision refs/pr/9 has them."),
        ("somebody/vilt", None, "hf download somebody/vilt --local-dir vilt"),
        ("somebody/llava", None, "huggingface.co/spaces/safetensors/convert"),
    ],
)
def test_a_repository_is_converted_where_that_is_done(repo, revision, remedy, tmp_path) -> None:
    """By the revision that has them, by the right class of a copy, or by the hub itself."""
    kind = "vilt" if "vilt" in repo else "llava"
    names = {"vilt": "ViltForMaskedLM", "llava": "LlavaForConditionalGeneration"}
    config = {"model_type": kind, "architectures": [names[kind]]}
    error = without_safetensors(tmp_path, config, hub.Repository(repo, revision))
    assert error.what.startswith(repo)
    assert remedy in error.remedy
    if "local-dir" in remedy:
        assert "ViltForMaskedLM" in error.remedy
        assert error.remedy.endswith("harness eval --model vilt")


@pytest.fixture
def cache(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with ViLT's main branch, as it is fetched, and the revision with safetensors."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--dandelin--vilt-b32-mlm"
    for commit, revision in (("a" * 40, "main"), ("b" * 40, "refs/pr/4")):
        shutil.copytree(tiny("vilt"), repo / "snapshots" / commit)
        (repo / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
        (repo / "refs" / revision).write_text(commit)
    (repo / "snapshots" / ("a" * 40) / "model.safetensors").unlink()
    return repo


def test_vilt_comes_from_the_pinned_revision_of_the_cache(cache: Path) -> None:
    """Without a network too; its main branch is refused with the revision to take."""
    found = find_checkpoint("vilt")
    assert (found.repo, found.revision) == ("dandelin/vilt-b32-mlm", "b" * 40)
    with pytest.raises(HarnessError) as caught:
        find_checkpoint("vilt", revision="main")
    assert caught.value.what == "dandelin/vilt-b32-mlm at revision main has no *.safetensors."
    assert "pickles never" in caught.value.known
    assert caught.value.remedy == "--model-revision refs/pr/4 has them."


@pytest.mark.parametrize(
    ("model", "weights", "revision"),
    [
        ("vilt", None, "refs/pr/4"),
        ("dandelin/vilt-b32-mlm", None, "refs/pr/4"),
        ("vilt", "dandelin/vilt-b32-finetuned-vqa", "refs/pr/9"),
    ],
)
def test_vilts_revisions_are_those_that_have_safetensors(model, weights, revision) -> None:
    """The main branches have pickles only."""
    with pytest.raises(HarnessError) as caught:
        find_checkpoint(model, weights=weights)
    repo = weights or "dandelin/vilt-b32-mlm"
    assert f"hf download {repo} --revision {revision}" in caught.value.remedy
