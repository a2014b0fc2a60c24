"""The kinds of sources, and which of them `--model` and `--engine` mean."""

from __future__ import annotations

from harness.core.options import ModelOptions
from harness.sources.served import Served
from harness.sources.source import Kind, Source
from harness.sources.vllm import Vllm
from harness.sources.weights import Weights

KINDS: tuple[type[Kind], ...] = (
    Served,
    Vllm,
    Weights,  # whatever no other kind answers
)


def find_source(options: ModelOptions) -> Source:
    """What the options mean; raises HarnessError where that is not here."""
    kind = next(kind for kind in KINDS if kind.answers(options))
    return kind.of(options)
