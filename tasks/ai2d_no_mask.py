"""AI2D (Kembhavi et al., 2016) with the labels of its diagrams to be read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tasks import ai2d

TASK = replace(
    ai2d.TASK,
    name="ai2d-no-mask",
    title="AI2D (labels shown)",
    load=partial(ai2d.load_copy, name="ai2d-no-mask"),
)
