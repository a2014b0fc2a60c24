"""An option is declared once, and every command that shares it has it."""

from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from harness import cli
from harness.cli import ask, bench, check, evaluation
from harness.cli.commands import App
from harness.cli.signature import Expand, expanded, group_of
from harness.core import options
from harness.core.declarations import MODEL, Need, Option
from harness.core.errors import HarnessError

SOURCES = sorted(Path(cli.__file__).parent.rglob("*.py"))


def commands(group: Any, path: str = "") -> dict[str, Any]:
    found = {}
    for name, command in group.commands.items():
        found[f"{path}{name}"] = command
        found |= commands(command, f"{path}{name} ") if hasattr(command, "commands") else {}
    return found


COMMANDS = commands(typer.main.get_command(cli.app))


def flags(command: Any) -> list[str]:
    return [flag for one in command.params for flag in one.opts if flag.startswith("--")]


def run(function: Any, *arguments: object) -> Any:
    """A command of its own, called."""
    app = App()
    app.command()(function)
    return CliRunner().invoke(app, list(map(str, arguments)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    depth: Annotated[int, Option("Levels.", minimum=1)] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    place: Annotated[str, Option("Where.")]
    kind: Annotated[Literal["plain", "fancy"], Option("Which kind.")] = "plain"
    rate: Annotated[float, Option("Per second.", flag="how-fast")] = 1.0
    words: Annotated[
        tuple[str, ...],
        Option("Words.", given=str, default="", parse=lambda text: tuple(text.split(","))),
    ] = ()
    quiet: Annotated[
        bool, Option("Say nothing.", needs=(Need(lambda v: v["how_fast"] > 2, "--how-fast 3"),))
    ] = False
    inner: Inner | None = None
    hidden: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    place: Annotated[str, Option("Where.")]
    key: Annotated[str | None, Option("Its key.", alone=True)] = None


def test_a_new_field_is_an_option_of_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """One declaration, in one place: eval, check, bench and ask have it, with flag and help."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ModelOptions(options.ModelOptions):
        colour: Annotated[str, Option("Colour of the model.", panel=MODEL)] = "red"

    for function in (evaluation.eval, check.check, bench.bench, ask.ask):
        before = set(expanded(function).__signature__.parameters)  # type: ignore[attr-defined]
        with monkeypatch.context() as patch:
            patch.setitem(function.__globals__, "ModelOptions", ModelOptions)
            found = expanded(function).__signature__.parameters  # type: ignore[attr-defined]
        assert set(found) - before == {"colour"}
        assert found["colour"].default == "red"
        (option,) = found["colour"].annotation.__metadata__
        assert option.help == "Colour of the model."
        assert option.rich_help_panel == MODEL


def test_no_flag_stands_twice_in_the_sources() -> None:
    """Flags are made from the names of fields; none is written down in two places."""
    written: Counter[str] = Counter()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Option"):
                for value in ast.walk(node):
                    if isinstance(value, ast.Constant) and str(value.value).startswith("--"):
                        written.update(str(value.value).split("/"))
    assert not {flag: count for flag, count in written.items() if count > 1}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_phrase(name: str) -> None:
    """The help of each is a sentence, and no switch shows a value or a doubled no."""
    command = COMMANDS[name]
    for one in command.get_params(typer.Context(command)):
        assert str(one.help).rstrip().endswith((".", "...")), (name, one.name)
        assert str(one.help)[0].isupper(), (name, one.name)
        assert not any(flag.startswith("--no-no") for flag in one.secondary_opts), (name, one.name)
        if getattr(one, "is_flag", False):
            assert one.metavar == ""


def test_a_command_is_called_with_the_dataclass() -> None:
    """Typed, parsed, nested; what is no option keeps its default."""
    given: list[Any] = []

    def command(settings: Settings) -> None:
        given.append(settings)

    done = run(
        command, "--place", "here", "--how-fast", 3, "--quiet", "--depth", 4, "--words", "a,b"
    )
    assert done.exit_code == 0, done.output
    assert given == [
        Settings(place="here", rate=3.0, quiet=True, words=("a", "b"), inner=Inner(depth=4))
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing option '--place'"),
        (("--place", "x", "--kind", "grand"), "'grand' is not one of plain, fancy"),
        (("--place", "x", "--how-fast", "inf"), "inf is not a finite number"),
        (("--place", "x", "--depth", 0), "'0' is not at least 1"),
    ],
)
def test_a_bad_value_is_a_usage_error(arguments: tuple[object, ...], message: str) -> None:
    """With the option's name and what it takes, exit 2."""

    def command(settings: Settings) -> None: ...

    done = run(command, *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())


def test_an_option_that_needs_another_one_is_refused() -> None:
    """By its flag, and only where it was written."""

    def command(settings: Settings) -> None: ...

    refused = run(command, "--place", "x", "--quiet").exception
    assert isinstance(refused, HarnessError)
    assert str(refused) == "--quiet does nothing without --how-fast 3."
    assert run(command, "--place", "x").exit_code == 0


def test_commands_take_parts() -> None:
    """Only some fields, without others, in another panel, with other defaults, or by position."""
    names = [one.name for one in group_of(Settings, Expand(only=("place", "rate"))).every()]
    assert names == ["place", "how_fast"]
    names = [one.name for one in group_of(Settings, Expand(without=("inner", "words"))).every()]
    assert names == ["place", "kind", "how_fast", "quiet"]
    changed = Expand(panel="Output", defaults={"kind": "fancy"}, argument="place")
    place, kind, *_ = group_of(Settings, changed).every()
    assert (place.argument, kind.default, kind.option.panel) == (True, "fancy", "Output")


def test_a_default_holds_for_a_field_that_is_left_out() -> None:
    """Where the command has no option for it, and in a dataclass within another."""
    how = Expand(only=("place",), defaults={"kind": "fancy"})
    made = group_of(Settings, how).make({"place": "here"})
    assert (made.place, made.kind) == ("here", "fancy")


def test_one_dataclass_for_each_value_of_a_repeated_option() -> None:
    """The others have the same values."""
    given: list[Any] = []

    def command(each: Annotated[list[Settings], Expand(each="place")]) -> None:
        given.extend(each)

    done = run(command, "--place", "here", "--place", "there", "--kind", "fancy")
    assert done.exit_code == 0, done.output
    assert [(one.place, one.kind) for one in given] == [("here", "fancy"), ("there", "fancy")]


def test_an_option_for_one_is_refused_for_several() -> None:
    """Weights are those of one model; random ones serve several where the command says so."""

    def strict(each: Annotated[list[Keyed], Expand(each="place")]) -> None: ...

    def lenient(
        each: Annotated[list[Keyed], Expand(each="place", shared={"key": "any"})],
    ) -> None: ...

    two = ("--place", "a", "--place", "b", "--key")
    for function, key in ((strict, "x"), (strict, "any"), (lenient, "x")):
        assert str(run(function, *two, key).exception) == "--key goes with one --place."
    assert run(lenient, *two, "any").exit_code == 0
    assert run(strict, "--place", "a", "--key", "x").exit_code == 0


def test_only_what_was_written_changes_a_preset() -> None:
    """A mapping of the fields that were given, for options whose defaults stand elsewhere."""
    given: list[Any] = []

    def command(changes: Annotated[dict[str, Any], Expand(changes=Settings)]) -> None:
        given.append(changes)

    assert run(command, "--kind", "fancy").exit_code == 0
    assert given == [{"kind": "fancy"}]


def test_two_declarations_of_one_option_are_refused() -> None:
    """The same alias may serve twice; another text or limit may not."""

    def command(settings: Settings, kind: Annotated[str, Option("Something else.")]) -> None: ...

    with pytest.raises(TypeError, match="--kind of command is declared twice"):
        expanded(command)


def test_the_models_are_one_json_document() -> None:
    """Every field of the catalogue's rows, settings of the processor among them."""
    found = json.loads(CliRunner().invoke(cli.app, ["list", "models", "--json"]).output)["models"]
    assert "phi-3.5" in [row["name"] for row in found]
    for row in found:
        assert row["processor_args"] == {}
        assert {"repo", "parameters", "style", "plain_styles"} <= set(row)
