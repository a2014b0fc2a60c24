"""A benchmark harness for small vision-language models, and structured reasoning distillation."""

import sys

from harness.core.shadowing import refuse_shadow
from harness.core.version import __version__ as __version__

# The package `kernels` downloads compiled code, and transformers reaches for it wherever it is
# installed. None is Python's way to say that there is no such module; it must be said first.
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]

refuse_shadow()
