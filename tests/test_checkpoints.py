"""Finding weights, telling what is missing, and noticing when they are others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.checkpoints.folder import weights_fingerprint
from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import Exit, HarnessError
from harness.weights.resolve import resolve_weights


@pytest.fixture
def folder(tmp_path: Path, tiny) -> Path:
    return Path(shutil.copytree(tiny("llava"), tmp_path / "mine"))


def test_a_folder_is_a_model(folder: Path) -> None:
    """Its name is the run's name; its model_type chooses the family."""
    found = resolve_weights(str(folder))
    assert (found.name, found.model_type) == ("mine", "llava")
    assert found.spec is None
    assert resolve_weights(str(folder), name="other").name == "other"


def test_a_row_can_be_given_other_weights(tiny) -> None:
    """--weights replaces the repository; the row keeps its name and limits."""
    found = resolve_weights("llava-next", weights=str(tiny("llava-next")))
    assert found.name == "llava-next"
    assert found.named
    assert found.spec is not None


def test_a_folder_borrows_from_the_row_of_its_kind(tiny) -> None:
    """A folder of a known architecture uses that row's limits, but not its title."""
    found = resolve_weights(str(tiny("llava-next")))
    assert found.spec is not None
    assert not found.named


def test_weights_of_another_architecture_are_refused(tiny) -> None:
    """A row's name over other weights would put a wrong name on a number."""
    with pytest.raises(HarnessError, match="holds a llava checkpoint") as caught:
        resolve_weights("phi-3.5", weights=str(tiny("llava")))
    assert caught.value.code is Exit.MISSING


def test_what_is_not_here_offline_names_the_command(monkeypatch, tmp_path: Path) -> None:
    """What was looked for, where, and what fetches it."""
    with pytest.raises(HarnessError) as caught:
        resolve_weights("phi-3.5")
    assert caught.value.code is Exit.MISSING
    assert "microsoft/Phi-3.5-vision-instruct" in caught.value.what
    assert "hub cache" in caught.value.known
    assert "hf download microsoft/Phi-3.5-vision-instruct" in caught.value.remedy


@pytest.mark.parametrize("model", ["moondream", "vikhyatk/moondream2", "Vikhyatk/Moondream2"])
def test_a_pinned_revision_is_part_of_the_command(model: str) -> None:
    """Moondream's weights are those of one date, whichever way they are asked for."""
    with pytest.raises(HarnessError) as caught:
        resolve_weights(model)
    remedy = "hf download vikhyatk/moondream2 --revision 2024-07-23"
    assert caught.value.remedy.lower().startswith(remedy)
    with pytest.raises(HarnessError) as caught:
        resolve_weights(model, revision="2024-08-26")
    assert "--revision 2024-08-26" in caught.value.remedy


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no-such-row", "No model called"),
        ("moondream-kd", "no published weights"),
    ],
)
def test_what_cannot_be_run_says_why(model: str, words: str) -> None:
    """A row without adapter or weights, and a name that is nothing."""
    with pytest.raises(HarnessError, match=words):
        resolve_weights(model)


@pytest.mark.parametrize("size", ["full", "mini", "tiny"])
@pytest.mark.parametrize("misspelt", ["moondraem", "Moondrem"])
def test_a_misspelt_row_is_proposed(misspelt: str, size: str) -> None:
    """Whatever size is asked for: never to train a mini of a name that is none."""
    with pytest.raises(HarnessError, match="Did you mean 'moondream'") as caught:
        resolve_weights(misspelt, size=size)
    assert "pretrain" not in caught.value.remedy
    assert caught.value.code == Exit.USAGE


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lose_a_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_config, "cannot be read"),
        (remove_config, "no config.json"),
        (list_config, "not a JSON object"),
        (remove_weights, "no \\*.safetensors"),
        (pickle_weights, "no \\*.safetensors"),
        (lose_a_shard, "lacks 1 of 2 weight files"),
    ],
)
def test_a_damaged_folder_is_told(folder: Path, damage, words: str) -> None:
    """Exit 3, and what is wrong with it."""
    damage(folder)
    with pytest.raises(HarnessError, match=words) as caught:
        resolve_weights(str(folder))
    assert caught.value.code is Exit.MISSING


def test_the_fingerprint_follows_the_contents(folder: Path) -> None:
    """Another byte in the weights, another template: another fingerprint; a README: the same."""
    before = weights_fingerprint(folder)
    (folder / "README.md").write_text("hello")
    (folder / "notes.log").write_text("hello")
    assert weights_fingerprint(folder) == before
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert weights_fingerprint(folder) != before


def test_the_hubs_cache_and_a_folder_have_one_fingerprint(folder: Path, tmp_path: Path) -> None:
    """A blob that is named by its sha256 is not read, and counts as what it is."""
    from hashlib import sha256

    snapshot = tmp_path / "snapshots" / "abc"
    blobs = tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        blob = blobs / sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    assert weights_fingerprint(snapshot) == weights_fingerprint(folder)


def test_the_newest_finished_student_is_moondream_kd(tmp_path: Path, tiny) -> None:
    """Not an older one, not one that is still trained, and not the answer-only control."""
    for name, status, target, finished in (
        ("old", "complete", "structured", "2026-01-01T00:00:00Z"),
        ("new", "complete", "structured", "2026-02-01T00:00:00Z"),
        ("running", "running", "structured", None),
        ("control", "complete", "answer", "2026-03-01T00:00:00Z"),
    ):
        folder = tmp_path / "distill" / name
        shutil.copytree(tiny("moondream"), folder / "student")
        state = {"status": status, "finished": finished, "student": "student"}
        (folder / "distill.json").write_text(json.dumps({**state, "config": {"target": target}}))
    found = resolve_weights("moondream-kd", runs=tmp_path)
    assert found.folder == (tmp_path / "distill" / "new" / "student").resolve()
    assert found.name == "moondream-kd"


def test_a_row_without_published_weights_needs_a_folder() -> None:
    """Checkpoints alone know neither distillations nor minis; `resolve_weights` does."""
    with pytest.raises(HarnessError, match="moondream-kd has no published weights") as caught:
        find_checkpoint("moondream-kd")
    assert caught.value.remedy == "harness eval --model moondream-kd --weights FOLDER"
    assert caught.value.code is Exit.MISSING


@pytest.mark.process
def test_checkpoints_are_found_without_models() -> None:
    """Only random weights need torch: a misspelt name is an error at once."""
    code = (
        "import sys, harness.weights.resolve as r\n"
        "try: r.resolve_weights('moondraem')\n"
        "except Exception as error: print(type(error).__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["HarnessError", "False"]
