"""The decoding engine: whoever sits where, the tokens are those of generate."""

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
from harness.engine.batching import AHEAD, Waiting
from harness.engine.decoding import Engine, Rules, Written
from harness.engine.rows import Row, stack
from harness.engine.sizing import Seen
from harness.models.generative import GenerativeModel
from harness.models.loading import LoadOptions, load
from harness.models.streaming import StreamingModel

WORDS = 31
END = 7
FAMILIES = ("llava", "llava-next", "llava-cot", "idefics3", "moondream", "phi-3.5", "kosmos-2")


def row(tokens: Sequence[int], pictures: str = "") -> Row:
    ids = torch.tensor([list(tokens)])
    return Row("", {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, pictures)


class Counts:
    """The next word is told by all words before it, each weighed by its place, read from the cache:
    a key that is at a wrong place, or from somebody else, gives another word."""

    device = torch.device("cpu")
    fixed = ()

    def __init__(
        self,
        *,
        room: int = 10**6,
        border: int | None = None,
        broken: int = -1,
        stuck: int = -1,
        poison: int = -1,
    ) -> None:
        self.room = room
        self.border = border
        self.broken = broken
        self.stuck = stuck
        self.poison = poison
        self.now = 0.0
        self.sizes: list[int] = []
        self.taken: list[tuple[int, ...]] = []

    def clock(self) -> float:
        return self.now

    def lane(self, row: Row) -> str:
        return row.pictures[:1]

    def look(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        return [torch.zeros(1) for _ in rows]

    def read(self, rows: Sequence[Row], seen: Sequence[Any]) -> tuple[Any, Any, Any]:
        self.now += 1.0
        batch = stack(rows, 0)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if ids.numel() > self.room:
            raise torch.OutOfMemoryError("out of memory")
        if (ids == self.broken).any():
            raise ValueError("this one breaks")
        if (ids[:, -1] == self.stuck).any():
            raise ValueError("this one is stuck")
        self.taken.append(tuple(row.length for row in rows))
        cache = DynamicCache()
        keys = self.keys(ids[:, None, :, None])
        cache.update(keys, -keys, 0)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        return self.logits(keys[:, 0, :, 0], mask.bool(), places), cache, {}

    def write(self, tokens: Any, positions: Any, valid: Any, cache: Any) -> torch.Tensor:
        self.now += 2.0
        self.sizes.append(len(tokens))
        if valid.numel() > self.room:
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


def counted(prompt: Sequence[int], most: int) -> tuple[int, ...]:
    """What Counts writes, in plain Python."""
    words = list(prompt)
    while len(words) < len(prompt) + most:
        words.append(sum(word * (place + 1) for place, word in enumerate(words)) % WORDS)
        if words[-1] == END:
            break
    return tuple(words[len(prompt) :])


def run(reader: Counts, rows: Sequence[Row], *, seats: int, most: int = 12) -> list[Written]:
    rules = Rules(most, frozenset({END}))
    engine = Engine(reader, seats=seats, rules=rules, seen=Seen(1 << 20), clock=reader.clock)
    return list(engine.run(iter(enumerate(rows))))


prompts = st.lists(st.lists(st.integers(1, WORDS - 1), min_size=2, max_size=90), max_size=24)


@given(prompts, st.integers(1, 9), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_every_row_is_what_it_is_alone(asked: list[list[int]], seats: int, most: int) -> None:
    """Any lengths in any order at any number of seats: each row's own tokens, once."""
    found = run(Counts(), [row(tokens) for tokens in asked], seats=seats, most=most)
    assert {w.number: w.tokens for w in found} == {
        number: counted(tokens, most) for number, tokens in enumerate(asked)
    }
    assert len(found) == len(asked)


@given(prompts, st.integers(1, 5), st.integers(6, 40))
@settings(deadline=None, max_examples=40)
def test_rows_that_outgrow_the_border_are_read_anew(
    asked: list[list[int]], seats: int, border: int
) -> None:
    """What was cached before a row passes its border is not used behind it; nothing else changes."""
    reader = Counts(border=border)
    found = run(reader, [row(tokens) for tokens in asked], seats=seats)
    for number, tokens in enumerate(asked):
        assert {w.number: w.tokens for w in found}[number] == counted(tokens, 12)
    passing = sum(len(t) <= border < len(t) + len(counted(t, 12)) - 1 for t in asked)
    read = [length for taken in reader.taken for length in taken]
    assert len(read) == len(asked) + passing
    assert read.count(border + 1) == passing + sum(len(t) == border + 1 for t in asked)


@given(prompts, st.integers(1, 6), st.integers(1, 20))
@settings(deadline=None, max_examples=60)
def test_a_row_that_is_no_number_takes_no_other_with_it(
    asked: list[list[int]], seats: int, most: int
) -> None:
    """NaN, in a prompt or behind it, is that row's error. Whoever has its seat next is not told
    of it, by what it left in the cache: what is masked is multiplied by 0, and stays NaN."""
    poison = 13
    found = run(Counts(poison=poison), [row(tokens) for tokens in asked], seats=seats, most=most)
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
def test_a_row_that_makes_steps_fail_fails_alone(asked: list[list[int]], seats: int) -> None:
    """The others of its batch are answered as if it had not been there."""
    stuck = 17
    found = run(Counts(stuck=stuck), [row(tokens) for tokens in asked], seats=seats, most=8)
    for written in found:
        expected = counted(asked[written.number], 8)
        if stuck in (asked[written.number][-1], *expected[:-1]):
            assert str(written.error) == "this one is stuck"
        else:
            assert (written.error, written.tokens) == (None, expected)
    assert len(found) == len(asked)


def test_a_finished_row_is_out_of_the_next_step() -> None:
    """The batch has as many rows as are unfinished, and free seats are filled before each step."""
    chance = random.Random(0)
    asked = [[chance.randint(1, WORDS - 1) for _ in range(5)] for _ in range(60)]
    written = [len(counted(tokens, 50)) for tokens in asked]
    assert len(set(written)) > 8
    reader = Counts()
    run(reader, [row(tokens) for tokens in asked], seats=6, most=50)
    assert sum(reader.sizes) == sum(written) - len(asked)  # the first token comes with the prompt
    assert set(reader.sizes[: -max(written)]) == {6}


def test_each_seat_is_filled_again() -> None:
    """Whichever seat becomes free, the row that gets it is not disturbed by the one before."""
    tails = [[1, 2, 3 + place] for place in range(9)]
    for short in range(4):
        first = [[5, 1 + place, 9] for place in range(4)]
        lengths = [len(counted(tokens, 30)) for tokens in first]
        asked = [*first, *tails]
        found = run(Counts(), [row(t) for t in asked], seats=4, most=min(lengths) + short)
        assert {w.number: w.tokens for w in found} == {
            n: counted(t, min(lengths) + short) for n, t in enumerate(asked)
        }


def test_shares_add_up_to_the_time_at_work() -> None:
    """Each pass is shared equally by the rows in it: nothing is lost, nothing counted twice."""
    reader = Counts()
    found = run(reader, [row([n + 1, 2, 3]) for n in range(20)], seats=4)
    assert sum(w.seconds for w in found) == pytest.approx(reader.now)
    assert all(w.seconds > 0 for w in found)


def test_out_of_memory_loses_nothing() -> None:
    """Half the seats, until it fits; rows that lost theirs go on where they were."""
    asked = [[n + 1, 2, 3, 4] for n in range(20)]
    reader = Counts(room=40)
    rules = Rules(30, frozenset({END}))
    engine = Engine(reader, seats=16, rules=rules, seen=Seen(1 << 20), clock=reader.clock)
    found = list(engine.run(iter([(n, row(t)) for n, t in enumerate(asked)])))
    assert {w.number: w.tokens for w in found} == {n: counted(t, 30) for n, t in enumerate(asked)}
    assert engine.seats < 16


def test_one_prompt_that_never_fits_costs_its_own_answer_only() -> None:
    """The others are answered, and with all the seats that were asked for."""
    asked = [[n + 1, 2, 3] for n in range(8)] + [[1] * 200] + [[n + 1, 5, 3] for n in range(8)]
    reader = Counts(room=150)
    rules = Rules(8, frozenset({END}))
    engine = Engine(reader, seats=4, rules=rules, seen=Seen(1 << 20), clock=reader.clock)
    found = {w.number: w for w in engine.run(iter([(n, row(t)) for n, t in enumerate(asked)]))}
    assert isinstance(found[8].error, torch.OutOfMemoryError)
    assert [n for n, w in found.items() if w.error] == [8]
    assert all(found[n].tokens == counted(t, 8) for n, t in enumerate(asked) if n != 8)
    assert engine.seats == 4


def test_a_prompt_that_breaks_the_model_is_found() -> None:
    """Those that were read with it are answered."""
    asked = [[n + 1, 2, 3] for n in range(9)]
    asked[4] = [1, 30, 3]
    found = {w.number: w for w in run(Counts(broken=30), [row(t) for t in asked], seats=9)}
    assert isinstance(found[4].error, ValueError)
    for number, tokens in enumerate(asked):
        if number != 4:
            assert (found[number].tokens, found[number].error) == (counted(tokens, 12), None)


def test_lanes_are_never_mixed() -> None:
    """Prompts that cannot be in one batch wait for each other, and all are answered."""
    rows = [row([n + 1, 2], pictures="ab"[n % 3 == 0] + str(n)) for n in range(20)]
    reader = Counts()
    seen_together: list[set[str]] = []
    read = reader.read

    def watched(rows: Sequence[Row], seen: Any) -> Any:
        seen_together.append({row.pictures[:1] for row in rows})
        return read(rows, seen)

    reader.read = watched  # type: ignore[method-assign]
    found = run(reader, rows, seats=4)
    assert {w.number: w.tokens for w in found} == {n: counted([n + 1, 2], 12) for n in range(20)}
    assert all(len(lanes) == 1 for lanes in seen_together)


def test_only_so_many_prompts_are_taken_ahead() -> None:
    """However long the line is, memory for what waits is bounded."""
    taken = []

    def endless() -> Iterator[tuple[int, Row]]:
        while True:
            taken.append(len(taken))
            yield taken[-1], row([1, 2])

    waiting = Waiting(endless(), lambda _: None)
    waiting.pull(4)
    assert len(taken) == 4 + AHEAD
    waiting.next(4, alone=True, budget=100)
    waiting.pull(1)
    assert len(taken) == 4 + AHEAD + 1


def test_prompts_of_like_length_are_read_together() -> None:
    """The one that waited longest first, then those that are closest to its length."""
    lengths = [10, 90, 11, 50, 12, 95]
    waiting = Waiting(iter([(n, row([1] * k)) for n, k in enumerate(lengths)]), lambda _: None)
    waiting.pull(6)
    assert [live.number for live in waiting.next(3, alone=True, budget=1000)] == [0, 2, 4]
    assert [live.number for live in waiting.next(2, alone=False, budget=1000)] == [1, 5]
    assert [live.number for live in waiting.next(2, alone=False, budget=10)] == [3]


def test_what_was_seen_is_kept_within_its_bytes() -> None:
    """The pictures asked about last are kept; one that is asked about twice is looked at once."""
    seen = Seen(3 * 400)
    looked: list[str] = []

    def look(rows: Sequence[Row]) -> list[torch.Tensor]:
        looked.extend(row.pictures for row in rows)
        return [torch.zeros(100) for _ in rows]

    for digests in ("ab", "ac", "d", "a", "b"):
        seen.of([row([1], pictures=digest) for digest in digests], look)
    assert looked == ["a", "b", "c", "d", "b"]
    assert seen.of([row([1]), row([1], "b"), row([1], "b")], look)[0] is None
    assert looked == ["a", "b", "c", "d", "b"]


def make_prompts(number: int, seed: int) -> list[Prompt]:
    """Prompts of many lengths and picture shapes; some share a picture, every fourth has none."""
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
        model._ends = ends
        model.network.generation_config.eos_token_id = sorted(ends)


def streamed(model: Any, prompts: Sequence[Prompt], rows: int, decoding: Decoding) -> list[Output]:
    prepared = ((n, model.prepare([prompt])) for n, prompt in enumerate(prompts))
    found = {one.number: one.output for one in model.stream(prepared, decoding, rows=rows)}
    return [found[number] for number in range(len(prompts))]


def test_token_for_token_as_generate(pair: tuple[Any, Any]) -> None:
    """Random lengths in random order, finished rows replaced at every place: at any number of
    rows the same texts and the same number of tokens."""
    theirs, ours = pair
    prompts = make_prompts(24, seed=1)
    chance = random.Random(2)
    usual = theirs._ends
    free = [
        w.tokens
        for w in ours._run(enumerate(ours.prepare(prompts)), Decoding(max_new_tokens=20), rows=8)
    ]
    try:
        # Some row's third token, another one's fifth ... so that answers are of all lengths.
        with_ends(pair, usual | {tokens[-1 - n] for n, tokens in enumerate(free[:8])})
        decoding = Decoding(max_new_tokens=20)
        expected = [theirs.generate(theirs.prepare([p]), decoding)[0] for p in prompts]
        assert len({output.tokens for output in expected}) >= 4
        for rows in (1, 3, 8):
            order = list(range(len(prompts)))
            chance.shuffle(order)
            found = streamed(ours, [prompts[i] for i in order], rows, decoding)
            assert found == [expected[i] for i in order], rows
        assert ours._seen.hits > 0
    finally:
        with_ends(pair, usual)


def test_stop_texts_end_the_same_tokens(pair: tuple[Any, Any]) -> None:
    """Where generate is stopped by a text, the engine stops, and the end is the same token."""
    theirs, ours = pair
    prompts = make_prompts(8, seed=3)
    free = theirs.generate(theirs.prepare(prompts), Decoding(max_new_tokens=16))
    stop = next(c for c in free[0].raw[3:] if c.isalnum())
    decoding = Decoding(max_new_tokens=16, stop=stop)
    expected = theirs.generate(theirs.prepare(prompts), decoding)
    assert expected != free
    assert ours.generate(ours.prepare(prompts), decoding) == expected
    for rows in (1, 3):
        assert streamed(ours, prompts, rows, decoding) == expected


def test_scores_of_options_are_those_of_generate(pair: tuple[Any, Any]) -> None:
    """The options in one pass behind a shared prompt: the same log-likelihoods."""
    theirs, ours = pair
    prompts = make_prompts(6, seed=4)
    options = [
        ("Alabama", "South Carolina", "the United States of America")[: 2 + n % 2] for n in range(6)
    ]
    expected = theirs.choose(theirs.prepare(prompts), options)
    for output, other in zip(ours.choose(ours.prepare(prompts), options), expected, strict=True):
        assert output.scores == pytest.approx(other.scores, abs=1e-4)
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
        next(ours.stream(iter([]), decoding, rows=1))


def test_rows_that_pass_phis_rope_switch_are_read_anew(tiny: Callable[..., Path]) -> None:
    """Beyond the border all of a row is turned by other angles: as generate has it."""
    checkpoint = find_checkpoint(str(tiny("phi-3.5")))
    options = {"device": "cpu", "dtype": "float32"}
    theirs = load(checkpoint, LoadOptions(engine="transformers", **options))
    ours = load(checkpoint, LoadOptions(**options))
    prompts = make_prompts(12, seed=6)
    lengths = sorted(row.length for row in ours.prepare(prompts))
    border = lengths[6] + 5
    plain = theirs.generate(theirs.prepare(prompts), Decoding(max_new_tokens=16))
    for model in (theirs, ours):
        model.network.config.original_max_position_embeddings = border
        model._border = border
    ours._reader.border = border
    decoding = Decoding(max_new_tokens=16)
    expected = [theirs.generate(theirs.prepare([p]), decoding)[0] for p in prompts]
    assert expected != plain
    for rows in (1, 3, 8):
        assert streamed(ours, prompts, rows, decoding) == expected
    scores = [theirs.choose(theirs.prepare([p]), [("South Carolina", "x")])[0] for p in prompts]
    found = ours.choose(ours.prepare(prompts), [("South Carolina", "x")] * 12)
    for output, other in zip(found, scores, strict=True):
        assert output.scores == pytest.approx(other.scores, abs=1e-4)


def test_an_unknown_kernel_is_left_to_generate(tiny: Callable[..., Path]) -> None:
    """Kernels that cannot mask rows of unequal length are run by transformers; eager is not."""
    checkpoint = find_checkpoint(str(tiny("llava")))
    flex = load(checkpoint, LoadOptions(device="cpu", dtype="float32", attention="flex_attention"))
    eager = load(checkpoint, LoadOptions(device="cpu", dtype="float32", attention="eager"))
    assert flex.description["engine"] == "transformers"
    assert eager.description["engine"] == "harness"
    prompts = make_prompts(5, seed=7)
    ours = load(checkpoint, LoadOptions(device="cpu", dtype="float32"))
    decoding = Decoding(max_new_tokens=8)
    assert streamed(eager, prompts, 3, decoding) == streamed(ours, prompts, 3, decoding)
