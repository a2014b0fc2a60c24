"""NaN in a model's logits: an error row, whatever is asked of the model, and in whatever batch."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import NOT_FINITE
from harness.core.types import Decoding, Prompt
from harness.models.loading import LoadOptions, load

FAMILIES = ("llava", "llava-next", "llava-cot", "idefics3", "moondream", "phi-3.5", "kosmos-2")
GREEDY = Decoding(max_new_tokens=3)
SAMPLED = Decoding(max_new_tokens=3, temperature=0.7, seed=1)
BAD = "\u00e6"
"""Its byte's embedding is NaN."""


def loaded(folder: Path, engine: str) -> Any:
    """A model that gives NaN for a question with BAD in it."""
    how = LoadOptions(device="cpu", dtype="float32", engine=engine)
    model = load(find_checkpoint(str(folder)), how)
    head = model.network.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.clone())  # KOSMOS-2's is tied to its words
    with_it, without = (set(model.tokenizer(text)["input_ids"]) for text in (f"x{BAD}", "x"))
    with torch.no_grad():
        model.network.get_input_embeddings().weight[list(with_it - without)] = torch.nan
    return model


def prompts(*bad: int) -> list[Prompt]:
    """Five questions, some of them bad; every other one with a picture."""
    picture = Image.new("RGB", (40, 40), "red")
    return [
        Prompt(
            text=f"Which of these {number} is it? {BAD * (number in bad)}",
            question="q",
            choices=("x", "y"),
            images=(picture,) * (number % 2),
        )
        for number in range(5)
    ]


@pytest.mark.parametrize("engine", ["harness", "transformers"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_question_that_gives_nan_is_the_only_error(tiny, family: str, engine: str) -> None:
    """Written, sampled or scored: the others of its batch are answered as they are alone."""
    model = loaded(tiny(family), engine)
    prepared = model.prepare(prompts(1, 2))
    asked: list[Callable[[list[Any]], Any]] = [
        lambda rows: model.generate(rows, GREEDY),
        lambda rows: model.choose(rows, [("x", "y and z")] * len(rows)),
    ]
    for ask in asked:
        outputs = ask(prepared)
        assert [output.error for output in outputs] == ["", NOT_FINITE, NOT_FINITE, "", ""]
        for place in (0, 3, 4):
            (alone,) = ask([prepared[place]])
            assert (outputs[place].raw, outputs[place].tokens) == (alone.raw, alone.tokens)
    sampled = model.generate(prepared, SAMPLED)
    assert [bool(output.error) for output in sampled] == [False, True, True, False, False]


def spoil(folder: Path, value: float, part: str = "lm_head") -> None:
    """Every number of the weights with that name becomes `value`."""
    file = folder / "model.safetensors"
    data = bytearray(file.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for name, about in header.items():
        if part in name:
            start, end = (8 + length + offset for offset in about["data_offsets"])
            data[start:end] = struct.pack("<f", value) * ((end - start) // 4)
    file.write_bytes(data)


@pytest.fixture(params=[float("nan"), float("inf")], ids=str)
def spoilt(request: pytest.FixtureRequest, tiny, tmp_path: Path) -> Path:
    """A checkpoint all of whose logits are no numbers."""
    folder = tmp_path / "spoilt"
    folder.mkdir()
    for path in tiny("llava-next").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    spoil(folder, request.param)
    return folder


@pytest.mark.parametrize(
    "how",
    [
        ("--mode", "loglikelihood"),
        ("--mode", "loglikelihood", "--options", "text"),
        (),
        ("--engine", "transformers"),
        ("--temperature", "0.5"),
    ],
    ids=" ".join,
)
def test_a_model_that_gives_nan_has_error_rows_only(
    command, spoilt: Path, drawn: Path, tmp_path: Path, *, how, caplog
) -> None:
    """No score, exit 4; nothing is guessed."""
    result = command(
        *("eval", "--model", spoilt, "--task", "scienceqa", "--data", drawn, "--limit", 3),
        *("--device", "cpu", "--runs", tmp_path / "runs", "--json", *how),
    )
    assert result.code == 4, result.stderr
    (run,) = result.json["runs"]
    assert run["counts"]["failed"] == 3
    assert run["metrics"]["accuracy"]["value"] is None
    lines = (Path(run["folder"]) / "predictions.jsonl").read_text().splitlines()
    assert {json.loads(line)["error"] for line in lines} == {NOT_FINITE}
    assert "No answer while warming up: the model gives NaN" in caplog.text


def test_check_finds_it_before_the_night(command, spoilt: Path) -> None:
    """A message, the remedy, and exit 5; `ask` the same."""
    for arguments in (("check", spoilt), ("ask", "--model", spoilt, "-q", "Why?")):
        result = command(*arguments, "--device", "cpu")
        assert result.code == 5
        assert "the model gives NaN" in result.stderr
        assert "--dtype" in result.stderr
        assert "Traceback" not in result.stderr
