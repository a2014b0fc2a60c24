"""The random states of a program that calls the harness, which are left as they were."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Leave the random states of Python, numpy and torch, on every device, as they were.

    What the program has not imported has no state that it could depend on.
    """
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    python = random.getstate()
    of_numpy = numpy.random.get_state() if numpy else None
    on_cpu = torch.get_rng_state() if torch else None
    on_cuda = torch.cuda.get_rng_state_all() if torch and torch.cuda.is_initialized() else None
    has_mps = torch is not None and torch.backends.mps.is_available()
    on_mps = torch.mps.get_rng_state() if torch and has_mps else None
    try:
        yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(of_numpy)
        if torch:
            torch.set_rng_state(on_cpu)
        if torch and on_cuda is not None:
            torch.cuda.set_rng_state_all(on_cuda)
        if torch and on_mps is not None:
            torch.mps.set_rng_state(on_mps)
