"""`harness report`: the leaderboard page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from harness.cli.commands import App
from harness.cli.messages import show_error
from harness.cli.options import AsJson, PageOut, refuse_absent
from harness.core.declarations import OUTPUT, Option
from harness.core.errors import Exit, HarnessError
from harness.core.files.paths import user_path
from harness.core.options import Runs
from harness.core.terminal import print_json, say

if TYPE_CHECKING:
    from reports.page.report import Report, ReportOptions


ShownSamples: TypeAlias = Annotated[
    Literal["all", "errors", "none"],
    Option(
        "Questions that the page shows, with every answer; errors: those that some model got "
        "wrong.",
        default="all",
    ),
]
ShownImages: TypeAlias = Annotated[
    Literal["inline", "none"],
    Option(
        "Their pictures, small, as far as the data are at hand; none: a page that can be "
        "published without the pictures' licence.",
        default="inline",
    ),
]
WatchRuns: TypeAlias = Annotated[
    bool,
    Option(
        "Write the page again whenever runs change, until it is interrupted.",
        panel=OUTPUT,
        default=False,
    ),
]
ServePage: TypeAlias = Annotated[
    bool,
    Option(
        "Show the page to this machine's browsers, with how far runs are that go on; implies "
        "--watch.",
        panel=OUTPUT,
        default=False,
    ),
]
Port: TypeAlias = Annotated[
    int,
    Option(
        "Port of 127.0.0.1 for --serve; 0: any that is free.",
        panel=OUTPUT,
        default=0,
        metavar="NUMBER",
    ),
]
OpenPage: TypeAlias = Annotated[
    bool, Option("Open the page in the browser.", panel=OUTPUT, flag="open", default=False)
]


app = App()

LARGE_PAGE = 25_000_000
"""Bytes: what mail programs still take."""


@app.command(epilog="Example:\n\nharness report --out page.html")
def report(
    *,
    runs: Runs,
    out: PageOut,
    samples: ShownSamples,
    images: ShownImages,
    data: Annotated[
        list[str] | None,
        Option(
            "Where the data of a task's runs are, if they were moved.",
            metavar="TASK=PATH",
            default=None,
        ),
    ],
    task: Annotated[
        list[str] | None,
        Option(
            "File of a task of your own, ./mine.py, for the pictures of its runs, and for its "
            "metrics that score groups or the whole run and compare models by them.",
            default=None,
        ),
    ],
    watch: WatchRuns,
    serve: ServePage,
    port: Port,
    browse: OpenPage,
    as_json: AsJson,
) -> None:
    """Write the leaderboard: one self-contained HTML page, the paper's rows and the measured."""
    refuse_absent(runs)
    from reports.page.report import ReportOptions

    if port and not serve:
        raise HarnessError("--port is for --serve.")
    if as_json and (watch or serve):
        raise HarnessError("--json is for one page: drop it, or --watch and --serve.")
    if data and (samples == "none" or images == "none"):
        raise HarnessError("--data is for pictures, and the page is to have none.")
    how = ReportOptions(
        samples=samples,
        images=images == "inline",
        tasks=task or (),
        data=_moved_data(data or []),
    )
    if serve:
        _serve(runs, out, how, port=port, browse=browse)
        return
    if watch:
        _watch(runs, out, how, browse=browse)
        return
    made = _write_report(runs, out, how, as_json=as_json)
    if browse:
        _open(out.resolve().as_uri())
    if made.broken:
        raise typer.Exit(made.broken[0].code)


def _watch(runs: Path, out: Path, how: ReportOptions, *, browse: bool) -> None:
    from reports.page.watching import Watch

    watch = Watch(runs, _repeatedly(runs, out, how))
    watch.first()
    say(f"{out} is written again when {runs} changes; press Ctrl-C to stop.", err=True)
    if browse:
        _open(out.resolve().as_uri())
    watch.forever()


def _serve(runs: Path, out: Path, how: ReportOptions, *, port: int, browse: bool) -> None:
    from reports.page.serving import PageServer
    from reports.page.watching import Watch, running

    server = PageServer(port, lambda: running(runs))
    write = _repeatedly(runs, out, how)

    def make() -> None:
        write()
        server.show(out.read_text(encoding="utf-8"))

    watch = Watch(runs, make)
    try:
        watch.first()
        server.start()
        say(f"{server.url} shows {runs}; press Ctrl-C to stop.", err=True)
        if browse:
            _open(server.url)
        watch.forever()
    finally:
        server.close()


def _repeatedly(runs: Path, out: Path, how: ReportOptions) -> Callable[[], None]:
    """Writes the page; says what it cannot show once, not with each page."""
    said: set[str] = set()

    def write() -> None:
        made = _made(runs, out, how)
        for line in [*map(str, made.broken), *made.notes]:
            if line not in said:
                say(line, err=True)
        said.update([*map(str, made.broken), *made.notes])

    return write


def _open(address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        say(f"No browser could be started: open {address} yourself.", err=True)


def _moved_data(given: Sequence[str]) -> dict[str, Path]:
    """--data TASK=PATH, once for each task."""
    paths: dict[str, Path] = {}
    for value in given:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise HarnessError(f"--data {value}: write TASK=PATH, such as scienceqa=./scienceqa.")
        if name in paths:
            raise HarnessError(f"--data is given twice for {name}.")
        paths[name] = user_path(path)
        if not paths[name].exists():
            raise HarnessError(f"--data {value}: there is no {path}.", code=Exit.MISSING)
    return paths


def _made(runs: Path, out: Path, how: ReportOptions) -> Report:
    from reports.page.report import write_report

    if out.exists() and not out.is_file():  # a device would be replaced by a file
        raise _unwritable(out, "it is no file")
    try:
        return write_report(runs, out, how)
    except OSError as error:
        raise _unwritable(out, error.strerror) from error


def _write_report(runs: Path, out: Path, how: ReportOptions, *, as_json: bool) -> Report:
    from harness.cli.printing import count

    made = _made(runs, out, how)
    for one in made.broken:
        show_error(one)
    for note in [*made.notes, *_large(made)]:
        say(note, err=True)
    if as_json:
        written = {"report": str(out), "runs": made.runs, "bytes": made.bytes}
        print_json({**written, "notes": list(made.notes)})
    else:
        say(f"{out}: {count(made.runs, 'measured run')} and the paper's rows")
    return made


def _large(made: Report) -> list[str]:
    """A warning for a page that is too large to send, with the options that make it smaller."""
    if made.bytes <= LARGE_PAGE:
        return []
    smaller = []
    if made.picture_bytes:
        pictures = f"{made.picture_bytes / 1e6:,.1f} MB of pictures"
        smaller.append(f"--images none leaves out {pictures}")
    if made.options.samples == "all":
        smaller.append("--samples errors keeps the questions that some model got wrong")
    if made.options.samples != "none":
        smaller.append("--samples none keeps the tables alone")
    size = f"{made.path} has {made.bytes / 1e6:,.1f} MB, which is slow to open and to send."
    return [f"{size} Smaller: {'; '.join(smaller)}." if smaller else size]


def _unwritable(out: Path, reason: str | None) -> HarnessError:
    return HarnessError(f"{out} cannot be written: {reason}.", remedy="Name a file with --out.")
