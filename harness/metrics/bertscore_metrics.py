"""BERTScore's precision, recall and F1 as metrics of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import HarnessError
from harness.core.types import Contributions, Metric, Prediction
from harness.metrics.bertscore import BertScores, bertscore
from harness.metrics.text_overlap import best_of_references, pairs

log = logging.getLogger(__name__)

TITLES = {
    "bertscore_precision": "BERTScore precision",
    "bertscore_recall": "BERTScore recall",
    "bertscore_f1": "BERTScore F1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """How texts are embedded: the arguments of `harness.metrics.bertscore.bertscore`."""

    encoder: str | Path | None = None
    layer: int | None = None
    batch_size: int = 64
    device: str | None = None
    progress: Callable[[int, int], None] | None = None


def bertscore_metrics(encoder: str | Path | None = None) -> tuple[Metric, Metric, Metric]:
    """bertscore_precision, bertscore_recall and bertscore_f1 with that encoder.

    Where they cannot be computed (the encoder is missing or broken, memory runs out) they have no
    value, and a note with the reason and, where there is one, the command that helps.
    """
    return metrics_with(Encoder(encoder=encoder))


def metrics_with(encoder: Encoder) -> tuple[Metric, Metric, Metric]:
    """The same, with every argument of the encoder."""
    batch = partial(_contributions, encoder=encoder)
    precision, recall, f1 = (
        Metric(
            name,
            title,
            batch=batch,
            unit="",
            bounds=(-1.0, 1.0),
            meaning=f"{title}, mean",
            by_topic=False,
            needs_model=True,
        )
        for name, title in TITLES.items()
    )
    return precision, recall, f1


def _contributions(predictions: Sequence[Prediction], *, encoder: Encoder) -> Contributions:
    try:
        return _computed(predictions, encoder)
    except HarnessError as error:
        why = f"{error.what}; {error.remedy}" if error.remedy else error.what
    except Exception as error:  # noqa: BLE001  # the other scores must not be lost with this one
        why = f"{type(error).__name__}: {error}"
    log.warning("BERTScore is not computed: %s", why)
    note = f"not computed: {' '.join(why.split())[:600]}"
    return Contributions({}, dict.fromkeys(TITLES, note))


def _computed(predictions: Sequence[Prediction], encoder: Encoder) -> Contributions:
    found: list[BertScores] = []

    def score(texts: Sequence[str], references: Sequence[str]) -> list[NDArray[np.float64]]:
        made = bertscore(
            texts,
            references,
            encoder=encoder.encoder,
            layer=encoder.layer,
            batch_size=encoder.batch_size,
            device=encoder.device,
            progress=encoder.progress,
        )
        found.append(made)
        return [made.precision, made.recall, made.f1]

    texts, references = pairs(predictions)
    columns = best_of_references(score, texts, references)
    about = found[0]
    n = sum(map(len, references))
    notes = [
        about.signature,
        "" if about.comparable else "not comparable with roberta-large",
        "best of several references" if n > len(texts) else "",
        f"{about.empty} pairs with an empty text score 0" if about.empty else "",
        f"{about.cut:,} of {n:,} pairs cut at {about.limit} tokens" if about.cut else "",
    ]
    note = "; ".join(each for each in notes if each)
    return Contributions(dict(zip(TITLES, columns, strict=True)), dict.fromkeys(TITLES, note))


PRECISION, RECALL, F1 = bertscore_metrics()
