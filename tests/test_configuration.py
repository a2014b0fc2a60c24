"""Options from a TOML file: every option by its name, the command line wins, errors name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from harness import cli
from harness.cli.commands import App
from harness.cli.configuration import configuration_of, to_toml
from harness.core.errors import Exit, HarnessError
from harness.run.folder import RunFolder

app = App()
GIVEN: dict[str, Any] = {}


@app.command(configurable=True)
def go(  # noqa: PLR0917  # typer calls it by name
    context: typer.Context,
    model: Annotated[list[str], typer.Option("--model", "-m")],
    task: Annotated[str, typer.Argument()] = "scienceqa",
    style: Annotated[Literal["plain", "direct", "structured"] | None, typer.Option()] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    shots: Annotated[int, typer.Option(min=0)] = 0,
    temperature: Annotated[float, typer.Option(max=2)] = 0.0,
    runs: Annotated[Path, typer.Option("--runs")] = Path("runs"),
    processor: Annotated[list[str] | None, typer.Option("--processor-arg")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Keep what the command was given, an option of each kind."""
    GIVEN.update(context.params, configuration=configuration_of(context))


@app.command()
def other() -> None:
    """Make the first command one of several, as ours are."""


def run(folder: Path, toml: str, *arguments: str) -> dict[str, Any]:
    """What the command was given; raises the HarnessError, or AssertionError with a usage error."""
    GIVEN.clear()
    path = folder / "experiment.toml"
    path.write_text(toml)
    done = CliRunner().invoke(
        app, ["go", "--config", str(path), *arguments], env={"COLUMNS": "400"}
    )
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    said = " ".join(done.output.replace("│", " ").split())
    assert done.exit_code == 0, said
    return dict(GIVEN)


def test_every_option_goes_by_its_name(tmp_path: Path) -> None:
    """With dashes or underscores; an argument by its own; KEY=VALUE as a table."""
    given = run(
        tmp_path,
        'model = ["a", "b"]\ntask = "vqaonline"\nstyle = "plain"\nbatch_size = 4\n'
        'temperature = 0.5\nruns = "~/elsewhere"\njson = true\nprocessor-arg = {crops = 4}\n',
    )
    assert given["model"] == ["a", "b"]
    assert (given["task"], given["style"], given["batch_size"]) == ("vqaonline", "plain", 4)
    assert (given["temperature"], given["as_json"]) == (0.5, True)
    assert given["runs"] == Path.home() / "elsewhere"
    assert given["processor"] == ["crops=4"]


def test_the_command_line_wins(tmp_path: Path) -> None:
    """Over the file, option by option; what is in neither keeps its default."""
    given = run(tmp_path, 'model = "a"\nbatch-size = 4\nshots = 2', "--batch-size", "8", "-m", "c")
    assert (given["model"], given["batch_size"], given["shots"]) == (["c"], 8, 2)
    assert given["temperature"] == 0.0


def test_a_written_configuration_is_read_back(tmp_path: Path) -> None:
    """The options that a command came to, as TOML: the same options again."""
    first = run(
        tmp_path, 'model = ["a"]\nprocessor-arg = {crops = 4}\nstyle = "plain"\n', "--shots", "3"
    )
    again = run(tmp_path, to_toml(first["configuration"]))
    assert again == first
    assert first["configuration"]["processor-arg"] == ["crops=4"]
    assert not {"config", "json"} & {*first["configuration"]}


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('modle = "a"', "'modle' is not an option of this command. Did you mean 'model'?"),
        ("config = 'x'", "'config' is not an option"),
        ("as_json = true", "'as_json' is not an option"),
        ("batch-size = [1, 2]", "batch-size takes one value, not a list"),
        ("batch-size = {a = 1}", "batch-size takes one value, not a table"),
        ("batch-size = true", "batch-size takes a value, not true or false"),
        ("json = 1", "json takes true or false"),
        ("a = [", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, toml: str, said: str) -> None:
    """Nothing runs; the message has the file and the key."""
    with pytest.raises(HarnessError) as error:
        run(tmp_path, toml)
    assert said in error.value.what
    assert "experiment.toml" in error.value.what
    assert not GIVEN


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("batch-size = 0", "'0' is not at least 1."),
        ('batch-size = "many"', "'many' is not a whole number."),
        ("temperature = 3", "'3' is not at most 2.0."),
        ('style = "structred"', "not one of plain, direct, structured. Did you mean 'structured'?"),
    ],
)
def test_a_value_that_an_option_does_not_take(tmp_path: Path, toml: str, said: str) -> None:
    """The message says what it takes, and where the value stands; on the command line, no file."""
    with pytest.raises(AssertionError) as error:
        run(tmp_path, f'model = "a"\n{toml}')
    assert said in str(error.value)
    assert "experiment.toml" in str(error.value)
    key, _, value = toml.partition(" = ")
    with pytest.raises(AssertionError) as error:
        run(tmp_path, 'model = "a"', f"--{key}", value.strip('"'))
    assert said in str(error.value)
    assert "experiment.toml" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Missing, so that a script can tell it from a wrong option."""
    done = CliRunner().invoke(app, ["go", "--config", str(tmp_path / "none.toml")])
    assert isinstance(done.exception, HarnessError)
    assert done.exception.code == Exit.MISSING


@pytest.mark.parametrize("spelt", [["--models", "a"], ["--models=a"], ["--model", "a"]])
def test_options_have_the_names_of_other_harnesses(tmp_path: Path, spelt: list[str]) -> None:
    """`--models` is `--model`, `--num-fewshot` is `--shots`; what follows `--` is left alone."""
    given = run(tmp_path, "", *spelt, "--num-fewshot", "2", "--", "--tasks")
    assert (given["model"], given["shots"], given["task"]) == (["a"], 2, "--tasks")


def test_aliases_are_hidden() -> None:
    """The help has our names only."""
    said = CliRunner().invoke(app, ["go", "--help"]).output
    assert "--model" in said
    assert "--models" not in said
    assert "--num-fewshot" not in said


def test_a_run_holds_its_configuration(tiny, drawn: Path, tmp_path: Path) -> None:
    """What run.json holds makes the same run again; a task by path stays a path."""
    mine = tmp_path / "mine.py"
    mine.write_text("from tasks.scienceqa import TASK\n")
    command = [
        *("eval", "--model", str(tiny("vilt")), "--task", str(mine), "--data", str(drawn)),
        *("--limit", "2", "--name", "one", "--mode", "loglikelihood"),
    ]
    done = CliRunner().invoke(cli.app, [*command, "--runs", str(tmp_path / "a"), "--fresh"])
    assert done.exit_code == 0, done.output
    first = RunFolder(tmp_path / "a" / "scienceqa" / "one" / "test").read_record()
    assert first is not None
    held = dict(first.configuration)
    assert (held["task"], held["limit"], held["mode"]) == ([str(mine)], 2, "loglikelihood")
    assert "fresh" not in held
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(to_toml(held))
    more = ["--config", str(experiment), "--runs", str(tmp_path / "b")]
    assert CliRunner().invoke(cli.app, ["eval", *more]).exit_code == 0
    second = RunFolder(tmp_path / "b" / "scienceqa" / "one" / "test").read_record()
    assert second is not None
    assert second.fingerprint == first.fingerprint
    assert {**second.configuration, "runs": ""} == {**held, "runs": ""}
