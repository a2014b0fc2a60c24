"""The samples of a split that a limit selects."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from random import Random

from harness.core.errors import HarnessError
from harness.core.options import Selection
from harness.core.types import Sample


def select(
    samples: Sequence[Sample], *, limit: int | None, how: Selection = "first", seed: int = 0
) -> list[Sample]:
    """At most `limit` samples, in the data's order; None keeps all.

    A smaller limit selects a part of what a larger one does, so that a run can be extended.
    `stratified` takes topics in turn, one sample each until a topic is used up, and within each as
    many with an image as without (the paper, 4.1, step 4). Chance decides by `seed` alone.
    """
    if limit is None:
        return list(samples)
    if limit < 1:
        raise HarnessError(f"The limit must be at least 1, not {limit}.", remedy="See --limit.")
    if how == "first":
        return list(samples[:limit])
    order = _in_turn(samples, Random(seed))  # noqa: S311  # a draw to be repeated, not a secret
    chosen = {at for at, _ in zip(order, range(limit), strict=False)}
    return [sample for at, sample in enumerate(samples) if at in chosen]


def _in_turn(samples: Sequence[Sample], random: Random) -> Iterator[int]:
    """The places of all samples, so that every beginning of the sequence is balanced."""
    groups: dict[str, dict[bool, list[int]]] = defaultdict(lambda: {True: [], False: []})
    for at, sample in enumerate(samples):
        groups[sample.topic][bool(sample.images)].append(at)
    topics = sorted(groups)
    random.shuffle(topics)
    for topic in topics:
        for places in groups[topic].values():
            random.shuffle(places)
    in_topic: Counter[tuple[str, bool]] = Counter()
    in_all: Counter[bool] = Counter()
    while topics:
        for topic in topics:
            kinds = [kind for kind, places in groups[topic].items() if places]
            # Where the counts are equal, with an image first: True is first in each group.
            kind = min(kinds, key=lambda kind: (in_topic[topic, kind], in_all[kind]))
            in_topic[topic, kind] += 1
            in_all[kind] += 1
            yield groups[topic][kind].pop()
        topics = [topic for topic in topics if any(groups[topic].values())]
