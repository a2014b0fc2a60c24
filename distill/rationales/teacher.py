"""Who writes the rationales: a model that is loaded here, or one that a server has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.prompts import instruction
from harness.core.types import Model
from harness.sources.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A model that writes rationales. What takes long is a function, called when it is needed."""

    name: str
    about: Mapping[str, Any]
    """Title, repository, revision, licence: what a model card says of it."""
    max_new_tokens: int
    instruction: str
    """What its prompt adds below the question, "" for a teacher that needs none."""
    settings: Mapping[str, Any]
    """What else decides what it writes: dtype, arguments of its processor, or where it is."""
    load: Callable[[], Model]
    fingerprint: Callable[[], str]
    """Of its weights; empty where a server gives none, or was not asked yet."""
    workers: Callable[[int], int] = lambda _samples: 0
    """Processes that prepare so many questions ahead of it."""
    rendering: Callable[[], Mapping[str, str | None]] = dict
    """`harness.core.abilities.TemplatedModel.rendering`; empty until the model is loaded."""


def about_source(source: Source) -> dict[str, Any]:
    """What a card says of a model."""
    checkpoint = source.checkpoint
    return {
        "name": checkpoint.name,
        "title": checkpoint.title,
        "repo": checkpoint.repo,
        "revision": checkpoint.revision,
        "weights": checkpoint.weights,
        "licence": checkpoint.licence,
    }


def teacher_of(source: Source, *, max_new_tokens: int | None = None) -> Teacher:
    """A row of the catalogue, a folder, or a server's model, as a teacher."""
    checkpoint = source.checkpoint
    spec = checkpoint.spec
    return Teacher(
        name=checkpoint.name,
        about=about_source(source),
        max_new_tokens=max_new_tokens or (spec.max_new_tokens if spec else 512),
        instruction=instruction("structured", choices=True, plain_styles=checkpoint.plain_styles),
        settings={
            "dtype": source.dtype,
            "processor_args": dict(source.settings["processor_args"]),
            **source.early_fingerprint,
        },
        load=source.load,
        fingerprint=lambda: source.weights_hash,
        workers=lambda samples: _workers(source, samples),
        rendering=lambda: source.rendering,
    )


def _workers(source: Source, samples: int) -> int:
    """As many as an evaluation starts unasked."""
    if not source.capabilities.prepares_ahead:
        return 0
    from harness.engine.prefetch import workers_for

    return workers_for(source.device, samples)
