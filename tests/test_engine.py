"""The decoding engine: in whatever slot, the tokens are those of generate."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import DynamicCache

from harness.checkpoints.resolve import find_checkpoint
from harness.core.errors import NOT_FINITE
from harness.core.types import Decoding, Output, Prompt
from harness.engine.continuous_batching import Completion, Engine, StopConditions
from harness.engine.encoded_prompts import EncodedPrompt, collate
from harness.engine.image_features import ImageFeatureCache
from harness.engine.model_runner import Prefilled
from harness.engine.scheduling import LOOKAHEAD, RequestQueue
from harness.engine.vision_passes import VisionPasses
from harness.models.generative import GenerativeModel
from harness.models.loading import LoadOptions, load
from harness.models.streaming import StreamingModel

WORDS = 31
END = 7
FAMILIES = ("llava", "llava-next", "llava-cot", "idefics3", "moondream", "phi-3.5", "kosmos-2")


def encoded(tokens: Sequence[int], image_digest: str = "") -> EncodedPrompt:
    ids = torch.tensor([list(tokens)])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return EncodedPrompt("", inputs, image_digest)


class Counts:
    """A runner whose next token depends on all tokens before it, each weighed by its position, from
    the KV cache: a key at a wrong position, or of another request, gives another token."""

    device = torch.device("cpu")
    cross_attention_layers = ()

    def __init__(
        self,
        *,
        max_batch_tokens: int = 10**6,
        rope_switch_length: int | None = None,
        broken: int = -1,
        stuck: int = -1,
        poison: int = -1,
    ) -> None:
        self.max_batch_tokens = max_batch_tokens
        self.rope_switch_length = rope_switch_length
        self.broken = broken
        self.stuck = stuck
        self.poison = poison
        self.now = 0.0
        self.sizes: list[int] = []
        self.prefills: list[tuple[int, ...]] = []

    def clock(self) -> float:
        return self.now

    def batch_key(self, prompt: EncodedPrompt) -> str:
        return prompt.image_digest[:1]

    def pixels(self, prompt: EncodedPrompt) -> int:
        return 100

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        return [torch.zeros(1) for _ in prompts]

    def prefill(self, prompts: Sequence[EncodedPrompt], features: Sequence[Any]) -> Prefilled:
        self.now += 1.0
        batch = collate(prompts, 0)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if ids.numel() > self.max_batch_tokens:
            raise torch.OutOfMemoryError("out of memory")
        if (ids == self.broken).any():
            raise ValueError("this one breaks")
        if (ids[:, -1] == self.stuck).any():
            raise ValueError("this one is stuck")
        self.prefills.append(tuple(prompt.length for prompt in prompts))
        cache = DynamicCache()
        keys = self.keys(ids[:, None, :, None])
        cache.update(keys, -keys, 0)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = self.logits(keys[:, 0, :, 0], mask.bool(), places)
        return Prefilled(logits, cache, {})

    def decode_step(self, tokens: Any, positions: Any, valid: Any, cache: Any) -> torch.Tensor:
        self.now += 2.0
        self.sizes.append(len(tokens))
        if valid.numel() > self.max_batch_tokens:
            raise torch.OutOfMemoryError("out of memory")
        if (tokens == self.stuck).any():
            raise ValueError("this one is stuck")
        new = self.keys(tokens[:, None, None, None])
        keys, values = cache.update(new, -new, 0)
        assert torch.equal(keys.nan_to_num(), -values.nan_to_num())
        return self.logits(keys[:, 0, :, 0], valid, torch.arange(valid.shape[1]))

    def keys(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.where(tokens == self.poison, torch.nan, tokens.float())

    def logits(self, words: torch.Tensor, valid: torch.Tensor, places: torch.Tensor) -> Any:
        total = ((words * (places + 1)) * valid).sum(-1)
        chosen = torch.nn.functional.one_hot(total.nan_to_num().long() % WORDS, WORDS).float()
        return torch.where(total.isnan()[:, None], torch.nan, chosen)


class Encoder(Counts):
    """A vision encoder whose features are the digest's letter, with memory for so many images."""

    def __init__(self, most: int = 10**6) -> None:
        super().__init__()
        self.most = most
        self.passes: list[list[str]] = []
        self.failed: list[int] = []

    def encode_images(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        if len(prompts) > self.most:
            self.failed.append(len(prompts))
            raise torch.OutOfMemoryError("out of memory")
        self.passes.append([prompt.image_digest for prompt in prompts])
        return [
            torch.full((100,), float(ord(p.image_digest)), dtype=torch.float32) for p in prompts
        ]


def counted(prompt: Sequence[int], most: int) -> tuple[int, ...]:
    """What Counts generates, in plain Python."""
    words = list(prompt)
    while len(words) < len(prompt) + most:
        words.append(sum(word * (place + 1) for place, word in enumerate(words)) % WORDS)
        if words[-1] == END:
            break
    return tuple(words[len(prompt) :])


def engine_of(runner: Counts, *, slots: int, most: int) -> Engine:
    stop = StopConditions(most, frozenset({END}))
    features = ImageFeatureCache(1 << 20)
    return Engine(runner, slots=slots, stop=stop, features=features, clock=runner.clock)


def run(
    runner: Counts, asked: Sequence[EncodedPrompt], *, slots: int, most: int = 12
) -> list[Completion]:
    return list(engine_of(runner, slots=slots, most=most).run(iter(enumerate(asked))))


prompts = st.lists(st.lists(st.integers(1, WORDS - 1), min_size=2, max_size=90), max_size=24)


@given(prompts, st.integers(1, 9), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_every_request_gets_what_it_gets_alone(
    asked: list[list[int]], slots: int, most: int
) -> None:
    """Any lengths in any order in any number of slots: each request's own tokens, once."""
    found = run(Counts(), [encoded(tokens) for tokens in asked], slots=slots, most=most)
    assert {w.number: w.tokens for w in found} == {
        number: counted(tokens, most) for number, tokens in enumerate(asked)
    }
    assert len(found) == len(asked)


@given(prompts, st.integers(1, 5), st.integers(6, 40))
@settings(deadline=None, max_examples=40)
def test_requests_that_pass_the_rope_switch_are_prefilled_again(
    asked: list[list[int]], slots: int, limit: int
) -> None:
    """Keys that were cached before the switch are not used after it; nothing else changes."""
    runner = Counts(rope_switch_length=limit)
    found = run(runner, [encoded(tokens) for tokens in asked], slots=slots)
    for number, tokens in enumerate(asked):
        assert {w.number: w.tokens for w in found}[number] == counted(tokens, 12)
    passing = sum(len(t) <= limit < len(t) + len(counted(t, 12)) - 1 for t in asked)
    lengths = [length for prefilled in runner.prefills for length in prefilled]
    assert len(lengths) == len(asked) + passing
    assert lengths.count(limit + 1) == passing + sum(len(t) == limit + 1 for t in asked)


@given(prompts, st.integers(1, 6), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_a_request_that_is_not_finite_affects_no_other(
    asked: list[list[int]], slots: int, most: int
) -> None:
    """NaN, in a prompt or after it, is that request's error. The next request in its slot is not
    affected by what it left in the cache: what is masked is multiplied by 0, and stays NaN."""
    poison = 13
    found = run(
        Counts(poison=poison), [encoded(tokens) for tokens in asked], slots=slots, most=most
    )
    for written in found:
        tokens = asked[written.number]
        whole = counted(tokens, most)
        expected = [] if poison in tokens else list(whole)
        if poison in expected:
            expected = expected[: expected.index(poison) + 1]
        if len(expected) < len(whole):
            assert str(written.error) == NOT_FINITE
        else:
            assert written.error is None
        assert written.tokens == tuple(expected)
    assert len(found) == len(asked)


@given(prompts, st.integers(2, 6))
@settings(deadline=None, max_examples=40)
def test_a_request_that_makes_decode_steps_fail_fails_alone(
    asked: list[list[int]], slots: int
) -> None:
    """The others of its batch are answered as if it had not been there."""
    stuck = 17
    found = run(Counts(stuck=stuck), [encoded(tokens) for tokens in asked], slots=slots, most=8)
    for written in found:
        expected = counted(asked[written.number], 8)
        if stuck in (asked[written.number][-1], *expected[:-1]):
            assert str(written.error) == "this one is stuck"
        else:
            assert (written.error, written.tokens) == (None, expected)
    assert len(found) == len(asked)


def test_a_finished_request_is_out_of_the_next_decode_step() -> None:
    """The batch has a row for each unfinished request; free slots are filled before each step."""
    chance = random.Random(0)
    asked = [[chance.randint(1, WORDS - 1) for _ in range(5)] for _ in range(60)]
    written = [len(counted(tokens, 50)) for tokens in asked]
    assert len(set(written)) > 8
    runner = Counts()
    run(runner, [encoded(tokens) for tokens in asked], slots=6, most=50)
    assert sum(runner.sizes) == sum(written) - len(asked)  # the first token comes with the prompt
    assert set(runner.sizes[: -max(written)]) == {6}


def test_each_slot_is_filled_again() -> None:
    """Whichever slot becomes free, the next request in it is not affected by the one before."""
    tails = [[1, 2, 3 + place] for place in range(9)]
    for short in range(4):
        first = [[5, 1 + place, 9] for place in range(4)]
        lengths = [len(counted(tokens, 30)) for tokens in first]
        asked = [*first, *tails]
        found = run(Counts(), [encoded(t) for t in asked], slots=4, most=min(lengths) + short)
        assert {w.number: w.tokens for w in found} == {
            n: counted(t, min(lengths) + short) for n, t in enumerate(asked)
        }


def test_shares_add_up_to_the_engines_time() -> None:
    """Each pass is shared equally by its requests: nothing is lost, nothing counted twice."""
    runner = Counts()
    found = run(runner, [encoded([n + 1, 2, 3]) for n in range(20)], slots=4)
    assert sum(w.seconds for w in found) == pytest.approx(runner.now)
    assert all(w.seconds > 0 for w in found)


def test_out_of_memory_loses_nothing() -> None:
    """Half the slots, until it fits; requests that lost theirs continue from their tokens."""
    asked = [[n + 1, 2, 3, 4] for n in range(20)]
    runner = Counts(max_batch_tokens=40)
    engine = engine_of(runner, slots=16, most=30)
    found = list(engine.run(iter([(n, encoded(t)) for n, t in enumerate(asked)])))
    assert {w.number: w.tokens for w in found} == {n: counted(t, 30) for n, t in enumerate(asked)}
    assert engine.slots < 16


def test_one_prompt_that_never_fits_costs_its_own_answer_only() -> None:
    """The others are answered, and with all the slots that were asked for."""
    asked = [[n + 1, 2, 3] for n in range(8)] + [[1] * 200] + [[n + 1, 5, 3] for n in range(8)]
    runner = Counts(max_batch_tokens=150)
    engine = engine_of(runner, slots=4, most=8)
    found = {w.number: w for w in engine.run(iter([(n, encoded(t)) for n, t in enumerate(asked)]))}
    assert isinstance(found[8].error, torch.OutOfMemoryError)
    assert [n for n, w in found.items() if w.error] == [8]
    assert all(found[n].tokens == counted(t, 8) for n, t in enumerate(asked) if n != 8)
    assert engine.slots == 4


def test_a_prompt_that_breaks_the_model_is_found() -> None:
    """Those that were prefilled with it are answered."""
    asked = [[n + 1, 2, 3] for n in range(9)]
    asked[4] = [1, 30, 3]
    found = {w.number: w for w in run(Counts(broken=30), [encoded(t) for t in asked], slots=9)}
    assert isinstance(found[4].error, ValueError)
    for number, tokens in enumerate(asked):
        if number != 4:
            assert (found[number].tokens, found[number].error) == (counted(tokens, 12), None)


def test_batch_keys_are_never_mixed() -> None:
    """Prompts that cannot be in one batch wait for each other, and all are answered."""
    asked = [encoded([n + 1, 2], image_digest="ab"[n % 3 == 0] + str(n)) for n in range(20)]
    runner = Counts()
    together: list[set[str]] = []
    prefill = runner.prefill

    def watched(prompts: Sequence[EncodedPrompt], features: Any) -> Any:
        together.append({prompt.image_digest[:1] for prompt in prompts})
        return prefill(prompts, features)

    runner.prefill = watched  # type: ignore[method-assign]
    found = run(runner, asked, slots=4)
    assert {w.number: w.tokens for w in found} == {n: counted([n + 1, 2], 12) for n in range(20)}
    assert all(len(keys) == 1 for keys in together)


def test_only_so_many_prompts_are_taken_ahead() -> None:
    """However many prompts there are, memory for what waits is bounded."""
    taken = []

    def endless() -> Iterator[tuple[int, EncodedPrompt]]:
        while True:
            taken.append(len(taken))
            yield taken[-1], encoded([1, 2])

    queue = RequestQueue(endless(), lambda _: None)
    queue.fetch(4)
    assert len(taken) == 4 + LOOKAHEAD
    queue.next_batch(4, any_key=True, max_tokens=100)
    queue.fetch(1)
    assert len(taken) == 4 + LOOKAHEAD + 1


def test_prompts_of_similar_length_are_prefilled_together() -> None:
    """The one that waited longest first, then those that are closest to its length."""
    lengths = [10, 90, 11, 50, 12, 95]
    queue = RequestQueue(
        iter([(n, encoded([1] * k)) for n, k in enumerate(lengths)]), lambda _: None
    )
    queue.fetch(6)
    assert [r.number for r in queue.next_batch(3, any_key=True, max_tokens=1000)] == [0, 2, 4]
    assert [r.number for r in queue.next_batch(2, any_key=False, max_tokens=1000)] == [1, 5]
    assert [r.number for r in queue.next_batch(2, any_key=False, max_tokens=10)] == [3]


def test_image_features_are_kept_within_their_bytes() -> None:
    """The images used last are kept; one that is used twice is encoded once."""
    features = ImageFeatureCache(3 * 400)
    runner = Encoder()
    vision = VisionPasses(runner, features, max_pixels=10**6)
    for digests in ("ab", "ac", "d", "a", "b"):
        vision.of([encoded([1], image_digest=digest) for digest in digests])
    assert "".join("".join(each) for each in runner.passes) == "abcdb"
    assert vision.of([encoded([1]), encoded([1], "b"), encoded([1], "b")])[0] is None
    assert "".join("".join(each) for each in runner.passes) == "abcdb"


def test_a_vision_pass_holds_so_many_pixels_and_serves_what_comes_next() -> None:
    """Images beyond the budget are a pass of their own; what is left of the last one is filled with
    the images of requests that come next, once each, and these are not encoded again."""
    runner = Encoder()
    vision = VisionPasses(runner, ImageFeatureCache(0), max_pixels=300)
    asked = [encoded([1], digest) for digest in "abcd"]
    following = [encoded([1], digest) for digest in "efaegh"]
    found = vision.of(asked, following)
    assert [chr(int(each[0])) for each in found] == list("abcd")
    assert runner.passes == [["a", "b", "c"], ["d", "e", "f"]]
    found = vision.of([following[0], *following[:2]], following[4:])[1:]
    assert [chr(int(each[0])) for each in found] == ["e", "f"]
    assert len(runner.passes) == 2


def test_a_vision_pass_that_does_not_fit_makes_later_ones_smaller() -> None:
    """Memory runs out once; the size that fits is kept."""
    runner = Encoder(most=2)
    vision = VisionPasses(runner, ImageFeatureCache(0), max_pixels=800)
    found = vision.of([encoded([1], digest) for digest in "abcdefgh"])
    assert [chr(int(each[0])) for each in found] == list("abcdefgh")
    assert runner.failed == [8, 4]
    vision.of([encoded([1], digest) for digest in "ijkl"])
    assert runner.failed == [8, 4]
    with pytest.raises(torch.OutOfMemoryError):
        VisionPasses(Encoder(most=0), ImageFeatureCache(0), max_pixels=800).of([encoded([1], "a")])


def make_prompts(number: int, seed: int) -> list[Prompt]:
    """Prompts of many lengths and image shapes; some share an image, every fourth has none."""
    chance = random.Random(seed)
    pictures = []
    for _ in range(number // 2):
        size = chance.randint(20, 200), chance.randint(20, 200)
        pictures.append(Image.frombytes("RGB", size, chance.randbytes(3 * size[0] * size[1])))
    return [
        Prompt(
            text="Which of these is it? " * chance.randint(1, 9) + "Options: A: x, B: y",
            question="Which of these is it?",
            choices=("x", "y"),
            images=() if place % 4 == 3 else (chance.choice(pictures),),
        )
        for place in range(number)
    ]


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tiny: Callable[..., Path]) -> tuple[Any, Any]:
    """A checkpoint by generate, and by the engine."""
    checkpoint = find_checkpoint(str(tiny(request.param)))
    options = {"device": "cpu", "dtype": "float32"}
    theirs = load(checkpoint, LoadOptions(engine="transformers", **options))
    ours = load(checkpoint, LoadOptions(**options))
    assert type(theirs) is GenerativeModel
    assert type(ours) is StreamingModel
    return theirs, ours


def with_ends(models: Sequence[Any], ends: frozenset[int]) -> None:
    for model in models:
        model._end_tokens = ends
        model.network.generation_config.eos_token_id = sorted(ends)


def streamed(model: Any, prompts: Sequence[Prompt], slots: int, decoding: Decoding) -> list[Output]:
    prepared = ((n, model.prepare([prompt])) for n, prompt in enumerate(prompts))
    found = {one.number: one.output for one in model.stream(prepared, decoding, slots=slots)}
    return [found[number] for number in range(len(prompts))]


@pytest.mark.parametrize(
    ("number", "numbers_of_slots"),
    [(8, (3,)), pytest.param(24, (1, 3, 8), marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_token_for_token_as_generate(
    pair: tuple[Any, Any], number: int, numbers_of_slots: tuple[int, ...]
) -> None:
    """Random lengths in random order, finished requests replaced in every slot: with any number of
    slots the same texts and the same number of tokens."""
    theirs, ours = pair
    prompts = make_prompts(number, seed=1)
    chance = random.Random(2)
    usual = theirs._end_tokens
    decoding = Decoding(max_new_tokens=12)
    free = [w.tokens for w in ours._run(enumerate(ours.prepare(prompts)), decoding, slots=8)]
    try:
        # One request's third token, another one's fifth ... so that answers are of all lengths.
        with_ends(pair, usual | {tokens[-1 - n] for n, tokens in enumerate(free[:8])})
        expected = [theirs.generate(theirs.prepare([p]), decoding)[0] for p in prompts]
        assert len({output.tokens for output in expected}) >= 3
        for slots in numbers_of_slots:
            order = list(range(len(prompts)))
            chance.shuffle(order)
            found = streamed(ours, [prompts[i] for i in order], slots, decoding)
            assert found == [expected[i] for i in order], slots
        assert ours._features.hits > 0
    finally:
        with_ends(pair, usual)


def test_stop_texts_end_the_same_tokens(pair: tuple[Any, Any]) -> None:
    """Where generate is stopped by a text, the engine stops, and the end is the same token."""
    theirs, ours = pair
    prompts = make_prompts(5, seed=3)
    free = theirs.generate(theirs.prepare(prompts), Decoding(max_new_tokens=16))
    stop = next(c for c in free[0].raw[3:] if c.isalnum())
    decoding = Decoding(max_new_tokens=16, stop=stop)
    expected = theirs.generate(theirs.prepare(prompts), decoding)
    assert expected != free
    assert ours.generate(ours.prepare(prompts), decoding) == expected
    assert streamed(ours, prompts, 2, decoding) == expected


def test_scores_of_options_are_those_of_generate(pair: tuple[Any, Any]) -> None:
    """The options in one pass after a shared prompt: the same log-likelihoods."""
    theirs, ours = pair
    prompts = make_prompts(6, seed=4)
    options = [
        ("Alabama", "South Carolina", "the United States of America")[: 2 + n % 2] for n in range(6)
    ]
    expected = theirs.choose(theirs.prepare(prompts), options)
    for output, other in zip(ours.choose(ours.prepare(prompts), options), expected, strict=True):
        assert output.log_likelihoods == pytest.approx(other.log_likelihoods, abs=1e-4)
        assert (output.raw, output.prompt, output.tokens_in) == (
            other.raw, other.prompt, other.tokens_in,
        )  # fmt: skip


def test_sampling_is_left_to_generate(pair: tuple[Any, Any]) -> None:
    """Sampled answers are those of the reference, and cannot be streamed."""
    theirs, ours = pair
    prompts = make_prompts(3, seed=5)
    decoding = Decoding(max_new_tokens=8, temperature=1.2, seed=3)
    expected = theirs.generate(theirs.prepare(prompts), decoding)
    assert ours.generate(ours.prepare(prompts), decoding) == expected
    with pytest.raises(ValueError, match="greedy"):
        next(ours.stream(iter([]), decoding, slots=1))


def test_requests_that_pass_phis_rope_switch_are_prefilled_again(tiny: Callable[..., Path]) -> None:
    """After the switch all tokens have other rotary angles: as generate has it."""
    checkpoint = find_checkpoint(str(tiny("phi-3.5")))
    options = {"device": "cpu", "dtype": "float32"}
    theirs = load(checkpoint, LoadOptions(engine="transformers", **options))
    ours = load(checkpoint, LoadOptions(**options))
    prompts = make_prompts(6, seed=6)
    lengths = sorted(prompt.length for prompt in ours.prepare(prompts))
    limit = lengths[3] + 5
    plain = theirs.generate(theirs.prepare(prompts), Decoding(max_new_tokens=16))
    for model in (theirs, ours):
        model.network.config.original_max_position_embeddings = limit
        model._rope_switch_length = limit
    ours._runner.rope_switch_length = limit
    decoding = Decoding(max_new_tokens=16)
    expected = [theirs.generate(theirs.prepare([p]), decoding)[0] for p in prompts]
    assert expected != plain
    assert streamed(ours, prompts, 3, decoding) == expected
    scores = [theirs.choose(theirs.prepare([p]), [("South Carolina", "x")])[0] for p in prompts]
    found = ours.choose(ours.prepare(prompts), [("South Carolina", "x")] * 6)
    for output, other in zip(found, scores, strict=True):
        assert output.log_likelihoods == pytest.approx(other.log_likelihoods, abs=1e-4)


def test_an_unknown_kernel_is_left_to_generate(tiny: Callable[..., Path]) -> None:
    """Kernels that cannot mask prompts of unequal length are run by transformers; eager is not."""
    checkpoint = find_checkpoint(str(tiny("llava")))
    flex = load(checkpoint, LoadOptions(device="cpu", dtype="float32", attention="flex_attention"))
    eager = load(checkpoint, LoadOptions(device="cpu", dtype="float32", attention="eager"))
    assert flex.description["engine"] == "transformers"
    assert eager.description["engine"] == "harness"
    prompts = make_prompts(5, seed=7)
    ours = load(checkpoint, LoadOptions(device="cpu", dtype="float32"))
    decoding = Decoding(max_new_tokens=8)
    assert streamed(eager, prompts, 3, decoding) == streamed(ours, prompts, 3, decoding)
