"""What is measured, and what is only projected from it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import Model
from harness.models.loading import LoadOptions, load
from harness.run import bench
from harness.run.bench import Figures, Load
from reports.projection import ANSWERS, projected


def test_projection_is_the_arithmetic_that_it_states() -> None:
    """Questions times reading and steps, by the batch, of the batch that takes the least."""
    found = [
        Figures(model="moondream", batch=1, words=9, new_tokens=9, read_seconds=1.0, step_seconds=0.1),
        Figures(model="moondream", batch=8, words=9, new_tokens=9, read_seconds=4.0, step_seconds=0.2),
        Figures(model="moondream", batch=64, words=9, new_tokens=9, error="out of memory"),
        Figures(model="vilt", batch=4, words=9, new_tokens=9, read_seconds=2.0),
    ]  # fmt: skip
    rows = {(row["table"], row["model"]): row for row in projected([asdict(one) for one in found])}
    assert ANSWERS["scienceqa"]["moondream"] == 5
    assert rows[1, "moondream"]["projected_minutes"] == pytest.approx(2017 * 4.8 / 8 / 60)
    assert rows[1, "moondream"]["paper_minutes"] == 158
    assert rows[1, "vilt"]["projected_minutes"] == pytest.approx(2017 * 2 / 4 / 60)
    assert rows[1, "phi-3.5"]["projected_minutes"] is None
    assert {number for number, _ in rows} == {1, 2}
    assert len(rows) == 13


def test_nothing_is_projected_from_a_mini() -> None:
    """Its minutes never stand beside the paper's; another model's do, with the mini in the same
    measurement."""
    mini = asdict(Figures(model="moondream-mini", batch=1, words=9, new_tokens=9, read_seconds=1.0))
    assert projected([mini]) == []
    vilt = asdict(Figures(model="vilt", batch=4, words=9, new_tokens=9, read_seconds=2.0))
    minutes = {row["model"]: row["projected_minutes"] for row in projected([mini, vilt])}
    assert minutes["moondream"] is None
    assert minutes["vilt"] is not None


def test_bench_measures_each_load_and_says_what_is_projected(command) -> None:
    """One document: ceilings, figures of each load, projected minutes beside the paper's."""
    common = ("--weights", "random", "--size", "tiny", "--device", "cpu")
    told = command(
        "bench", "--model", "moondream", "--model", "vilt", *common, "--batch", 1, "--batch", 3,
        "--words", 8, "--new-tokens", 4, "--json",
    )  # fmt: skip
    document = told.json
    assert told.code == 0
    assert [(f["model"], f["batch"]) for f in document["figures"]] == [
        ("moondream", 1), ("moondream", 3), ("vilt", 1), ("vilt", 3),
    ]  # fmt: skip
    for figures in document["figures"][:2]:
        assert figures["tokens_per_second"] == pytest.approx(
            figures["batch"] / figures["step_seconds"]
        )
        for name in ("read_flops_share", "step_bandwidth_share", "first_token_seconds"):
            assert figures[name] > 0
    assert document["figures"][2]["step_seconds"] is None
    assert document["ceilings"][0]["flops"] > 0
    assert "not measured" in document["projection"]
    shown = command("bench", "--model", "moondream", *common, "--batch", 1, "--new-tokens", 2)
    assert "projected" in shown.stdout
    assert "158" in shown.stdout


class Here:
    """Weights that are loaded already."""

    device, dtype = "cpu", "float32"

    def __init__(self, model: Model) -> None:
        self.model = model

    def load(self) -> Model:
        return self.model


def test_a_load_that_does_not_fit_is_told_and_the_others_are_measured(
    tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory, or a model that fails, is a result of a benchmark and not its end."""
    model: Any = load(
        find_checkpoint(str(tiny("llava"))), LoadOptions(device="cpu", dtype="float32")
    )
    prefill = model.runner.prefill

    def narrow(prompts: Any, features: Any) -> Any:
        if len(prompts) > 1:
            raise MemoryError("two do not fit")
        return prefill(prompts, features)

    monkeypatch.setattr(model.runner, "prefill", narrow)
    monkeypatch.setattr(model.runner, "decode_step", lambda *_: 1 / 0)
    told = bench.measure([("llava", Here(model))], [Load(batch=1, words=4, new_tokens=3)])
    assert told["figures"][0]["error"] == "ZeroDivisionError: division by zero"
    monkeypatch.undo()
    monkeypatch.setattr(
        bench, "_streamed", lambda *_: (_ for _ in ()).throw(MemoryError("no room"))
    )
    told = bench.measure([("llava", Here(model))], [Load(batch=4, words=4, new_tokens=3)])
    assert told["figures"][0]["error"] == "out of memory: no room"
    assert told["figures"][0]["samples_per_second"] is None


def test_a_step_reads_the_language_model_once_and_every_key(tiny: Any) -> None:
    """The bytes that bandwidth is told by: weights that are multiplied with, keys and values."""
    model: Any = load(
        find_checkpoint(str(tiny("llava"))), LoadOptions(device="cpu", dtype="float32")
    )
    rows = model.prepare(bench.draw(3, 8))
    network = model.network
    language = sum(p.numel() for p in network.model.language_model.parameters())
    language += network.lm_head.weight.numel()
    language -= network.get_input_embeddings().weight.numel()
    text = network.config.get_text_config()
    key = text.num_hidden_layers * text.num_key_value_heads * text.head_dim
    expected = 4 * language + 3 * 50 * 4 * 2 * key
    assert bench._step_bytes(model, rows, 50.0) == expected


def test_servers_are_not_measured(command) -> None:
    """There is nothing of a server's that could be told apart from its network."""
    told = command("bench", "--model", "openai:x")
    assert told.code == 2
    assert "loaded here" in told.stderr


def test_drawn_questions_differ(tmp_path: Path) -> None:
    """No two share a picture: what was seen is never used twice."""
    prompts = bench.draw(6, 20)
    assert len({prompt.images[0].tobytes() for prompt in prompts}) == 6
    assert all(len(prompt.text.split()) > 20 for prompt in prompts)


def test_the_machine_alone(command) -> None:
    """Its speed in the type that is asked for, with its name; no model is loaded."""
    told = command("bench", "--machine", "--device", "cpu", "--json")
    assert told.code == 0
    (reached,) = told.json["ceilings"]
    assert (reached["device"], reached["dtype"]) == ("cpu", "float32")
    assert reached["flops"] > 1e8
    assert reached["bytes_per_second"] > 1e7
    assert told.json["environment"]["cpu"]
    shown = command("bench", "--machine", "--device", "cpu")
    assert "GFLOP/s" in shown.stdout


@pytest.mark.parametrize("given", [(), ("--machine", "--model", "moondream")], ids=str)
def test_a_model_or_the_machine(command, given: tuple[str, ...]) -> None:
    """One of the two is to be measured."""
    told = command("bench", *given)
    assert told.code == 2
    assert "Give --model NAME or --machine" in told.stderr
