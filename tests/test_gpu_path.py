"""What a GPU would do, on a pretend one: the same tokens, one wait per step, graphs that hold."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from PIL import Image
from transformers import DynamicCache

from harness.checkpoints.resolve import find_checkpoint
from harness.core.types import Decoding, Output, Prompt
from harness.engine import decode_step
from harness.engine.budget import PassBudget, PassMemory, plan_slots
from harness.engine.continuous_batching import Engine
from harness.engine.decode_step import DecodeStep
from harness.engine.kv_cache import SlotCache
from harness.engine.model_runner import Prefilled
from harness.engine.staging import Staging
from harness.models import streaming
from harness.models.loading import LoadOptions, load
from harness.models.model_runners import runner_for
from harness.run import bench
from tests import pretend_gpu, test_engine
from tests.pretend_gpu import OnGpu, PretendGpu
from tests.test_engine import WORDS, Counts, counted, encoded, engine_of

OFTEN = ("llava-cot", "moondream", "phi-3.5", "kosmos-2")
FAMILIES = [
    name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow)
    for name in test_engine.FAMILIES
]


class Steps:
    """What `DecodeStep.run` was asked, and the waits within it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gpu: PretendGpu) -> None:
        self.lengths: list[int] = []
        self.waits = 0
        run = DecodeStep.run

        def watched(step: DecodeStep, occupied: int, kv_length: int) -> torch.Tensor:
            before = gpu.waits.total()
            tokens = run(step, occupied, kv_length)
            self.lengths.append(kv_length)
            self.waits += gpu.waits.total() - before
            return tokens

        monkeypatch.setattr(DecodeStep, "run", watched)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], PretendGpu]]:
    """Called once the models are loaded: from then on there is a GPU."""

    def begin() -> PretendGpu:
        # Tensors of a subclass are no inference tensors.
        run = Engine.run.__wrapped__  # type: ignore[attr-defined]
        monkeypatch.setattr(Engine, "run", torch.no_grad()(run))
        return pretend_gpu.install(monkeypatch)

    yield begin
    pretend_gpu.GPU.clear()


def prompts(number: int, *, words: int = 6) -> list[Prompt]:
    """Questions of several lengths, with pictures of several shapes; every third has none."""
    chance = random.Random(0)
    made = []
    for place in range(number):
        size = chance.randint(20, 90), chance.randint(20, 90)
        picture = Image.frombytes("RGB", size, chance.randbytes(3 * size[0] * size[1]))
        text = "Which of these is it? " * chance.randint(1, words)
        images = () if place % 3 == 2 else (picture,)
        made.append(Prompt(text=text, question=text, choices=("x", "y"), images=images))
    return made


def loaded(folder: Path) -> Any:
    return load(find_checkpoint(str(folder)), LoadOptions(device="cpu", dtype="float32"))


def to_gpu(model: Any) -> None:
    """The model as if it had been loaded on the pretend GPU."""
    pretend_gpu.move(model.network)
    model._device = pretend_gpu.DEVICE
    model._runner = runner_for(model.network, model._family)
    model.forget_images()


def streamed(model: Any, rows: Any, slots: int, tokens: int) -> dict[int, Output]:
    each = ((number, [row]) for number, row in enumerate(rows))
    decoding = Decoding(max_new_tokens=tokens)
    return {one.number: one.output for one in model.stream(each, decoding, slots=slots)}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_tokens_with_one_wait_per_step(
    tiny: Callable[..., Path],
    install: Callable[[], PretendGpu],
    monkeypatch: pytest.MonkeyPatch,
    family: str,
) -> None:
    """In every family: no operation mixes devices, nothing waits within a step or a capture, and
    each step is waited for once, where its tokens are read. Graphs hold while the cache grows."""
    model = loaded(tiny(family))
    rows = sorted(model.prepare(prompts(5)), key=lambda row: row.length)
    expected = streamed(model, rows, 2, 6)
    gpu = install()
    steps = Steps(monkeypatch, gpu)
    monkeypatch.setattr(decode_step, "GRAPH_BLOCK", 16)  # so that short prompts make it grow
    to_gpu(model)
    with gpu:
        found = streamed(model, rows, 2, 6)
    assert [one.error for one in found.values() if one.error] == []
    assert found == expected
    assert gpu.replays == len(steps.lengths) > 0
    assert steps.waits == 0
    assert set(gpu.captures) == {"thread_local"}
    assert 1 < len(gpu.captures) < len(steps.lengths)
    assert gpu.copies["pageable"] == 0


def test_nothing_that_failed_is_alive_when_it_is_tried_again() -> None:
    """Memory that a pass held when it ran out is free before the next one begins, of a prefill as
    of a decode step; and the size that fits is remembered."""
    held: list[weakref.ref[torch.Tensor]] = []

    class Large(Counts):
        """Memory for two prompts in a prefill, and for four slots in a step."""

        failed: list[int]

        def prefill(self, prompts: Any, features: Any) -> Any:
            assert not any(each() is not None for each in held)
            states = torch.zeros(len(prompts), 1000)
            if len(prompts) > 2:
                self.failed.append(len(prompts))
                held.append(weakref.ref(states))
                try:
                    _ = states[1000]
                except IndexError as error:  # whose frame holds the states too
                    raise torch.OutOfMemoryError("CUDA out of memory") from error
            return super().prefill(prompts, features)

        def decode_step(self, tokens: Any, positions: Any, valid: Any, cache: Any) -> Any:
            if len(tokens) > 4:
                held.append(weakref.ref(cache.layers[0].all_keys))
                raise torch.OutOfMemoryError("CUDA out of memory")
            assert not any(each() is not None for each in held)
            return super().decode_step(tokens, positions, valid, cache)

    runner = Large()
    runner.failed = []
    asked = [[number + 1, 2, 3] for number in range(16)]
    engine = engine_of(runner, slots=8, most=6)
    found = list(engine.run(iter([(n, encoded(tokens)) for n, tokens in enumerate(asked)])))
    assert {w.number: w.tokens for w in found} == {n: counted(t, 6) for n, t in enumerate(asked)}
    assert len(held) == 3
    assert runner.failed == [8, 4]
    assert engine.budget.tokens == 2 * 3
    assert engine.slots == 4


def steps_on(gpu: PretendGpu) -> tuple[DecodeStep, Callable[[int], list[int]]]:
    """Decode steps of a runner whose tokens say what is in the cache, and one of them."""

    class There(Counts):
        device = pretend_gpu.DEVICE

        def decode_step(self, tokens: Any, positions: Any, valid: Any, cache: Any) -> Any:
            new = tokens[:, None, None, None].float()
            keys, _ = cache.update(new, new, 0)
            total = (keys[:, 0, :, 0] * valid).sum(-1) % WORDS
            return (torch.arange(WORDS, device=self.device) == total[:, None]).float()

    cache = SlotCache(4)
    step = DecodeStep(There(), cache)

    def insert(capacity: int) -> None:
        keys = OnGpu(torch.arange(1.0, 7).reshape(2, 1, 3, 1))
        prompts = DynamicCache()
        prompts.update(keys, keys.clone(), 0)
        logits = OnGpu(torch.eye(WORDS)[[4, 9]])
        step.insert(range(2), Prefilled(logits, prompts, {}), [3, 3], capacity=capacity)

    insert(40)
    return step, insert


def expected(steps: int) -> list[list[int]]:
    """The tokens of the steps of `steps_on`, in plain Python."""
    rows = [[1, 2, 3, 4], [4, 5, 6, 9]]
    for _ in range(steps):
        for row in rows:
            row.append(sum(row) % WORDS)
    return [row[4:] for row in rows]


def test_graphs_after_a_cache_growth_are_captured_into_a_pool_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pool whose last graph is gone is not used again; graphs that are alive share one."""
    gpu = pretend_gpu.install(monkeypatch)
    with gpu, torch.no_grad():
        step, insert = steps_on(gpu)
        first = [step.run(2, 4 + n).tolist() for n in range(2)]
        step.run(1, 6)
        assert len(gpu.pools) == 1
        insert(600)
        second = [step.run(2, 4 + n).tolist() for n in range(2)]
    assert first == second == [list(row) for row in zip(*expected(2), strict=True)]
    assert len(gpu.captures) == 3
    assert dict(gpu.pools) == {1: 0, 2: 1}


def test_so_many_graphs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for longest is captured again when its size occurs."""
    gpu = pretend_gpu.install(monkeypatch)
    monkeypatch.setattr(decode_step, "MAX_CUDA_GRAPHS", 2)
    with gpu, torch.no_grad():
        step, insert = steps_on(gpu)
        insert(1000)
        captures = []
        for kv_length in (4, 300, 5, 600, 6, 301):
            step.run(1, kv_length)
            captures.append(len(gpu.captures))
    assert captures == [1, 2, 2, 3, 3, 4]
    assert gpu.pools[1] == 2


def test_a_capture_that_runs_out_of_memory_ends_no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other graphs give up their memory, and it is tried again; where there are none, steps of
    this size run without one, and those of other sizes with theirs. Any other failure ends them."""
    gpu = pretend_gpu.install(monkeypatch)
    lack = torch.OutOfMemoryError("CUDA out of memory")
    with gpu, torch.no_grad():
        step, insert = steps_on(gpu)
        step.run(1, 4)
        insert(40)
        gpu.fail_captures = [lack]
        assert [step.run(2, 4 + n).tolist() for n in range(2)] == [
            list(row) for row in zip(*expected(2), strict=True)
        ]
        assert gpu.replays == 3
        insert(300)
        gpu.fail_captures = [lack]
        assert step.run(1, 4).tolist() == expected(1)[0]
        assert step.run(1, 5).tolist() == expected(2)[0][1:]
        assert gpu.replays == 3
        insert(300)
        assert step.run(2, 4).tolist() == [row[0] for row in expected(1)]
        assert gpu.replays == 4
        insert(700)
        gpu.fail_captures = [RuntimeError("operation not permitted")]
        before = len(gpu.captures)
        for n in range(3):
            step.run(2, 4 + n)
    assert gpu.replays == 4
    assert len(gpu.captures) == before + 1


def test_nothing_is_captured_in_a_timed_region(
    tiny: Callable[..., Path], install: Callable[[], PretendGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`harness bench` captures its graphs before, and replays them within."""
    model = loaded(tiny("moondream"))
    gpu = install()
    to_gpu(model)
    captured: list[int] = []
    times = bench._times

    def watched(run: Any, where: torch.device, **options: Any) -> Any:
        before, replays = len(gpu.captures), gpu.replays
        taken = times(run, where, **options)
        captured.append(len(gpu.captures) - before)
        watched.replays += gpu.replays - replays
        return taken

    watched.replays = 0
    monkeypatch.setattr(bench, "_times", watched)
    monkeypatch.setattr(bench, "FlopCounterMode", NoOperations)
    monkeypatch.setattr(bench, "_step_bytes", lambda *_: 1.0)
    work = bench.Load(batch=2, words=4, new_tokens=5)
    with gpu:
        bench._streamed(
            bench.Figures(model="x", batch=2, words=4, new_tokens=5),
            model, work, bench.Ceilings(flops=1e12, bandwidth=1e11), pretend_gpu.DEVICE,
        )  # fmt: skip
    assert captured == [0, 0, 0]
    assert watched.replays == 3 * 4
    assert gpu.captures


class NoOperations:
    """In place of torch's counter, which takes no tensors of a subclass."""

    def __init__(self, **_: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def get_total_flops(self) -> int:
        return 1


@pytest.mark.parametrize("name", ["vilt", "vilt-vqa"])
def test_vilt_waits_for_a_batch_and_not_for_each_picture(
    tiny: Callable[..., Path],
    install: Callable[[], PretendGpu],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Whatever the number of pictures and choices: for what its head made of all of them, and once
    within the library, which asks whether anything is masked."""
    model = loaded(tiny(name))
    rows = model.prepare(prompts(4))
    expected = model.generate(rows, Decoding(max_new_tokens=4))
    for method in ("_embed", "_answers"):
        plain = getattr(type(model), method).__wrapped__
        monkeypatch.setattr(type(model), method, torch.no_grad()(plain))
    gpu = install()
    pretend_gpu.move(model.network)
    model._device = pretend_gpu.DEVICE
    model._staging = Staging(pretend_gpu.DEVICE)
    with gpu:
        found = model.generate(rows, Decoding(max_new_tokens=4))
    assert [each.raw for each in found] == [each.raw for each in expected]
    assert gpu.waits.total() <= 2, gpu.waits
    assert gpu.copies["pageable"] == 0


def test_sizing_goes_by_the_passes_and_not_by_what_was_before(
    tiny: Callable[..., Path], install: Callable[[], PretendGpu], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a prefill and a vision pass take is measured from a peak of their own: a warm-up that
    took more changes nothing. Full passes of both are set aside, and tried with full slots."""
    model = loaded(tiny("llava"))
    rows = model.prepare(prompts(4))
    gpu = install()
    to_gpu(model)
    runner, peak, encoded_together = model.runner, [0], []
    prefill, encode_images = runner.prefill, runner.encode_images

    def prefilled(some: Any, features: Any) -> Any:
        peak[0] = max(peak[0], sum(row.length for row in some) << 20)
        return prefill(some, features)

    def encoded_images(some: Any) -> Any:
        peak[0] = max(peak[0], sum(map(runner.pixels, some)) << 10)
        encoded_together.append(len(some))
        return encode_images(some)

    monkeypatch.setattr(runner, "prefill", prefilled)
    monkeypatch.setattr(runner, "encode_images", encoded_images)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_: peak.__setitem__(0, 0))
    monkeypatch.setattr(streaming, "MAX_SLOTS", {"cuda": 3})
    planned = []
    plan = streaming.plan_slots
    monkeypatch.setattr(
        streaming, "plan_slots", lambda free, **o: planned.append(o) or plan(free, **o)
    )
    size = torch.no_grad()(type(model).slots_that_fit.__wrapped__)
    with gpu:
        assert size(model, rows, Decoding(max_new_tokens=8)) == 3
        model.generate(rows, Decoding(max_new_tokens=2))
        assert size(model, rows, Decoding(max_new_tokens=8)) == 3
    assert planned[0] == planned[1]
    passes = planned[0]["passes"]
    longest = max(row.length for row in rows)
    assert (passes.tokens, passes.prefill_bytes) == (longest, longest << 20)
    assert passes.vision_bytes == passes.pixels << 10 > 0
    assert encoded_together[:2] == [1, 3]


def test_slots_leave_room_for_full_passes() -> None:
    """Of the larger of both; where that is more than a quarter of what is free, passes hold less,
    but never less than one prompt."""
    gigabyte = 1 << 30
    passes = PassMemory(
        tokens=1024, prefill_bytes=gigabyte // 2, pixels=1 << 20, vision_bytes=gigabyte
    )
    assert passes.of(PassBudget()) == 4 * gigabyte
    options = {"bytes_per_slot": gigabyte, "passes": passes, "kept": gigabyte, "limit": 128}
    assert plan_slots(80 * gigabyte, **options) == (75, PassBudget())
    assert plan_slots(8 * gigabyte, **options) == (5, PassBudget(4096, 2 << 20))
    assert plan_slots(gigabyte, **options) == (1, PassBudget(1024, 1 << 20))
    assert plan_slots(999 * gigabyte, **options)[0] == 128
