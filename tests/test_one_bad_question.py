"""A question that the model fails on is an error row, and ends nothing: wherever it stands."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import Decoding
from harness.engine.encoded_prompts import EncodedPrompt
from harness.models.loading import LoadOptions, load
from tests.drawn import draw_questions

WORD = "Zq"
"""A token that the model has no embedding for."""


@pytest.fixture
def model(tiny, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(tiny("llava-next"), folder)
    file = folder / "tokenizer.json"
    words = json.loads(file.read_text())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    words["added_tokens"].append({"id": 9999, "content": WORD, "special": True, **flags})
    file.write_text(json.dumps(words))
    return folder


CASES = [
    (at, how)
    for how in ((), ("--batch-size", 4), ("--mode", "loglikelihood"))
    for at in (0, 2, 3, 10)
]
QUICK = [(0, ()), (10, ()), (2, ("--batch-size", 4)), (3, ("--mode", "loglikelihood"))]


@pytest.mark.parametrize(
    ("at", "how"),
    [
        pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow], id=str(case))
        for case in CASES
    ],
)
def test_it_is_an_error_row(command, model: Path, tmp_path: Path, at: int, how: Any) -> None:
    """Among the first four, which are warmed up with and sized by, as anywhere else; the longest."""
    draw_questions(tmp_path / "data")
    file = tmp_path / "data" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[at]["question"] += f" {WORD}" * 40
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = command(
        *("eval", "--model", model, "--task", "scienceqa", "--data", tmp_path / "data", "--json"),
        *("--limit", 12, "--runs", tmp_path / "runs", "--device", "cpu"),
        *(how or ("--max-new-tokens", 2)),
    )
    assert result.code == 4, result.stderr
    (run,) = result.json["runs"]
    assert (run["counts"]["done"], run["counts"]["failed"]) == (12, 1)
    lines = (Path(run["folder"]) / "predictions.jsonl").read_text().splitlines()
    assert [bool(json.loads(line)["error"]) for line in lines] == [n == at for n in range(12)]


class NoMemory:
    """A runner whose memory is too small for one image."""

    def pixels(self, prompt: Any) -> int:
        return 1

    def encode_images(self, prompts: Any) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("out of memory")


def test_sizing_goes_by_what_can_be_asked(model: Path) -> None:
    """By the longest prompt that the model takes; 1 where it takes none, or memory runs out."""
    loaded: Any = load(find_checkpoint(str(model)), LoadOptions(device="cpu", dtype="float32"))
    ids = torch.ones(1, 20, dtype=torch.long)
    good = EncodedPrompt("", {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    bad = replace(good, inputs={name: value.repeat(1, 2) for name, value in good.inputs.items()})
    bad.inputs["input_ids"][0, 3] = 9999
    few = Decoding(max_new_tokens=4)
    assert loaded.slots_that_fit([good, bad], few) == loaded.slots_that_fit([good], few) > 1
    assert loaded.slots_that_fit([bad], few) == 1
    loaded._runner = NoMemory()
    assert loaded.slots_that_fit([replace(good, image_digest="x")], few) == 1


def test_a_model_that_fails_on_everything_is_told(command, tiny, tmp_path: Path) -> None:
    """`check`, `ask` and `bench` say what fails, without a traceback, and exit with 5."""
    folder = tmp_path / "broken"
    shutil.copytree(tiny("llava-next"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_token_index": 511}))
    picture = tmp_path / "p.png"
    draw_questions(tmp_path / "data")
    picture.write_bytes(next((tmp_path / "data" / "images").iterdir()).read_bytes())
    for arguments in (
        ("check", folder),
        ("ask", "--model", folder, "-q", "Why?", "--image", picture),
        ("bench", "--model", folder, "--batch", 1, "--new-tokens", 2),
    ):
        result = command(*arguments, "--device", "cpu")
        assert result.code == 5
        assert "0 image tokens for" in result.stderr + result.stdout
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("several", [1, 4])
def test_a_model_of_one_picture_says_so_before_the_run(
    command, tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture, several: int
) -> None:
    """Some questions with two pictures are announced as error rows; where all have two, the run
    does not start."""
    draw_questions(tmp_path / "data")
    file = tmp_path / "data" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()][:4]
    for row in rows[:several]:
        row["image"] = [row["image"]] * 2
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = command(
        *("eval", "--model", tiny("vilt"), "--task", "scienceqa", "--data", tmp_path / "data"),
        *("--runs", tmp_path / "runs", "--device", "cpu"),
    )
    said = result.stderr + caplog.text
    assert "takes one picture a question" in said
    assert result.code == (2 if several == 4 else 4)
    assert (tmp_path / "runs").exists() == (several == 1)
    if several == 1:
        assert "1 of 4 questions have more, and will be error rows." in said


FIRST = """
from dataclasses import replace
from tasks.scienceqa import TASK as WHOLE

def prompt(sample, style):
    return WHOLE.prompt(replace(sample, images=sample.images[:1]), style)

TASK = replace(WHOLE, name="first", prompt=prompt)
"""


def test_a_task_may_show_fewer_pictures_than_its_questions_have(
    command, tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What counts is what the model is shown."""
    draw_questions(tmp_path / "data")
    file = tmp_path / "data" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()][:2]
    pairs = [{**row, "image": [row["image"]] * 2} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (tmp_path / "first.py").write_text(FIRST)
    result = command(
        *("eval", "--model", tiny("vilt"), "--task", tmp_path / "first.py"),
        *("--data", tmp_path / "data", "--runs", tmp_path / "runs", "--device", "cpu"),
    )
    assert result.code == 0, result.stderr
    assert "takes one picture" not in result.stderr + caplog.text
