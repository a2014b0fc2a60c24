"""Answers extracted from raw texts by as many processes as there are cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from harness.core.errors import HarnessError
from harness.core.progress import Make, Progress, Silent
from harness.core.types import Prediction
from harness.core.worker_pool import available_cores, worker_pool
from harness.engine.prefetch import can_fork

Extract = Callable[[Prediction], Prediction]
"""Extracts the answer of one prediction."""
_CHUNK = 128
"""Answers that a worker takes at a time: some tenths of a second."""
_WORTH_WORKERS = 1000
"""Answers with options; fewer are extracted before a pool has started, as are written answers."""


def extract_all(
    predictions: Sequence[Prediction],
    extract: Extract,
    *,
    progress: Make = Silent,
    workers: int | None = None,
) -> list[Prediction]:
    """What `extract` makes of each of the predictions, in their order.

    Args:
        predictions: with their raw texts.
        extract: need not be importable, because workers are forked.
        progress: shows how many are done.
        workers: processes; None: as many as there are cores, where that is worth it.

    Raises:
        HarnessError: a worker died.
    """
    if workers is None:
        is_worth_it = sum(bool(p.choices) for p in predictions) >= _WORTH_WORKERS and can_fork()
        workers = available_cores() if is_worth_it else 1
    chunks = [predictions[start : start + _CHUNK] for start in range(0, len(predictions), _CHUNK)]
    total = len(predictions)
    progress = progress if total >= _WORTH_WORKERS else Silent  # the others take a second
    with progress("Extracting answers", total=total, done=0, unit="answers") as shown:
        if workers > 1:
            return _by_workers(chunks, extract, workers=workers, shown=shown)
        found: list[Prediction] = []
        for chunk in chunks:
            found += map(extract, chunk)
            shown.advance(len(chunk))
        return found


def _by_workers(
    chunks: Sequence[Sequence[Prediction]], extract: Extract, *, workers: int, shown: Progress
) -> list[Prediction]:
    found: list[Prediction] = []
    try:
        with worker_pool(min(workers, len(chunks)), partial(_EXTRACT.append, extract)) as pool:
            for chunk in pool.map(_extract, chunks):
                found += chunk
                shown.advance(len(chunk))
    except BrokenProcessPool as error:
        raise HarnessError(
            "A process that extracts answers has died.",
            known="Memory may have run out.",
            remedy="Run the command again with less running beside it.",
        ) from error
    return found


_EXTRACT: list[Extract] = []
"""The extractor of a worker, and nothing in the process that starts it."""


def _extract(predictions: Sequence[Prediction]) -> list[Prediction]:
    return list(map(_EXTRACT[0], predictions))
