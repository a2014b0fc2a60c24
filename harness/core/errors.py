"""The one error that is meant for users, and the exit codes that a script can rely on."""

from __future__ import annotations

import re
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the `harness` command."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    MISSING = 3
    """Weights or data are missing, or cannot be used as they are."""
    FAILED_SAMPLES = 4
    """The run finished, and some of its samples could not be answered."""
    CHECK_FAILED = 5
    INTERRUPTED = 130


class HarnessError(Exception):
    """Something that a user can fix.

    Args:
        what: what is wrong, in which file, row or option; one sentence.
        known: the facts: what was looked for and where, what would be valid.
        remedy: the command or the change that fixes it.
        code: the exit code of the command that ends with this error.
    """

    def __init__(
        self, what: str, *, known: str = "", remedy: str = "", code: Exit = Exit.USAGE
    ) -> None:
        super().__init__(what)
        self.what = what
        self.known = known
        self.remedy = remedy
        self.code = code

    def to_json(self) -> dict[str, str | int]:
        """The error as plain JSON values."""
        return {
            "what": self.what,
            "known": self.known,
            "remedy": self.remedy,
            "code": int(self.code),
        }

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.known, self.remedy) if part)


def no_likelihood(what: str, place: str, *, instead: str = "load the weights here") -> HarnessError:
    """The refusal of what needs the likelihood of options, by whatever does not give it."""
    return HarnessError(
        f"{what} needs the likelihood of the options, which {place} does not give.",
        remedy=f"--mode generate without --conclude; or {instead}.",
    )


class DataError(HarnessError):
    """Data that is missing or does not fit its schema; names the file, the row and the field."""

    def __init__(self, what: str, *, known: str = "", remedy: str = "") -> None:
        super().__init__(what, known=known, remedy=remedy, code=Exit.MISSING)


class SampleError(Exception):
    """One sample cannot be used (a corrupt image, say): an error row, and the run goes on."""


class ContextError(SampleError):
    """A prompt has more tokens than the model's context."""

    def __init__(self, tokens: int, context: int, note: str = "") -> None:
        super().__init__(f"{tokens:,} tokens, context {context:,}{note}")
        self.tokens = tokens
        self.context = context


_BEYOND_CONTEXT = re.compile(r"[\d,]+ tokens, context [\d,]+")


def is_beyond_context(reason: str | None) -> bool:
    """Whether this is why a sample has no answer: see `ContextError`."""
    return reason is not None and _BEYOND_CONTEXT.match(reason) is not None


NOT_FINITE = "the model gives NaN: not all of its scores are finite numbers"
"""Why a sample has no answer if its logits hold NaN or infinity."""


def reason(error: Exception) -> str:
    """Why a sample has no answer, in words."""
    return str(error) if isinstance(error, SampleError) else f"{type(error).__name__}: {error}"
