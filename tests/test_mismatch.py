"""Settings that differ from those of what is on disk: which count, and what the error says."""

from __future__ import annotations

import pytest

from harness.core.errors import DataError, Exit, HarnessError
from harness.core.mismatch import differences, stop_on_mismatch

OLD = {"style": "direct", "decoding": {"seed": 0, "top_p": 1.0}, "data": "sha256:1"}


@pytest.mark.parametrize(
    ("new", "found"),
    [
        (OLD, {}),
        ({**OLD, "style": "cot"}, {"style": ("direct", "cot")}),
        ({**OLD, "decoding": {"seed": 1, "top_p": 1.0}}, {"decoding.seed": (0, 1)}),
        ({**OLD, "decoding": {"seed": 0}}, {"decoding.top_p": (1.0, None)}),
        ({"style": "direct"}, {}),  # the rest is not known yet
        ({**OLD, "weights": "sha256:2"}, {}),  # known later than the others
        ({**OLD, "extraction": "sha256:3"}, {}),  # answers are extracted again
        ({**OLD, "shuffle": 7}, {"shuffle": (None, 7)}),
        ({**OLD, "shuffle": None}, {}),  # earlier versions did without
    ],
)
def test_what_counts_as_a_difference(new: dict, found: dict) -> None:
    """Each nested setting by its own name; what one side cannot know is no difference."""
    assert differences(OLD, new) == found


def stopped(**given: object) -> HarnessError:
    new = {**OLD, "decoding": {"seed": 1, "top_p": 1.0}, "style": "cot" * 50}
    with pytest.raises(HarnessError) as caught:
        stop_on_mismatch(OLD, new, what="the run in runs/x", **given)  # type: ignore[arg-type]
    return caught.value


def test_the_error_lists_the_settings_and_both_commands() -> None:
    """The one that resumes is the record's own, without --fresh; the one that restarts is the
    current one, with it."""
    error = stopped(
        made_by=["harness", "eval", "--model", "a b", "--fresh"],
        command=["harness", "eval", "--model", "a b", "--style", "cot"],
    )
    assert error.what == (
        "These settings differ from those of the run in runs/x: style, decoding.seed."
    )
    assert error.known == (
        "style: direct there, cotcotcotcotcotcotcotcot… now; decoding.seed: 0 there, 1 now"
    )
    assert error.remedy == (
        "To resume: harness eval --model 'a b'\n"
        "To restart, which moves the old results aside: "
        "harness eval --model 'a b' --style cot --fresh\n"
        "To keep both: choose another name or folder."
    )


@pytest.mark.parametrize(
    "made_by", [(), ["rm", "-rf", "x"], ["harness", "eval"], ["harness", "eval", "--fresh"]]
)
def test_a_command_that_would_not_resume_is_not_given(made_by: list[str]) -> None:
    """Another program's, which a record from elsewhere can hold, or the current one itself."""
    error = stopped(made_by=made_by, command=["harness", "eval"])
    assert error.remedy.startswith("To resume: restore those settings.\n")
    assert "harness eval --fresh\n" in error.remedy
    assert "add --fresh\n" in stopped().remedy


def test_the_kind_of_error_is_the_callers() -> None:
    """Rationales of other data are missing data, with its exit code."""
    assert stopped().code is Exit.USAGE
    assert stopped(error=DataError).code is Exit.MISSING
