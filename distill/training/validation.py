"""The questions that a student is evaluated on while it trains. It learns none of them, and none is
of the split that it is tested on: they choose the student that is kept."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from distill.config import DistillConfig
from distill.examples import Example
from distill.objectives import objective_of
from distill.questions import Questions, unseen
from distill.training.fingerprint import fingerprint
from harness.core.errors import DataError
from harness.core.types import Task
from harness.data.fingerprint import fingerprint as data_fingerprint
from harness.data.fingerprint import image_digests
from harness.data.selection import select
from harness.data.splits import same_split

log = logging.getLogger(__name__)

SPLIT = "validation"
HELD_OUT = 10
"""Of so many questions one is held out, where there is no validation split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Questions that are not learned, with what an objective learns of them where it is there."""

    examples: Sequence[Example]
    split: str | None = None
    """None: they are held out of the questions to learn."""

    @property
    def source(self) -> str:
        """Where they come from, in words."""
        if self.split is not None:
            return f"of the {self.split} split"
        return "held out of the training questions"

    def fingerprint(self, config: DistillConfig, task: Task) -> str:
        """The hash of everything that is asked and compared."""
        asked = data_fingerprint([example.sample for example in self.examples])
        learned = fingerprint(self.examples, objective_of(config), task)
        return f"sha256:{sha256(f'{asked} {learned}'.encode()).hexdigest()}"


def with_validation(
    examples: Sequence[Example], questions: Questions, config: DistillConfig, *, test_split: str
) -> tuple[Sequence[Example], Validation | None]:
    """The examples to learn, and those to evaluate on; None where that is not wanted.

    Args:
        questions: that the examples are of.
        test_split: the split that the student is tested on.
    """
    if config.eval_every is None:
        return examples, None
    found = _of_split(examples, questions, config, test_split=test_split)
    if found is None:
        return _held_out(examples, config)
    return examples, found


def _of_split(
    examples: Sequence[Example], questions: Questions, config: DistillConfig, *, test_split: str
) -> Validation | None:
    """Questions of the validation split, topics in turn. None: there is no such split, or it is
    what is trained or tested on."""
    data = questions.data
    taken = {data.options.split, data.task.split, test_split}
    if taken & set(same_split(SPLIT)):
        return None
    try:
        loaded = data.task.load(replace(data.options, split=SPLIT))
    except DataError as error:
        log.info("%s", error.what)
        return None
    new = unseen(loaded.samples, [example.sample for example in examples])
    if not new or any(sample.target is None for sample in new):
        return None
    chosen = select(new, limit=config.eval_limit, how="stratified", seed=config.seed)
    return Validation(examples=[Example(sample, None) for sample in chosen], split=SPLIT)


def _held_out(
    examples: Sequence[Example], config: DistillConfig
) -> tuple[Sequence[Example], Validation]:
    """A tenth of the examples apart, up to the limit; questions about one picture stay together.

    Raises:
        DataError: all questions are about one picture.
    """
    about: dict[object, list[Example]] = {}
    digests = image_digests([example.sample for example in examples])
    for example in examples:
        pictures = digests[example.sample.id]
        about.setdefault(pictures or example.sample.id, []).append(example)
    groups = list(about.values())
    random.Random(f"{config.seed}/validation").shuffle(groups)  # noqa: S311  # to be repeated
    wanted = min(config.eval_limit, max(1, len(examples) // HELD_OUT))
    apart: set[str] = set()
    for group in groups:
        if len(apart) + len(group) <= wanted or not apart:
            apart |= {example.sample.id for example in group}
    if len(apart) == len(examples):
        raise DataError(
            f"None of {len(examples):,} questions can be held out for validation: they are about "
            "one picture.",
            remedy="Add a validation split to the data, or leave out --eval-every.",
        )
    learned = [example for example in examples if example.sample.id not in apart]
    held = [example for example in examples if example.sample.id in apart]
    log.info("Held out for validation: %d of %d questions.", len(held), len(examples))
    return learned, Validation(examples=held)
