"""transformers' losses of object detection, imported without scipy until one of them is computed.

transformers imports all losses with any model class. Where scipy is installed, those of object
detection import `scipy.optimize` for one function, which takes as long as all of this project's own
modules.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_NAME = "scipy.optimize"


def linear_sum_assignment(*args: Any, **kwargs: Any) -> Any:
    """The solver of scipy."""
    return import_module(_NAME).linear_sum_assignment(*args, **kwargs)


def _import_losses() -> None:
    if _NAME in sys.modules or find_spec("scipy") is None:
        return
    deferred = ModuleType(_NAME)
    deferred.__dict__["linear_sum_assignment"] = linear_sum_assignment
    sys.modules[_NAME] = deferred
    try:
        import_module("transformers.loss.loss_utils")
    finally:
        del sys.modules[_NAME]


_import_losses()
