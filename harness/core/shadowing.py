"""Files of others that Python finds in place of our packages `tasks`, `distill` and `reports`.

The names are common: Celery and Invoke users have a tasks.py, and Python looks into the current
folder first under `python -m`, `python -c` and in a notebook.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from harness.core.errors import Exit, HarnessError

PACKAGES = ("tasks", "distill", "reports")
"""The packages that come with `harness`, in the same folder."""


def find_shadow() -> HarnessError | None:
    """What to say where another file is found under one of our names; None where none is.

    Nothing of it is imported.
    """
    home = Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # it was put into sys.modules by hand
            spec = None
        if spec is None or spec.origin is None:
            continue
        found = Path(spec.origin).resolve()
        if found.parent != home / name:
            return HarnessError(
                f"{found} is found in place of the package {name!r} that comes with harness.",
                remedy="Use harness in another folder, rename that file, or uninstall the package "
                "that it belongs to.",
                code=Exit.USAGE,
            )
    return None


def refuse_shadow() -> None:
    """Stop where `find_shadow` finds something.

    Raises:
        SystemExit: for the command, with the sentence on stderr and no traceback.
        HarnessError: for a program or a notebook that imports harness.
    """
    error = find_shadow()
    if error is None:
        return
    if sys.argv and (sys.argv[0] == "-m" or Path(sys.argv[0]).stem == "harness"):
        from harness.core.terminal import say

        say(f"Error: {error}", err=True)
        raise SystemExit(int(error.code))
    raise error
