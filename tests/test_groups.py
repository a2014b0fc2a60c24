"""Groups of tasks: what a file may say, and one command for all of its tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.cli.candidates import complete_tasks
from harness.core.errors import HarnessError
from harness.core.types import Value
from harness.run.folder import RunFolder
from harness.run.means import means
from harness.run.records import Counts, MetricInfo, ModelInfo, RunRecord, TaskInfo
from tasks import TASKS, groups, load_task
from tasks.groups import Entry, expand, load_group
from tests.conftest import Result

MINE = """
from dataclasses import replace
from tasks.scienceqa import TASK
TASK = replace(TASK, name="mine", title="Mine")
"""


def group(folder: Path, text: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def test_the_packages_groups_name_tasks_that_are_there() -> None:
    """small-vlm has the sets that papers on small models report."""
    assert groups.names() == ["small-vlm"]
    found = load_group("small-vlm")
    assert [entry.task for entry in found.entries] == [
        *("mmstar", "mmmu", "ai2d", "textvqa", "chartqa", "docvqa", "ocrbench", "scienceqa"),
        *("pope", "realworldqa", "mathvista"),
    ]
    assert complete_tasks("sm") == ["small-vlm"]
    assert not set(groups.names()) & set(TASKS)


def test_a_file_names_tasks_files_and_groups(tmp_path: Path) -> None:
    """Paths are relative to the file that has them; the outer file's options win; each task once."""
    group(
        tmp_path,
        'tasks = ["gqa", "./own.py", "pope"]\n[options.gqa]\nlimit = 5\nstyle = "plain"\n'
        '[options."./own.py"]\ndata = "rows"\n',
        "inner/inner.toml",
    )
    outer = group(
        tmp_path,
        'title = "All"\ntasks = ["pope", "inner/inner.toml", "gqa"]\n'
        '[options.gqa]\nlimit = 9\nsplit = "val"\n',
    )
    found = load_group(outer)
    assert (found.name, found.title) == ("mine", "All")
    inner = tmp_path / "inner"
    assert list(found.entries) == [
        Entry(task="pope"),
        Entry(task="gqa", limit=9, style="plain", split="val"),
        Entry(task=str(inner / "own.py"), data=inner / "rows"),
    ]


def test_tasks_and_groups_are_given_together(tmp_path: Path) -> None:
    """A task that is in two of them is asked once; in two ways it is refused."""
    file = group(tmp_path, 'tasks = ["gqa", "pope"]\n[options.pope]\nlimit = 3\n')
    assert [e.task for e in expand([file, "gqa", "docvqa"])] == ["gqa", "pope", "docvqa"]
    with pytest.raises(HarnessError, match="--task pope is given twice, with other options"):
        expand([file, "pope"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks = [", r"mine\.toml is not TOML"),
        ('title = "x"', r"mine\.toml, tasks: must be a list"),
        ("tasks = []", r"tasks: must be a list"),
        ("tasks = [1]", r"tasks: must be a list"),
        ('tasks = ["gqa"]\ntitle = 1', r"title: must be a text"),
        ('tasks = ["gqa"]\nname = "x"', r"'name' is nothing that a group has.*\n.*title, tasks"),
        ('task = ["gqa"]', r"'task' is nothing that a group has. Did you mean 'tasks'"),
        ('tasks = ["gqaa"]', r"no task or group 'gqaa'\.\nDid you mean gqa\?"),
        ('tasks = ["smal-vlm"]', r"no task or group 'smal-vlm'\.\nDid you mean small-vlm\?"),
        ('tasks = ["./no.toml"]', r"group .*no\.toml cannot be read: No such file"),
        ('tasks = ["./mine.toml"]', r"names itself"),
        ('tasks = ["gqa"]\noptions = 3', r"options: must be a table"),
        (
            'tasks = ["gqa"]\n[options.pope]\nlimit = 1',
            r"options\.pope: it is no task of this group",
        ),
        ('tasks = ["gqa"]\n[options]\ngqa = 1', r"options\.gqa: must be a table"),
        ('tasks = ["gqa"]\n[options.gqa]\nlimits = 1', r"'limits' is no option.*'limit'"),
        ('tasks = ["gqa"]\n[options.gqa]\nlimit = 0', r"options\.gqa, limit: 0 does not fit"),
        ('tasks = ["gqa"]\n[options.gqa]\nlimit = true', r"limit: True does not fit"),
        ('tasks = ["gqa"]\n[options.gqa]\nstyle = "loud"', r"style: 'loud' does not fit.*plain"),
        ('tasks = ["gqa"]\n[options.gqa]\nstyle = []', r"style: \[\] does not fit"),
    ],
)
def test_what_a_group_cannot_be_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """With the file, the key and what would be right."""
    with pytest.raises(HarnessError, match=message):
        load_group(group(tmp_path, text))


def test_one_task_is_no_group() -> None:
    """Commands that take one task say so; a group that is misspelt is proposed."""
    with pytest.raises(HarnessError, match="small-vlm is a group of tasks"):
        load_task("small-vlm")
    with pytest.raises(HarnessError, match=r"'smal-vlm'\.\nDid you mean small-vlm\?"):
        expand(["smal-vlm"])


@pytest.fixture
def mixed(tmp_path: Path, drawn: Path) -> str:
    """A group of two tasks with data and one whose data are missing."""
    (tmp_path / "own.py").write_text(MINE)
    return group(
        tmp_path,
        'tasks = ["scienceqa", "ai2d", "./own.py"]\n'
        f'[options.scienceqa]\ndata = "{drawn}"\nlimit = 6\n'
        '[options.ai2d]\ndata = "./missing"\n'
        f'[options."./own.py"]\ndata = "{drawn}"\nstyle = "plain"\n',
    )


def test_one_command_evaluates_a_group(
    mixed: str, tiny: Any, command: Callable[..., Result], tmp_path: Path
) -> None:
    """The model is loaded once, each task has its run and its options; one that fails is told at
    the end and by the exit code, and the same command again asks nothing."""
    arguments = (
        *("eval", "--model", tiny("vilt"), "--name", "v", "--task", mixed, "--limit", 4),
        *("--mode", "loglikelihood", "--runs", tmp_path / "runs"),
    )
    done = command(*arguments)
    assert done.code == 3
    assert done.stderr.count("Error: ") == 1
    summary = done.stdout.partition("All runs")[2]
    assert [line.split()[1] for line in summary.splitlines() if line.startswith("  v ")] == [
        "scienceqa",
        "mine",
    ]
    assert "failed" in summary
    assert "v: Accuracy, mean of 2 tasks (scienceqa, mine): " in summary
    first = RunFolder(tmp_path / "runs" / "scienceqa" / "v" / "test").existing_record()
    second = RunFolder(tmp_path / "runs" / "mine" / "v" / "test").existing_record()
    assert (first.counts.done, second.counts.done) == (4, 4)
    assert (first.settings["style"], second.settings["style"]) == ("direct", "plain")
    assert first.configuration["task"] == ["scienceqa"]
    assert second.configuration["style"] == "plain"
    again = command(*arguments, "--json")
    assert again.code == 3
    document = again.json
    assert [run["task"]["name"] for run in document["runs"]] == ["scienceqa", "mine"]
    assert [(e["task"], e["code"]) for e in document["errors"]] == [("ai2d", 3)]
    assert document["means"][0]["tasks"] == ["scienceqa", "mine"]
    assert [len(run["sessions"]) for run in document["runs"]] == [1, 1]


def test_a_dry_run_of_a_group_shows_every_task(
    mixed: str, tiny: Any, command: Callable[..., Result]
) -> None:
    """With what is missing, and nothing is run."""
    done = command(
        *("eval", "--model", tiny("vilt"), "--task", mixed, "--mode", "loglikelihood"),
        *("--dry-run", "--json"),
    )
    found = {run["task"]: (run["n"], bool(run["missing"])) for run in done.json["runs"]}
    assert found == {"scienceqa": (6, False), "ai2d": (None, True), "mine": (64, False)}
    assert done.json["configuration"]["task"] == [mixed]


def test_python_takes_a_list_of_tasks_and_groups(mixed: str, tiny: Any, tmp_path: Path) -> None:
    """It gives the runs, and what failed beside them; a group alone says how it is given."""
    options: Any = {"name": "v", "mode": "loglikelihood", "runs": tmp_path / "runs", "limit": 2}
    runs = harness.evaluate(tiny("vilt"), [mixed], **options)
    assert [run.record.task.name for run in runs] == ["scienceqa", "mine"]
    assert [failure.task for failure in runs.failures] == ["ai2d"]
    assert "mean of 2 tasks (scienceqa, mine)" in repr(runs)
    assert runs[0].n == 2
    assert len(runs[:1]) == 1
    with pytest.raises(HarnessError, match=r'task=\["small-vlm"\]'):
        harness.evaluate(tiny("vilt"), "small-vlm")
    with pytest.raises(HarnessError, match="data is of one task"):
        harness.evaluate(tiny("vilt"), ["scienceqa"], data="x")
    with pytest.raises(HarnessError, match="data is for 'gq', which is not evaluated"):
        harness.evaluate(tiny("vilt"), ["gqa"], data={"gq": "x"})
    with pytest.raises(HarnessError, match="list without a task"):
        harness.evaluate(tiny("vilt"), [])


def record(task: str, metric: str, value: float | None, **changes: Any) -> RunRecord:
    return RunRecord(
        task=TaskInfo(
            name=task, title=task, split="test", synthetic=changes.pop("synthetic", False)
        ),
        model=ModelInfo(name="m", title="M"),
        fingerprint={},
        counts=Counts(total=1),
        status=changes.pop("status", "complete"),
        metrics={metric: Value(value=value, n=1)},
        metric_info={metric: MetricInfo(title=metric.title(), unit="%")},
    )


def test_a_mean_is_of_one_metric_and_says_which_tasks() -> None:
    """Unlike metrics, synthetic questions and missing scores are in none."""
    runs = [
        record("a", "accuracy", 0.5),
        record("b", "f1", 0.9),
        record("c", "accuracy", 0.7, status="partial"),
        record("d", "accuracy", None),
        record("e", "accuracy", 1.0, synthetic=True),
    ]
    (mean,) = means(runs)
    assert mean.words == (
        "M: Accuracy, mean of 2 tasks (a, c): 60.00%; not all questions were answered"
    )
    assert not means(runs[:2])
    assert json.dumps(mean.tasks) == '["a", "c"]'


def test_the_runs_of_a_group_are_exported_together(
    mixed: str, tiny: Any, command: Callable[..., Result], tmp_path: Path
) -> None:
    """Tables of its tasks and no others, models by tasks among them; a user's own task too."""
    options: Any = {"name": "v", "mode": "loglikelihood", "runs": tmp_path / "runs", "limit": 2}
    harness.evaluate(tiny("vilt"), [mixed], **options)
    arguments = ("export", "--format", "json", "--runs", tmp_path / "runs")
    tables = {table["id"] for table in command(*arguments, "--task", mixed).json["tables"]}
    assert {name.partition("-")[0] for name in tables} >= {"scienceqa", "mine"}
    assert not any(name.startswith("vqaonline") for name in tables)
    only = {table["id"] for table in command(*arguments, "--task", "mine").json["tables"]}
    assert {name.partition("-")[0] for name in only} == {"mine"}
    missing = command(*arguments, "--task", "gqa")
    assert missing.code == 2
    assert "There are tables of mine, scienceqa, vqaonline." in missing.stderr


@pytest.mark.slow
@pytest.mark.parametrize("rows", ["vqa-rad/open.jsonl", "easy-vqa"])
def test_tasks_with_written_answers_run_on_real_questions(
    rows: str, real_data: Path, command: Callable[..., Result], tmp_path: Path
) -> None:
    """With a user's own data in the schema of JSONL, by a miniature, from end to end."""
    names = ["textvqa", "vizwiz", "gqa", "docvqa", "aokvqa-direct", "mathvista"]
    options = "".join(f'[options.{name}]\ndata = "{real_data / rows}"\n' for name in names)
    done = command(
        *("eval", "--model", "moondream", "--size", "mini", "--limit", 2, "--max-new-tokens", 8),
        *("--task", group(tmp_path, f"tasks = {json.dumps(names)}\n{options}"), "--json"),
        *("--runs", tmp_path / "runs"),
    )
    assert done.code == 0, done.stderr
    assert [run["task"]["name"] for run in done.json["runs"]] == names
    assert {run["counts"]["done"] for run in done.json["runs"]} == {2}
