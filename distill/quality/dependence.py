"""How much a rationale depends on its image: its likelihood to the untrained student with and
without.

A rationale that is as likely without the image describes nothing in it: the student would learn to
write it blindly. This is the one measure of quality that costs forward passes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.config import DistillConfig
from distill.examples import Example
from distill.layout import DEPENDENCE, FEATURES
from distill.quality.measures import mean, share
from distill.quality.sight import grey
from harness.checkpoints.folder import weights_fingerprint
from harness.core import progress
from harness.core.devices import resolve_dtype
from harness.core.errors import SampleError
from harness.core.files.atomic import write_atomically
from harness.core.files.json_files import load_json
from harness.core.json_values import json_object
from harness.core.types import Task, Value


@dataclass(frozen=True, slots=True)
class Dependence:
    """Mean negative log-likelihood per token of one target, in nats."""

    with_image: float
    """The target after the question and its image."""
    without_image: float
    """After the question alone."""

    @property
    def gain(self) -> float:
        """Nats per token that the picture saves; at or below 0 it does not help."""
        return self.without_image - self.with_image


def image_dependence(
    examples: Sequence[Example], *, base: Path, folder: Path, task: Task, device: str = "cpu"
) -> dict[str, Dependence]:
    """Sample id -> its dependence, for the examples with a picture and a rationale.

    The result is kept in `folder`, and taken from there as long as examples and base are the same.

    Args:
        base: the student before training.
        folder: of the distillation.
    """
    usable = [e for e in examples if e.rationale and e.sample.images]
    known = {"base": weights_fingerprint(base), "examples": _fingerprint(usable)}
    path = folder / DEPENDENCE
    with contextlib.suppress(OSError, ValueError, TypeError):  # measured again
        there = json_object(load_json(path))
        if there.get("fingerprint") == known:
            return {key: Dependence(*pair) for key, pair in there["values"].items()}
    found = _measured(usable, base=base, folder=folder, task=task, device=device)
    values = {key: [each.with_image, each.without_image] for key, each in found.items()}
    write_atomically(path, json.dumps({"fingerprint": known, "values": values}).encode())
    return found


def summarise_dependence(found: Sequence[Dependence]) -> dict[str, Value]:
    """Means in nats per token, and the share of rationales that the picture makes likelier."""
    return {
        "nll_with_image": mean(each.with_image for each in found),
        "nll_without_image": mean(each.without_image for each in found),
        "image_gain": mean(each.gain for each in found),
        "image_helps": share(each.gain > 0 for each in found),
    }


def _measured(
    examples: Sequence[Example], *, base: Path, folder: Path, task: Task, device: str
) -> dict[str, Dependence]:
    import torch

    from distill.training.student import Student

    precision: Any = resolve_dtype("auto", device)
    student = Student(
        base, DistillConfig(precision=precision), task, features=folder / FEATURES, device=device
    )
    student.module.eval()
    found: dict[str, Dependence] = {}
    with (
        torch.inference_mode(),
        progress.make("dependence on the image", total=len(examples), done=0) as bar,
    ):
        for example in examples:
            bar.advance()
            blind = replace(example, sample=replace(example.sample, images=()))
            if student.network.family.needs_image:
                blind = grey(example)
            try:
                student.length(example)
            except SampleError:
                continue
            if student.unusable_pictures([example]):
                continue
            pair = [float(student.loss(student.encode([each]))) for each in (example, blind)]
            found[example.sample.id] = Dependence(*pair)
    return found


def _fingerprint(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        pictures = [image.digest() for image in example.sample.images]
        digest.update(
            repr((example.sample.id, example.rationale, pictures)).encode(
                "utf-8", "backslashreplace"
            )
        )
    return f"sha256:{digest.hexdigest()}"
