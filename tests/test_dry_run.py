"""`harness eval --dry-run`: a configuration that runs, the first prompt as the model gets it, and
what is missing; nothing is written."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness import cli
from harness.core.errors import Exit
from harness.core.options import GenerationOptions, ModelOptions, RunOptions
from harness.core.types import DataOptions
from harness.run.preview import preview
from harness.run.task_data import Data
from harness.sources.weights import Weights
from tasks import load_task

FAMILIES = ("llava-cot", "llava-next", "phi-3.5", "moondream", "kosmos-2")


def options_for(runs: Path, **generation: object) -> RunOptions:
    return RunOptions(runs=runs, limit=3, generation=GenerationOptions(**generation))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_is_the_one_that_the_model_gets(tiny, tmp_path: Path, family: str) -> None:
    """Template, style, shots and shuffled options as in the run; no weights are read for it."""
    model = ModelOptions(model=str(tiny(family)))
    data = Data(load_task("scienceqa-mini"), DataOptions())
    found = preview(model, data, options_for(tmp_path, style="cot", shots=1, shuffle=3))
    assert not found.missing
    source = Weights(model)
    texts = []
    loaded = source.load()
    wording = loaded._prompt_format
    loaded._prompt_format = lambda prompt: texts.append(wording(prompt)) or texts[-1]
    from harness.core.types import Decoding
    from harness.run.answering import prompt_settings
    from harness.run.runner import Runner

    runner = Runner(
        loaded,
        data.task,
        prompts=prompt_settings(data, found.settings),
        decoding=Decoding(max_new_tokens=1),
        digests=data.digests,
    )
    runner.answer(data.samples.samples[:1])
    assert found.prompt == texts[0]
    assert found.images == 1


def test_vilt_shows_its_masked_sentence(tiny, drawn: Path, tmp_path: Path) -> None:
    """The sentence with the most masks, from [CLS] to [SEP]."""
    data = Data(load_task("scienceqa"), DataOptions(path=drawn))
    found = preview(ModelOptions(model=str(tiny("vilt"))), data, options_for(tmp_path))
    assert found.prompt is not None
    assert found.prompt.startswith("[CLS] question")
    assert found.prompt.endswith("[MASK] [SEP]")


def test_what_is_printed_is_a_configuration(tiny, drawn: Path, tmp_path: Path) -> None:
    """It says the same again when it is read; nothing is written."""
    command = [
        *("eval", "--dry-run", "--task", "scienceqa", "--data", str(drawn), "--style", "plain"),
        *("--model", str(tiny("vilt")), "--limit", "5", "--runs", str(tmp_path / "runs")),
    ]
    first = CliRunner().invoke(cli.app, command)
    assert first.exit_code == 0, first.output
    assert (tomllib.loads(first.stdout)["style"], tomllib.loads(first.stdout)["limit"]) == (
        "plain",
        5,
    )
    assert "# n: 5 of " in first.stdout
    assert "# Nothing is missing." in first.stdout
    file = tmp_path / "experiment.toml"
    file.write_text(first.stdout)
    again = CliRunner().invoke(cli.app, ["eval", "--config", str(file), "--dry-run"])
    assert again.stdout == first.stdout
    assert [*tmp_path.iterdir()] == [file]


def test_what_is_missing_is_listed_for_each_run(tiny, drawn: Path, tmp_path: Path) -> None:
    """Model and data, with the commands that help; a run that is there and differs too."""
    command = [
        *("eval", "--dry-run", "--task", "scienceqa,vqaonline", "--data", f"scienceqa={drawn}"),
        *("--model", f"phi-3.5,{tiny('vilt')}", "--limit", "2", "--runs", str(tmp_path)),
    ]
    done = CliRunner().invoke(cli.app, [*command, "--json"])
    assert done.exit_code == Exit.MISSING
    runs = json.loads(done.stdout)["runs"]
    assert [len(run["missing"]) for run in runs] == [1, 2, 0, 1]
    assert "hf download microsoft/Phi-3.5-vision-instruct" in runs[0]["missing"][0]["remedy"]


def test_a_run_that_is_there_is_counted_or_differs(tiny, drawn: Path, tmp_path: Path) -> None:
    """What would be resumed, and which settings would stop it."""
    command = [
        *("eval", "--task", "scienceqa", "--data", str(drawn), "--model", str(tiny("vilt"))),
        *("--name", "one", "--runs", str(tmp_path)),
    ]
    assert CliRunner().invoke(cli.app, [*command, "--limit", "2"]).exit_code == 0
    more = CliRunner().invoke(cli.app, [*command, "--limit", "3", "--dry-run"])
    assert "# n: 3 of " in more.stdout
    assert "2 of them are answered" in more.stdout
    other = CliRunner().invoke(cli.app, [*command, "--style", "cot", "--dry-run"])
    assert other.exit_code == Exit.USAGE
    assert "style" in other.stdout.split("# Missing: ")[1]
