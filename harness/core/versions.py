"""The releases of transformers and torch that this package is tested on, and runs on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.core.errors import HarnessError


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package whose every release is tested before it is allowed."""

    package: str
    tested: tuple[str, ...]
    """Every release in the range, oldest first."""
    range: str
    """The same for an installer; pyproject.toml asks for it."""


TRANSFORMERS = Requirement("transformers", ("5.23", "5.24"), ">=5.23,<5.25")
TORCH = Requirement("torch", ("2.11", "2.12", "2.13"), ">=2.11,<2.14")


def require_tested_releases() -> None:
    """Refuse a release that nobody has tested: models may answer wrongly there without an error.

    Reads the installed packages' versions without importing them.

    Raises:
        HarnessError: another release is installed, or none.
    """
    for requirement in (TRANSFORMERS, TORCH):
        _require(requirement)


def _require(requirement: Requirement) -> None:
    from importlib import metadata  # which takes long, and no help page needs it

    package, tested = requirement.package, requirement.tested
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError:
        installed = ""
    release = re.match(r"\d+\.\d+", installed)
    if release is None or release[0] not in tested:
        several = f"{', '.join(tested[:-1])} and {tested[-1]}"
        raise HarnessError(
            f"harness runs on {package} {several}; {installed or f'no {package}'} is installed.",
            remedy=f"pip install '{package}{requirement.range}'",
        )
