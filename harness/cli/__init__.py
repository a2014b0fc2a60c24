"""The `harness` command. What takes long to import is imported inside the command that needs it."""

from __future__ import annotations

import errno
import logging
import sys
import traceback
from types import TracebackType
from typing import Annotated

import typer

from harness.cli import (
    ask,
    bench,
    check,
    compare,
    completion,
    demo,
    distill,
    draw,
    evaluation,
    explain,
    export,
    listing,
    mini,
    report,
    rescore,
    score,
    show,
    train,
)
from harness.cli.commands import App
from harness.cli.messages import Harmless, process_label, rank, show_error
from harness.cli.streams import lasting
from harness.core.errors import Exit, HarnessError
from harness.core.interrupts import Interrupted, interrupts
from harness.core.terminal import say
from harness.core.version import __version__

app = App(
    help="Evaluate small vision-language models, and see what each number is made of.",
    epilog="Results go to stdout, logs and progress to stderr. Exit codes: 0 done, 1 unexpected, "
    "2 usage, 3 weights or data missing or unusable, 4 finished with failed samples, 5 a check "
    "failed, 130 or 143 interrupted with everything saved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    evaluation,
    check,
    bench,
    ask,
    report,
    export,
    demo,
    draw,
    show,
    score,
    rescore,
    explain,
    compare,
    completion,
    train,
):
    app.add_typer(commands.app)
app.add_typer(listing.app, name="list")
app.add_typer(distill.app, name="distill")
app.add_typer(mini.app, name="mini")


def _print_version(wanted: bool) -> None:  # noqa: FBT001  # typer calls it with the value
    if wanted:
        say(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Print the version and exit.",
            callback=_print_version,
            is_eager=True,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """Take what is said before a command."""


def main() -> None:
    """Run the command; print errors that a user can fix without a traceback."""
    sys.excepthook = _print_traceback
    with lasting() as stdout:
        code = _run()
        sys.stdout.flush()
        if stdout.failure is not None:
            code = code or _tell_dropped(stdout.failure)
    sys.exit(code)


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print a traceback without control characters: messages can hold names and data."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"), err=True)


def _tell_dropped(failure: OSError) -> int:
    """Report results that could not be printed; returns the exit code."""
    if failure.errno == errno.EPIPE:  # whoever read it has seen enough
        return Exit.OK
    if failure.errno == errno.EBADF:
        say("stdout is closed: results are not printed.", err=True)
        return Exit.OK
    say(f"Error: stdout cannot be written: {failure.strerror}.", err=True)
    return Exit.UNEXPECTED


def _run() -> int:
    """Run the command; returns its exit code."""
    handler = logging.StreamHandler()
    handler.setFormatter(Harmless("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for package in ("harness", "distill"):
        # The first process reports progress; every process reports its own warnings.
        logging.getLogger(package).setLevel(logging.WARNING if rank() else logging.INFO)
    interrupts.install()
    completion.enable()
    try:
        app(prog_name="harness")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except HarnessError as error:
        return show_error(error).code
    except Interrupted as error:
        say(f"{process_label()}Interrupted.", err=True)
        return error.exit_code
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        known = (
            "What was computed is kept. Re-run the same command to resume." if error.errno else ""
        )
        return show_error(
            HarnessError(f"{error.strerror or error}{where}", known=known, code=Exit.UNEXPECTED)
        ).code
    return Exit.OK


if __name__ == "__main__":
    main()
