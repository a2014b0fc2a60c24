"""How an option is declared: once, with its type, as `Annotated[type, Option(...)]`.

A field of a dataclass or a parameter of a command carries the declaration; the command line makes
the flag, its help, its checks and its error messages from it (`harness.cli.signature`). An option
that has the same meaning in several places is an alias that each of them uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, get_type_hints

SAMPLES, MODEL, SERVER, DECODING, SCORING = "Samples", "Model", "Server", "Decoding", "Scoring"
TEACHER, TRAINING, EVALUATION, OUTPUT = "Teacher", "Training", "Evaluation", "Output"
TRACKING = "Tracking"
PANELS = (
    *("", SAMPLES, MODEL, TEACHER, SERVER, DECODING, TRAINING, EVALUATION, SCORING),
    *(TRACKING, OUTPUT),
)
"""The panels of a help page, in their order there; the first one is the page's own."""


@dataclass(frozen=True, slots=True)
class Need:
    """What an option does nothing without."""

    met: Callable[[Mapping[str, Any]], bool]
    """Whether it is there, from the values of all options of the command by name."""
    words: str
    """As in "does nothing without ..."; {model} stands for the option that names the model."""


@dataclass(frozen=True, slots=True)
class Option:
    """What the command line knows of an option in addition to its type."""

    help: str
    """A phrase with the unit, and the default where that is None."""
    _: KW_ONLY
    panel: str = ""
    """The panel of the help page, of `PANELS`."""
    flag: str = ""
    """Its name without dashes; empty: that of the field or parameter."""
    opposite: str = ""
    """Of a switch with three states, the name that makes it false."""
    metavar: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    default: Any = ...
    """What a command takes that is called without it; ...: as in the dataclass, else required."""
    given: Any = None
    """The type on the command line, where `parse` makes another one of it."""
    parse: Callable[[Any], Any] | None = None
    """Makes the field's value of what was given; raises ValueError or HarnessError."""
    needs: tuple[Need, ...] = ()
    commas: bool = False
    """Whether several values may stand in one, with commas between them."""
    alone: bool = False
    """Not for several models at once."""


def option_of(cls: type, field: str) -> Option:
    """The declaration of a dataclass's field, for an option that means the same elsewhere."""
    annotation = get_type_hints(cls, include_extras=True)[field]
    option: Option = next(mark for mark in annotation.__metadata__ if isinstance(mark, Option))
    return option
