"""The decode step under torch.compile: one full graph, few of them, the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import HarnessError
from harness.core.types import Decoding
from harness.engine.compilation import MAX_GRAPHS, CompiledDecode
from harness.engine.decode_step import DecodeStep, decode
from harness.engine.kv_cache import SlotCache
from harness.models.loading import LoadOptions, load
from tests.test_engine import FAMILIES, make_prompts, streamed

FEW = ((4, 0, 400, 4), (2, 64, 512, 6))
"""Occupied slots, tokens beyond the longest prompt, capacity, slots."""
MANY = (*FEW, (4, 64, 512, 4), (2, 0, 400, 4), (1, 0, 400, 6), (3, 7, 700, 8))
CASES = [
    pytest.param("llava", True, FEW, id="llava-quick"),
    *(
        pytest.param(
            name, own, MANY, id=f"{name}-{'own' if own else 'masked'}", marks=pytest.mark.slow
        )
        for name in FAMILIES
        for own in (False, True)
        if not own or name != "kosmos-2"  # which takes no blocks
    ),
]


def loaded(folder: Path, **options: Any) -> Any:
    return load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32", **options))


@pytest.mark.parametrize(("family", "own_lengths", "sizes"), CASES)
def test_a_step_is_one_full_graph_of_dynamic_shapes(
    tiny: Callable[..., Path], family: str, own_lengths: bool, sizes: Any
) -> None:
    """No break, and no more than three graphs whatever the slots, the lengths and the capacity; also
    where attention reads each slot's own tokens."""
    from torch._dynamo.utils import counters

    model = loaded(tiny(family))
    runner = model.runner
    assert runner.takes_blocks == (family != "kosmos-2")
    rows = [row for row in model.prepare(make_prompts(8, 1)) if row.image_digest][:4]
    torch._dynamo.reset()
    counters.clear()
    compiled = CompiledDecode(torch.device("cpu"), backend="eager", own_lengths=own_lengths)
    with torch.inference_mode():
        features = runner.encode_images(rows)
        found = runner.prefill(rows, features)
        lengths = [row.length for row in rows]
        for occupied, more, capacity, slots in sizes:
            made = []
            for call in (decode, compiled):
                cache = SlotCache(slots, cross_attention_layers=runner.cross_attention_layers)
                step = DecodeStep(runner, cache, call)
                step.insert(range(4), found, lengths, capacity=capacity)
                longest = max(lengths) + 1 + more
                made.append([step.run(occupied, longest + n).tolist() for n in range(2)])
            assert made[0] == made[1]
        # What was compiled leaves nothing behind in the library.
        assert all(map(torch.equal, runner.encode_images(rows), features))
    assert counters["stats"]["unique_graphs"] <= MAX_GRAPHS
    assert not counters["graph_break"]


@pytest.mark.slow
@pytest.mark.process
def test_compiled_answers_are_the_same(tiny: Callable[..., Path]) -> None:
    """By the compiler of this machine; what the model says of itself says that it is compiled."""
    plain, compiled = loaded(tiny("llava")), loaded(tiny("llava"), compiles=True)
    prompts, decoding = make_prompts(6, 2), Decoding(max_new_tokens=8)
    assert streamed(compiled, prompts, 3, decoding) == streamed(plain, prompts, 3, decoding)
    assert compiled.description["compiled"] is True
    assert "compiled" not in plain.description


def test_without_a_compiler_there_is_a_clear_error(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is answered; so is a model that the engine does not run."""
    with pytest.raises(HarnessError, match="--compile is the decoding engine's"):
        loaded(tiny("llava"), compiles=True, engine="transformers")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(HarnessError, match=r"C\+\+ compiler .* no-such-compiler is not here"):
        loaded(tiny("llava"), compiles=True)


def test_compile_is_an_option_of_the_decoding_engine(
    command: Any, tiny: Callable[..., Path]
) -> None:
    """With another engine, or over several devices, there is no step of it to compile."""
    for other in (("--engine", "transformers"), ("--device-map", "auto")):
        told = command("check", tiny("llava"), "--compile", *other)
        assert told.code == 2
        assert "--compile" in told.stderr
        assert "--engine harness, on one device" in told.stderr


def test_what_the_compiler_says_is_an_error_of_the_run(tiny: Callable[..., Path]) -> None:
    """And not one of each question: no other batch would help."""
    model = loaded(tiny("llava"))

    def refuse(*_: Any) -> None:
        raise HarnessError("--compile: torch cannot compile the decode step of this model.")

    model.decode = refuse
    with pytest.raises(HarnessError, match="cannot compile"):
        streamed(model, make_prompts(2, 2), 2, Decoding(max_new_tokens=4))
