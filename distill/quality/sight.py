"""Whether a student that was trained on answers looks at its pictures: the same model on the same
questions with a grey picture in the place of each.

A question counts as answered where the gold answer, to its end, is what the student would write
greedily; one forward pass shows that.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from distill.config import DistillConfig
from distill.examples import Example
from harness.core import progress
from harness.core.errors import SampleError
from harness.core.images import ImageRef
from harness.core.types import Sample, Task
from harness.metrics.statistics import Z_95, mcnemar

MOST = 200
"""Questions that are looked at."""
_AT_ONCE = 8
_SIGNIFICANT = 0.05
FEWEST = 6
"""Questions from which on McNemar's test can be significant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A student with its pictures and without them."""

    questions: int
    right: int
    """Answered as the gold answer."""
    right_without: int
    """The same without the pictures."""
    p: float
    """Of McNemar's exact test between the two."""
    gain: float
    """Nats per token of the gold answer that the pictures save, the mean over the questions."""
    gain_error: float
    """Its standard error."""
    seen: bool
    """Whether the questions are among those that the student was trained on."""

    @property
    def blind(self) -> bool:
        """Whether the pictures make no difference: to the answers or, where none is right or there
        are too few questions for a test, to their likelihood."""
        if self.questions >= FEWEST and (self.right or self.right_without):
            return self.right <= self.right_without or self.p >= _SIGNIFICANT
        return self.gain - Z_95 * self.gain_error <= 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "blind": self.blind}


def measure_sight(
    samples: Sequence[Sample],
    *,
    student: Path,
    config: DistillConfig,
    task: Task,
    unseen: bool,
    device: str = "cpu",
) -> Sight | None:
    """The sight of the student in a folder; None where no question has a picture.

    Args:
        config: that it was trained with.
        unseen: whether it was not trained on the questions.
    """
    import torch

    from distill.training.student import Student

    pictured = [Example(sample, None) for sample in samples if sample.images][:MOST]
    precision: Any = "float32" if device == "cpu" else "bfloat16"
    plain = DistillConfig(objective=config.objective, precision=precision, feature_cache_gb=0.0)
    found: list[tuple[tuple[float, bool], tuple[float, bool]]] = []
    with tempfile.TemporaryDirectory() as features:
        model = Student(student, plain, task, features=Path(features), device=device)
        with torch.inference_mode(), _progress(len(pictured)) as bar:
            for start in range(0, len(pictured), _AT_ONCE):
                batch = [each for each in pictured[start : start + _AT_ONCE] if _fits(model, each)]
                if batch:
                    pairs = (model.answered(batch), model.answered([grey(e) for e in batch]))
                    found += zip(*pairs, strict=True)
                bar.advance(min(_AT_ONCE, len(pictured) - start))
    return sight_of(found, unseen=unseen) if found else None


def _progress(total: int) -> Any:
    return progress.make("with and without pictures", total=total, done=0)


def _fits(model: Any, example: Example) -> bool:
    try:
        model.length(example)
    except SampleError:
        return False
    return not model.unusable_pictures([example])


def grey(example: Example) -> Example:
    """The same with a grey picture of the same size in the place of each."""
    return replace(
        example,
        sample=replace(example.sample, images=tuple(map(_grey_picture, example.sample.images))),
    )


def _grey_picture(image: ImageRef) -> ImageRef:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", image.decode().size, (127, 127, 127)).save(file, "PNG")
    return ImageRef("grey.png", file.getvalue, number=image.number)


def sight_of(
    found: Sequence[tuple[tuple[float, bool], tuple[float, bool]]], *, unseen: bool
) -> Sight:
    """The sight of a student, of the loss of each question and whether it is answered, with its
    picture and with a grey one."""
    gains = [without - with_them for (with_them, _), (without, _) in found]
    mean = math.fsum(gains) / len(gains)
    spread = math.fsum((gain - mean) ** 2 for gain in gains)
    only_with = sum(own and not blank for (_, own), (_, blank) in found)
    only_without = sum(blank and not own for (_, own), (_, blank) in found)
    return Sight(
        questions=len(found),
        right=sum(own for (_, own), _ in found),
        right_without=sum(blank for _, (_, blank) in found),
        p=mcnemar(only_with, only_without),
        gain=mean,
        gain_error=math.sqrt(spread / max(len(gains) - 1, 1) / len(gains)),
        seen=not unseen,
    )
