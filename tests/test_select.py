"""Which samples are asked under a limit, and the hash of the data that they come from."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from hashlib import sha256

import pytest

from harness.core.errors import HarnessError, SampleError
from harness.core.images import ImageRef
from harness.core.types import Sample
from harness.data.fingerprint import fingerprint, image_digests
from harness.data.selection import select


def picture(data: bytes | None) -> ImageRef:
    def read() -> bytes:
        if data is None:
            raise SampleError("missing")
        return data

    return ImageRef("x.png", read)


def sample(
    at: int, topic: str = "", *, image: bytes | None = b"png", with_image: bool = True
) -> Sample:
    images = (picture(image),) if with_image else ()
    return Sample(
        id=str(at), question=f"{at}?", target=0, choices=("a", "b"), images=images, topic=topic
    )


def mixed() -> list[Sample]:
    """Topics of 60, 25 and 5 samples; every third one is without an image."""
    topics = ["physics"] * 60 + ["biology"] * 25 + ["chemistry"] * 5
    return [sample(at, topic, with_image=at % 3 > 0) for at, topic in enumerate(topics)]


@pytest.mark.parametrize("how", ["first", "stratified"])
def test_a_smaller_limit_selects_a_part_of_a_larger_one(how: str) -> None:
    """A run with a limit can be extended, in the data's own order."""
    samples = mixed()
    places = {s.id: at for at, s in enumerate(samples)}
    before: set[str] = set()
    for limit in range(1, 100):
        chosen = [s.id for s in select(samples, limit=limit, how=how, seed=3)]  # type: ignore[arg-type]
        assert len(chosen) == min(limit, 90)
        assert [places[i] for i in chosen] == sorted(places[i] for i in chosen)
        assert before <= set(chosen)
        before = set(chosen)


def test_the_first_are_the_first_and_no_limit_is_all() -> None:
    """`first` takes the data as it comes."""
    samples = mixed()
    assert select(samples, limit=7) == samples[:7]
    assert select(samples, limit=None, how="stratified") == samples
    assert select(samples, limit=1000, how="stratified") == samples


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (3, {"physics": 1, "biology": 1, "chemistry": 1}),
        (12, {"physics": 4, "biology": 4, "chemistry": 4}),
        (15, {"physics": 5, "biology": 5, "chemistry": 5}),
        (35, {"physics": 15, "biology": 15, "chemistry": 5}),
        (70, {"physics": 40, "biology": 25, "chemistry": 5}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_topics_are_balanced_until_they_are_used_up(
    limit: int, expected: dict[str, int], seed: int
) -> None:
    """Equal numbers; what a small topic lacks goes to the others in equal parts."""
    chosen = select(mixed(), limit=limit, how="stratified", seed=seed)
    assert Counter(s.topic for s in chosen) == expected


@pytest.mark.parametrize("limit", range(2, 40))
def test_with_and_without_image_are_balanced_within_topics_and_overall(limit: int) -> None:
    """They differ by one at most, while both are there."""
    topics = [f"topic {at % 4}" for at in range(160)]
    samples = [sample(at, topic, with_image=at % 16 > 7) for at, topic in enumerate(topics)]
    chosen = select(samples, limit=limit, how="stratified", seed=limit)
    for group in [chosen, *([s for s in chosen if s.topic == t] for t in set(topics))]:
        with_image = sum(bool(s.images) for s in group)
        assert abs(2 * with_image - len(group)) <= 1


def test_the_seed_and_nothing_else_decides() -> None:
    """Same seed, same samples; another seed, others."""
    by_seed = [
        tuple(s.id for s in select(mixed(), limit=20, how="stratified", seed=seed))
        for seed in (0, 0, 1)
    ]
    assert by_seed[0] == by_seed[1] != by_seed[2]


@pytest.mark.process
def test_the_interpreters_hash_seed_does_not_matter() -> None:
    """Selection and fingerprint are the same in processes that hash strings differently."""
    code = (
        "from harness.core.types import Sample\n"
        "from harness.data.fingerprint import fingerprint\n"
        "from harness.data.selection import select\n"
        "samples = [Sample(id=str(at), question='q', target=0, topic='abcde'[at % 5])"
        " for at in range(60)]\n"
        "print([s.id for s in select(samples, limit=17, how='stratified')], fingerprint(samples))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    """Nothing to do is a slip of the user."""
    with pytest.raises(HarnessError, match="at least 1"):
        select(mixed(), limit=limit)


SAMPLE = Sample(
    id="1",
    question="q",
    target=0,
    choices=("a", "b"),
    images=(picture(b"one"),),
    topic="t",
    context="c",
    lecture="l",
    solution="s",
)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "2"},
        {"question": "Q"},
        {"target": 1},
        {"target": "0"},
        {"choices": ("b", "a")},
        {"choices": ('a", "b',)},
        {"topic": "T"},
        {"context": "", "lecture": "cl"},
        {"lecture": "L"},
        {"solution": ""},
        {"images": ()},
        {"images": (picture(b"two"),)},
        {"images": (picture(b"one"), picture(b"one"))},
        {"images": (picture(None),)},
    ],
    ids=" ".join,
)
def test_the_fingerprint_sees_every_change(change: dict[str, object]) -> None:
    """Text, choices, gold, topic and each byte of each picture."""
    other = sample(9)
    assert fingerprint([SAMPLE, other]) != fingerprint([replace(SAMPLE, **change), other])  # type: ignore[arg-type]


def test_the_fingerprint_does_not_see_the_order_or_the_files_name() -> None:
    """Neither changes an answer."""
    renamed = replace(SAMPLE, images=(ImageRef("other.png", lambda: b"one"),))
    assert fingerprint([SAMPLE, sample(9)]) == fingerprint([sample(9), renamed])


def test_digests_are_computed_once_and_serve_the_fingerprint() -> None:
    """Each picture is read once; one that cannot be read has an empty digest."""
    reads = []

    def read() -> bytes:
        reads.append(1)
        return b"one"

    samples = [replace(SAMPLE, images=(ImageRef("x.png", read), picture(None)))]
    digests = image_digests(samples)
    assert digests == {"1": (sha256(b"one").hexdigest(), "")}
    assert fingerprint(samples, digests) == fingerprint(samples)
    assert len(reads) == 2
