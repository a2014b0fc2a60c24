"""All seven rows of Table 1, on small checkpoints: any batch, any order, both modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.catalog import CATALOG
from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import DataOptions, Decoding, Model, Prompt
from harness.models.loading import LoadOptions, load
from tasks import load_task

GREEDY = Decoding(max_new_tokens=8)
ROWS = [spec.name for spec in CATALOG]


def weights_of(tiny: Any, row: str) -> Path:
    """A distilled Moondream has Moondream's architecture."""
    return tiny({"moondream-kd": "moondream"}.get(row, row))


@pytest.fixture(scope="module")
def prompts(drawn: Path) -> list[Prompt]:
    """Real questions where they are, drawn ones elsewhere."""
    real = Path(__file__).resolve().parents[2] / "shared" / "data" / "scienceqa-real"
    task = load_task("scienceqa")
    samples = task.load(DataOptions(path=real if real.is_dir() else drawn)).samples
    return [task.prompt(sample, "direct") for sample in samples[::5][:6]]


def but(*quick: str) -> list[Any]:
    """The rows, as parameters; all but `quick` are for `make test-slow`."""
    return [row if row in quick else pytest.param(row, marks=pytest.mark.slow) for row in ROWS]


@pytest.fixture(scope="module", params=but("moondream", "vilt"))
def model(request: pytest.FixtureRequest, tiny: Any) -> Model:
    checkpoint = find_checkpoint(request.param, weights=str(weights_of(tiny, request.param)))
    return load(checkpoint, LoadOptions(device="cpu", dtype="float32"))


def generated(model: Model, prompts: list[Prompt], size: int) -> list[str]:
    return [
        output.raw
        for start in range(0, len(prompts), size)
        for output in model.generate(model.prepare(prompts[start : start + size]), GREEDY)
    ]


def test_answers_do_not_depend_on_the_batch(model: Model, prompts: list[Prompt]) -> None:
    """Batch 1, 2 and 4, in two orders: the same raw answers."""
    single = generated(model, prompts, 1)
    assert len(set(single)) > 1
    assert generated(model, prompts, 2) == single
    assert generated(model, prompts[::-1], 4) == single[::-1]


def test_choices_do_not_depend_on_the_batch(model: Model, prompts: list[Prompt]) -> None:
    """Scores of options, alone and together; the most likely one is the answer."""
    options = [prompt.choices for prompt in prompts]
    together = model.choose(model.prepare(prompts), options)
    for prompt, row, output in zip(prompts, options, together, strict=True):
        (alone,) = model.choose(model.prepare([prompt]), [row])
        assert alone.raw == output.raw
        assert output.log_likelihoods == pytest.approx(alone.log_likelihoods, abs=1e-4)
        best = "ABCDE".index(output.raw)
        assert output.log_likelihoods[best] == max(output.log_likelihoods)


@pytest.mark.parametrize("row", but("phi-3.5", "vilt"))
def test_a_run_in_each_mode(command, tiny, drawn: Path, tmp_path: Path, row: str) -> None:
    """`harness eval --model ROW --weights FOLDER`, generated and scored: a complete record."""
    common = (
        "eval", "--model", row, "--weights", weights_of(tiny, row), "--task", "scienceqa",
        "--data", drawn, "--limit", 4, "--batch-size", 2, "--json", "--runs",
    )  # fmt: skip
    wrote = command(*common, tmp_path / "generate", "--max-new-tokens", 2).json["runs"][0]
    chose = command(*common, tmp_path / "choose", "--mode", "loglikelihood").json["runs"][0]
    assert wrote["counts"]["done"] == chose["counts"]["done"] == 4
    assert wrote["model"]["name"] == row
    assert wrote["counts"]["failed"] == chose["counts"]["failed"] == 0
    assert chose["metrics"]["unparsed"]["value"] == 0
    assert chose["fingerprint"]["mode"] == "loglikelihood of each letter"


@pytest.mark.parametrize("row", but("llava-next")[:-1])
def test_bfloat16_runs(command, tiny, drawn: Path, tmp_path: Path, row: str) -> None:
    """Half the bytes: every sample is answered; how many answers differ is a benchmark's to say."""
    run = command(
        "eval", "--model", row, "--weights", weights_of(tiny, row), "--task", "scienceqa",
        "--data", drawn, "--limit", 4, "--max-new-tokens", 2, "--batch-size", 2, "--json", "--runs",
        tmp_path, "--dtype", "bf16",
    ).json["runs"][0]  # fmt: skip
    assert run["settings"]["model"]["dtype"] == "bfloat16"
    assert run["counts"]["failed"] == 0
