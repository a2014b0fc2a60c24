"""What the trackers of an evaluation are given: its configuration, its progress, its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from harness.core.errors import SampleError
from harness.core.types import Prediction, Sample
from harness.run.folder import RunFolder
from harness.run.records import RunRecord
from harness.run.scoring import Run
from harness.run.status import scores_so_far
from harness.tracking.tracker import Picture, Table
from harness.tracking.trackers import Trackers

if TYPE_CHECKING:
    from PIL.Image import Image

AXIS = "progress/samples"
"""What a step of an evaluation counts."""
POINTS = 200
"""About how many points a curve of the progress has."""
HEIGHT = 256
"""Pixels that a logged picture is high at most, and half of those that it is wide."""
MAX_TEXT = 2000
"""Characters of a logged text."""


def begin(trackers: Trackers, record: RunRecord, *, step: int, fresh: bool = False) -> None:
    """Start the trackers with what is known of the run.

    Args:
        step: samples that are answered.
        fresh: see `Trackers.begin`.
    """
    trackers.begin(configuration_of(record), step=step, fresh=fresh)


def configuration_of(record: RunRecord) -> dict[str, Any]:
    """The options and settings of a run, without the folders of absolute paths: a tracker may show
    them to others."""
    model = asdict(record.model)
    del model["weights"]  # in words, which can hold a path
    parts = {
        "task": asdict(record.task),
        "model": model,
        "settings": record.settings,
        "configuration": record.configuration,
        "environment": record.environment,
    }
    return {name: without_folders(part) for name, part in parts.items()}


def without_folders(value: Any) -> Any:
    """The value with each absolute path, also in NAME=PATH, as its last part."""
    if isinstance(value, Mapping):
        return {str(key): without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    if not isinstance(value, str):
        return value
    name, equals, path = text(value).rpartition("=")
    if path.startswith("~") or PurePath(path).is_absolute():
        path = f"…/{PurePath(path).name}"
    return f"{name}{equals}{path}"


def log_progress(
    trackers: Trackers, predictions: Sequence[Prediction], *, before: int, done: int, total: int
) -> None:
    """Log how far the run is and how well it goes, at some `POINTS` of it.

    Args:
        predictions: of this process, and of those before it.
        before: samples that were answered when this was last called.
        done: samples that are answered now, by all processes.
    """
    every = max(1, total // POINTS)
    if not trackers.are_wanted or (done // every == before // every and done < total):
        return
    answered = [p for p in predictions if p.error is None]
    timed = [p for p in answered if p.seconds and p.tokens]
    seconds = sum(p.seconds or 0.0 for p in timed)
    speed = sum(p.tokens or 0 for p in timed) / seconds if seconds else None
    values = {
        AXIS: done,
        "progress/failed": len(predictions) - len(answered),
        "progress/unparsed": sum(p.answer is None for p in answered),
        "progress/tokens_per_second": speed,
        **{f"progress/{name}": mean.value for name, mean in scores_so_far(answered).items()},
    }
    trackers.log_metrics(values, step=done)


def log_results(trackers: Trackers, run: Run, samples: Sequence[Sample]) -> None:
    """Log the metrics with their intervals, and a table of some samples.

    Args:
        samples: the data, for their pictures.
    """
    if not trackers.are_wanted:
        return
    predictions = RunFolder(run.folder).read_predictions()
    step = len(predictions)
    begin(trackers, run.record, step=step)
    values: dict[str, float | None] = {}
    for name, value in run.record.metrics.items():
        parts = {"": value.value, "/low": value.low, "/high": value.high, "/n": value.n}
        values |= {f"metrics/{text(name)}{end}": part for end, part in parts.items()}
    trackers.log_metrics(values, step=step)
    shown = spread(predictions, trackers.samples)
    if shown:
        pictures = {sample.id: sample for sample in samples}
        trackers.log_table("samples", _table(shown, pictures), step=step)


def spread(predictions: Sequence[Prediction], number: int) -> list[Prediction]:
    """That many of the predictions, at equal distances."""
    number = min(number, len(predictions))
    return [predictions[place * len(predictions) // number] for place in range(number)]


def _table(predictions: Sequence[Prediction], samples: Mapping[str, Sample]) -> Table:
    names = list(dict.fromkeys(name for p in predictions for name in p.scores))
    columns = ["id", "picture", "question", "options", "answer", "target", *names]
    rows = [
        [
            text(p.sample_id),
            picture_of(samples[p.sample_id]) if p.sample_id in samples else None,
            text(p.question),
            text("\n".join(p.choices)),
            text(p.text),
            text("\n".join(p.references)),
            *(p.scores.get(name) for name in names),
            text(p.error or p.raw),
        ]
        for p in predictions
    ]
    return Table(columns=[*columns, "output"], rows=rows)


def text(value: str) -> str:
    """A text as trackers take it: valid UTF-8, of bounded length."""
    valid = value.encode("utf-8", "replace").decode("utf-8")
    return valid if len(valid) <= MAX_TEXT else f"{valid[: MAX_TEXT - 1]}…"


def picture_of(sample: Sample, caption: str = "") -> Picture | None:
    """The pictures of a sample as one, small; None where there is none that can be shown."""
    images: list[Image] = []
    for reference in sample.images:
        try:
            image = reference.decode()
        except SampleError:
            continue
        image.thumbnail((2 * HEIGHT, HEIGHT))
        images.append(image)
    return Picture(_side_by_side(images), caption) if images else None


def _side_by_side(images: Sequence[Image]) -> Image:
    if len(images) == 1:
        return images[0]
    from PIL.Image import new

    width, height = sum(image.width for image in images), max(image.height for image in images)
    whole = new("RGB", (width, height))
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole
