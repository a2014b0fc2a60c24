"""Lines from a terminal, with a history that is kept and completion of commands and paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from harness.cli.conversation import COMMANDS, PARAMETERS, STYLES
from harness.core.files.caches import cache_folder

_VALUES = {"/style": STYLES, "/params": tuple(f"{name}=" for name in PARAMETERS)}


class CommandCompleter(Completer):
    """Completes the commands of a conversation and their values."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        """See prompt_toolkit."""
        before = document.text_before_cursor
        command, space, rest = before.partition(" ")
        if not before.startswith("/"):
            return
        if not space:
            names = (name for name in COMMANDS if name.startswith(command))
            yield from (Completion(n, -len(command), display_meta=COMMANDS[n]) for n in names)
        elif command == "/image":
            yield from self._paths.get_completions(Document(rest), event)
        else:
            word = rest.rpartition(" ")[2]
            values = (value for value in _VALUES.get(command, ()) if value.startswith(word))
            yield from (Completion(value, -len(word)) for value in values)


def line_editor(**terminal: Any) -> Callable[[], str]:
    """A function that reads the next line: it raises EOFError on Ctrl-D, KeyboardInterrupt on
    Ctrl-C.

    Args:
        terminal: `input` and `output` of prompt_toolkit, in place of the process's own.
    """
    session: PromptSession[str] = PromptSession(
        history=_history(), completer=CommandCompleter(), complete_while_typing=False, **terminal
    )
    return lambda: session.prompt("> ")


def _history() -> History:
    """What was typed before, in a file that only its user can read; in memory where it cannot be
    written."""
    file = cache_folder("ask") / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        with file.open("ab"):
            return FileHistory(file)
    except OSError:
        return InMemoryHistory()
