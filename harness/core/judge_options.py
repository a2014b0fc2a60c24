"""The options of a judge: a model on a server that says which written answers are right; part of
those in `harness.core.options`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from harness.core.declarations import SCORING, Need, Option

PREFIX: Final = "openai:"


def _judge(name: str) -> str:
    """`openai:NAME`."""
    served = name.removeprefix(PREFIX)
    if served == name or not served.strip() or not served.isprintable():
        raise ValueError(f"{name!r} is no judge: write openai:NAME, as the server calls it.")
    return name


def _has_judge(given: Mapping[str, Any]) -> bool:
    return bool(given.get("judge"))


_JUDGED = (Need(_has_judge, "--judge"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """Which model judges, and how it is asked. It changes no answer."""

    judge: Annotated[
        str | None,
        Option(
            "A server's model, openai:NAME, that says which written answers are right, as a metric "
            "in addition to the task's own. Default: none.",
            panel=SCORING,
            parse=_judge,
        ),
    ] = None
    url: Annotated[
        str | None,
        Option(
            "Address of the judge's server, such as http://127.0.0.1:8000/v1. Its key, if it needs "
            "one, is HARNESS_JUDGE_API_KEY or OPENAI_API_KEY in the environment.",
            panel=SCORING,
            flag="judge-url",
            needs=_JUDGED,
        ),
    ] = None
    tokens: Annotated[
        int,
        Option(
            "Maximum number of tokens of a verdict, the judge's reasoning included.",
            panel=SCORING,
            flag="judge-tokens",
            minimum=1,
            needs=_JUDGED,
        ),
    ] = 1024
    concurrency: Annotated[
        int,
        Option(
            "Requests to the judge under way at once.",
            panel=SCORING,
            flag="judge-concurrency",
            minimum=1,
            needs=_JUDGED,
        ),
    ] = 8
