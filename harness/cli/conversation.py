"""Questions one after the other to models that stay loaded: a line is a question or a command.

Every question is put alone, as in an evaluation: a model does not see the ones before it.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from harness.cli.asking import Answer, Question, lay_out, put_question
from harness.cli.messages import show_error
from harness.cli.options import check_choices
from harness.core.declarations import option_of
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.interrupts import Interrupted
from harness.core.options import GenerationOptions
from harness.core.suggestions import closest
from harness.core.terminal import print_json_line, say, side_by_side
from harness.core.types import Style
from harness.sources.source import Source

STYLES: tuple[Style, ...] = get_args(Style)
PARAMETERS: Mapping[str, type] = {"max_new_tokens": int, "temperature": float, "top_p": float}
"""What /params sets, of `GenerationOptions`."""
COMMANDS = {
    "/image": "PATH ...  the picture of the questions that follow; without PATH: none",
    "/choices": "A | B | C  the options of the questions that follow; without any: open questions",
    "/style": f"{' | '.join(STYLES)}; without a style: the model's own",
    "/params": "max_new_tokens=200 temperature=0.7 top_p=0.9; without any: show them",
    "/help": "show this list",
    "/quit": "end; so does Ctrl-D",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the next question is put with."""

    question: Question = field(default_factory=lambda: Question(text=""))
    """Its pictures and options."""
    generation: GenerationOptions = field(default_factory=GenerationOptions)

    def __str__(self) -> str:
        """The commands that give these settings, one a line."""
        own = "the model's own"
        values = {name: getattr(self.generation, name) for name in PARAMETERS}
        shown = {
            "/image": ", ".join(map(str, self.question.images)) or "none",
            "/choices": " | ".join(self.question.choices) or "none: an open question",
            "/style": self.generation.style or own,
            "/params": " ".join(f"{n}={own if v is None else v}" for n, v in values.items()),
        }
        return _lines(shown)


def changed(settings: Settings, line: str) -> Settings:
    """The settings after a command such as "/image map.png".

    Raises:
        HarnessError: it is no command, or has no such value.
        EOFError: it is /quit.
    """
    command, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    match command:
        case "/image":
            return replace(settings, question=replace(settings.question, images=_paths(rest)))
        case "/choices":
            choices = tuple(filter(None, map(str.strip, rest.split("|"))))
            check_choices(choices)
            return replace(settings, question=replace(settings.question, choices=choices))
        case "/style":
            return replace(settings, generation=replace(settings.generation, style=_style(rest)))
        case "/params":
            new = dict(map(_parameter, rest.split()))
            return replace(settings, generation=replace(settings.generation, **new))
        case "/quit":
            raise EOFError
    close = closest(command, COMMANDS)
    raise HarnessError(
        f"There is no command {command}.",
        known=f"The commands are {', '.join(COMMANDS)}.",
        remedy=f"Did you mean {close}?" if close else "",
    )


def _paths(text: str) -> tuple[Path, ...]:
    """One path with spaces in it, or several, in quotes where they have spaces."""
    if text and user_path(text).exists():
        return (user_path(text),)
    try:
        paths = tuple(map(user_path, shlex.split(text)))
    except ValueError as error:
        raise HarnessError(f"/image {text}: {error}.") from None
    for path in paths:
        if not path.is_file():
            raise HarnessError(f"{path} is no file.", code=Exit.MISSING)
    return paths


def _style(text: str) -> Style | None:
    if text in STYLES:
        return text
    if text:
        raise HarnessError(f"/style {text}: the styles are {', '.join(STYLES)}.")
    return None


def _parameter(text: str) -> tuple[str, Any]:
    """A parameter of generation within the limits of its option."""
    name, equals, given = text.partition("=")
    name = name.removeprefix("--").replace("-", "_")
    if name not in PARAMETERS or not equals:
        raise HarnessError(f"/params {text}: write one of {', '.join(PARAMETERS)}, as in top_p=0.9")
    option = option_of(GenerationOptions, name)
    try:
        value = PARAMETERS[name](given)
    except ValueError:
        raise HarnessError(f"/params {text}: {given!r} is not a number.") from None
    low, high = option.minimum, option.maximum
    # A comparison with what is not a number is false.
    if not ((low is None or value >= low) and (high is None or value <= high)):
        limits = f"{low:g} or more" if high is None else f"{low:g} to {high:g}"
        raise HarnessError(f"/params {text}: {name} must be {limits}.")
    return name, value


def converse(sources: Sequence[Source], settings: Settings, read: Callable[[], str]) -> None:
    """Answer what a user types until they end it.

    Args:
        read: gives the next line; raises EOFError at the end, KeyboardInterrupt for none.
    """
    for source in sources:
        with _working(f"Loading {source.checkpoint.title} ..."):
            source.load()
    say("A question, or a command:")
    say(_lines(COMMANDS))
    say("Every question is put alone: the model does not see the ones before it.")
    while True:
        try:
            line = read().strip()
            if line == "/help":
                say(_lines(COMMANDS))
            elif line.startswith("/"):
                settings = changed(settings, line)
                say(settings)
            elif line:
                _show(sources, replace(settings.question, text=line), settings.generation)
        except KeyboardInterrupt:
            continue  # the line is dropped
        except EOFError:
            return
        except HarnessError as error:
            show_error(error)


def _lines(commands: Mapping[str, str]) -> str:
    return "\n".join(f"  {name:9} {what}" for name, what in commands.items())


def _show(sources: Sequence[Source], question: Question, generation: GenerationOptions) -> None:
    """Put a question to each model, and print the answers next to each other."""
    answers: list[tuple[str, str]] = []
    for source in sources:
        title = source.checkpoint.title
        try:
            with _working(f"{title} answers ..."):
                answer = put_question(source, question, generation)
        except HarnessError as error:
            if len(sources) == 1:
                raise
            answers.append((title, f"Error: {error}"))
        except Interrupted as error:
            if error.exit_code != Exit.INTERRUPTED:
                raise
            say("Stopped.", err=True)
            return
        else:
            answers.append((title, lay_out(answer, question.choices)))
    print_answers(answers)


def print_answers(answers: Sequence[tuple[str, str]]) -> None:
    """Print answers laid out, each with its model's title where there are several."""
    if len(answers) == 1:
        say(answers[0][1])
    else:
        side_by_side(answers)


def _working(what: str) -> AbstractContextManager[object]:
    """A sign of life while a model works, where someone sees it."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(what))


def answer_lines(sources: Sequence[Source], settings: Settings, lines: Iterable[str]) -> int:
    """Answer lines of text, commands and JSON objects by lines of JSON; returns how many failed.

    An object has a `question`, and may have `image` (a path or several) and `choices`, in place of
    the settings' own.
    """
    failed = 0
    for line in filter(None, map(str.strip, lines)):
        try:
            if line.startswith("/"):
                settings = changed(settings, line)
                continue
            question = _question(settings.question, line)
        except EOFError:
            break
        except HarnessError as error:
            failed += 1
            print_json_line({"line": line, "error": str(error)})
            continue
        for source in sources:
            try:
                answer = put_question(source, question, settings.generation)
            except HarnessError as error:
                failed += 1
                document = {**described(source, question), "error": str(error)}
            else:
                document = {**described(source, question), **to_json(answer)}
            print_json_line(document)
    return failed


def _question(settings: Question, line: str) -> Question:
    if not line.startswith("{"):
        return replace(settings, text=line)
    try:
        given = json.loads(line)
    except ValueError as error:
        raise HarnessError(f"The line is no JSON object: {error}.") from None
    text = given.pop("question", None)
    images = given.pop("image", None)
    choices = given.pop("choices", None)
    if not isinstance(text, str) or not text.strip():
        raise HarnessError("`question` must be a text that is not empty.")
    if given:
        raise HarnessError(f"There is no field {', '.join(map(ascii, given))}.")
    paths = [images] if isinstance(images, str) else images
    for name, values in (("image", paths), ("choices", choices)):
        if values is not None and not _is_texts(values):
            raise HarnessError(f"`{name}` must be a list of texts.")
    check_choices(choices or ())
    return Question(
        text=text,
        images=settings.images if paths is None else tuple(map(user_path, paths)),
        choices=settings.choices if choices is None else tuple(choices),
    )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def described(source: Source, question: Question) -> dict[str, Any]:
    """Who is asked what, for a line of JSON."""
    return {
        "model": source.checkpoint.name,
        "question": question.text,
        "image": [*map(str, question.images)],
        "choices": [*question.choices],
    }


def to_json(answer: Answer) -> dict[str, Any]:
    """An answer as a document."""
    made = answer.output.tokens
    rate = made / answer.seconds if made is not None and answer.seconds > 0 else None
    return {**asdict(answer), "tokens_per_second": rate}
