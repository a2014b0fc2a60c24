"""The family of every architecture that has no file of its own."""

from __future__ import annotations

from harness.families.family import ModelFamily
from harness.families.llava import fill_processor

FAMILY = ModelFamily(
    name="generic",
    title="the generic family",
    complete_processor=fill_processor,
)
