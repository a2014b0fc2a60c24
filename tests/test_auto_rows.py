"""The rows that `auto` takes, as docs/reproduce.md has them: computed, and counted on models without
memory."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.families.tiny.decoder import llama_tokenizer
from harness.models.streaming import MAX_SLOTS

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def auto_rows() -> ModuleType:
    """The script as a module."""
    path = ROOT / "benchmarks" / "auto_rows.py"
    spec = importlib.util.spec_from_file_location("auto_rows", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["auto_rows"] = module
    spec.loader.exec_module(module)
    return module


class Peak(TorchDispatchMode):
    """Counts the bytes of tensors that are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                known = self._alive.get(storage._cdata)
                if known is None or known[0].expired():
                    self._alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._alive = {k: pair for k, pair in self._alive.items() if not pair[0].expired()}
        self.bytes = max(self.bytes, sum(size for _, size in self._alive.values()))
        return out


@pytest.fixture
def peak_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """The most bytes that a call holds, on the meta device. Attention holds its output alone there,
    as its kernels do."""

    def attention(query: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return torch.empty_like(query)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)

    def measure(call: Callable[[], object]) -> int:
        with torch.inference_mode(), Peak() as peak, torch.device("meta"):
            made = call()
        del made
        return peak.bytes

    return measure


def test_the_document_says_what_is_computed(auto_rows: ModuleType) -> None:
    """Row by row, GPU by GPU."""
    lines = DOCUMENT.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| rows that `auto` takes"))
    assert [int(size) for size in re.findall(r"(\d+) GB", lines[first])] == list(auto_rows.GPUS)
    shown = {}
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        shown[re.findall(r"`([^`]+)`", name)[0]] = cells
    for name, shape_of in auto_rows.SHAPES.items():
        shape = shape_of()
        rows = [str(auto_rows.rows(shape, size) or "—") for size in auto_rows.GPUS]
        assert shown.pop(name) == rows
    assert not shown


def test_more_memory_is_never_fewer_rows(auto_rows: ModuleType) -> None:
    """From none to the most that are of use; and what is taken fits."""
    shape = auto_rows.SHAPES["llava-cot"]()
    found = [auto_rows.rows(shape, size) for size in range(20, 200, 5)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, MAX_SLOTS["cuda"])
    for size, rows in zip(range(20, 200, 5), found, strict=True):
        held = auto_rows.BYTES * shape.parameters + rows * shape.slot_bytes
        assert not rows or held < size * 1e9


def test_a_prefill_holds_what_is_computed(auto_rows: ModuleType, peak_of) -> None:
    """Mistral 7B's, at full size: keys and values of all layers, and the inner values of one."""
    from transformers import AutoModel

    from harness.families.llava_next import llava_next_config

    config = llava_next_config(llama_tokenizer("<image>"), "full").text_config
    with torch.device("meta"):
        model = AutoModel.from_config(
            config, dtype=torch.bfloat16, attn_implementation="sdpa"
        ).eval()
    embeddings = torch.empty(1, 1024, config.hidden_size, dtype=torch.bfloat16, device="meta")
    found = peak_of(lambda: model(inputs_embeds=embeddings, use_cache=True))
    expected = 1024 * (auto_rows.cache_bytes(config) + auto_rows.text_bytes(config))
    assert found == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("pictures", [1, 3])
def test_a_vision_pass_of_mllama_holds_what_is_computed(
    auto_rows: ModuleType, peak_of, pictures: int
) -> None:
    """Four tiles a picture, at full size: all layers' outputs and the mask are held."""
    from transformers.models.mllama.modeling_mllama import MllamaVisionModel

    from harness.families.mllama.tiny import mllama_config

    config = mllama_config(llama_tokenizer("<|image|>"), "full").vision_config
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        model = MllamaVisionModel._from_config(config, dtype=torch.bfloat16).eval()

    def encode() -> object:
        pixels = torch.empty(pictures, 1, 4, 3, 560, 560, dtype=torch.bfloat16)
        return model(pixels, torch.ones(pictures, 1).long(), torch.ones(pictures, 1, 4).long())

    shape = auto_rows.SHAPES["llava-cot"]()
    expected = pictures * shape.pixels * shape.pixel_bytes
    assert peak_of(encode) == pytest.approx(expected, rel=0.1)


def test_a_vision_pass_of_clip_holds_what_is_computed(auto_rows: ModuleType, peak_of) -> None:
    """LLaVA-NeXT's five views of a picture, at full size, with every layer's output."""
    from transformers import CLIPVisionModel

    from harness.families.llava_next import llava_next_config

    config = llava_next_config(llama_tokenizer("<image>"), "full").vision_config
    with torch.device("meta"):
        model = CLIPVisionModel._from_config(
            config, dtype=torch.bfloat16, attn_implementation="sdpa"
        ).eval()
    found = peak_of(
        lambda: model(torch.empty(5, 3, 336, 336, dtype=torch.bfloat16), output_hidden_states=True)
    )
    shape = auto_rows.SHAPES["llava-next"]()
    assert found == pytest.approx(shape.pixels * shape.pixel_bytes, rel=0.1)


def test_estimates_are_those_that_the_first_run_is_held_against() -> None:
    """The minutes that benchmarks/first_gpu.py scales, and their sum."""
    path = ROOT / "benchmarks" / "first_gpu.py"
    block = re.search(r"TABLE_1_MINUTES = \{(.*?)\}", path.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    minutes = {name: float(n) for name, n in re.findall(r'"(\S+)": ([\d.]+)', block[1])}
    lines = DOCUMENT.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| estimate |"))
    names = re.findall(r"`([^`]+)`", lines[first])
    cells = [cell.strip() for cell in lines[first + 2].strip("|").split("|")]
    assert dict(zip(names, map(float, cells[1:-1]), strict=True)) == minutes
    assert float(cells[-1]) == pytest.approx(sum(minutes.values()))
