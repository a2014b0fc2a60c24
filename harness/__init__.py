"""A benchmark harness for small vision-language models, and structured reasoning distillation.

`evaluate`, `load_run` and `compare` are its Python interface: see `harness.api`.
"""

import sys
from typing import TYPE_CHECKING, Any

from harness.core.shadowing import refuse_shadow
from harness.core.version import __version__ as __version__

# The package `kernels` downloads compiled code, and transformers reaches for it wherever it is
# installed. None is Python's way to say that there is no such module; it must be said first.
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]

refuse_shadow()

if TYPE_CHECKING:
    from harness.api import Run, compare, evaluate, load_run

__all__ = ["Run", "__version__", "compare", "evaluate", "load_run"]


def __getattr__(name: str) -> Any:
    """The Python interface, imported when it is first used: `import harness` stays quick."""
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
