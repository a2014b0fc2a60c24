"""What options of a distillation do nothing without: see `harness.core.declarations.Need`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.objectives import OBJECTIVES
from harness.core.declarations import Need

_IMPORT = "import_"
"""--import, as a parameter of Python."""


def _writes(given: Mapping[str, Any]) -> bool:
    return given.get(_IMPORT) is None


def _is_used(given: Mapping[str, Any]) -> bool:
    """Whether the teacher writes rationales, or gives its logits."""
    kind = OBJECTIVES.get(given.get("objective") or "")
    objective = kind() if kind else None
    return _writes(given) or bool(objective and (objective.top_logits or objective.sampling))


WRITES = Need(_writes, "a teacher that writes rationales: --import takes those of a file")
TEACHES = Need(_is_used, "a teacher that is asked: --import takes the rationales of a file")
GAINS = Need(lambda given: given["choose"] == "gain", "--choose gain")
SEVERAL = Need(lambda given: len(given["teacher"]) > 1, "several --teacher")
ONE_TEACHER = Need(lambda given: len(given["teacher"]) == 1, "one --teacher")
