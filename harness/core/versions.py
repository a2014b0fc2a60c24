"""The releases of transformers that this package is tested on, and runs on."""

from __future__ import annotations

import re

from harness.core.errors import HarnessError

TESTED = ("5.23", "5.24")
"""Every release in the range; pyproject.toml asks for the same range."""
RANGE = ">=5.23,<5.25"


def require_tested_transformers() -> None:
    """Refuse a release that nobody has tested: models may answer wrongly there without an error.

    Reads the installed package's version without importing it.

    Raises:
        HarnessError: another release is installed, or none.
    """
    from importlib import metadata  # which takes long, and no help page needs it

    try:
        installed = metadata.version("transformers")
    except metadata.PackageNotFoundError:
        installed = ""
    release = re.match(r"\d+\.\d+", installed)
    if release is None or release[0] not in TESTED:
        raise HarnessError(
            f"harness runs on transformers {' and '.join(TESTED)}; "
            f"{installed or 'no transformers'} is installed.",
            remedy=f"pip install 'transformers{RANGE}'",
        )
