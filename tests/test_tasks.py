"""Tasks by name and by path, what they ask, and what a user's own file may do wrong."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from harness.core.errors import Exit, HarnessError, SampleError
from harness.core.images import ImageRef
from harness.core.types import Prompt, Sample, Style
from tasks import TASKS, load_task

MINE = """
from harness.core.types import Prompt, Extraction, SampleSet, Task
TASK = Task(
    name="mine",
    title="Mine",
    load=lambda options: SampleSet(samples=[], total=0),
    prompt=lambda sample, style: Prompt(text=sample.question, question=sample.question),
    extract=lambda raw, choices: Extraction(raw, "all"),
    metrics=(),
)
"""


def picture(colour: str) -> ImageRef:
    file = BytesIO()
    Image.new("RGB", (4, 2), colour).save(file, "PNG")
    return ImageRef(f"{colour}.png", file.getvalue)


QUESTION = Sample(
    id="7",
    question="Which state is farthest north?",
    target=1,
    choices=("Ohio", "Maine", "Utah"),
    images=(picture("red"), picture("blue")),
    context="Look at the map.",
    lecture="SECRET lecture",
    solution="SECRET solution",
)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_found_by_its_name(name: str) -> None:
    """The list and the tasks agree."""
    task = load_task(name)
    assert task.name == name
    assert 0 < task.max_new_tokens <= 512
    assert task.metrics


@pytest.mark.parametrize("style", get_args(Style))
def test_scienceqa_asks_as_the_papers_code_does(style: Style) -> None:
    """The question with its options; no hint, no lecture, no solution, no answer."""
    prompt = load_task("scienceqa").prompt(QUESTION, style)
    assert prompt.text == "Which state is farthest north? Options: A: Ohio, B: Maine, C: Utah"
    assert (prompt.question, prompt.choices) == (QUESTION.question, QUESTION.choices)
    assert [image.getpixel((0, 0)) for image in prompt.images] == [(255, 0, 0), (0, 0, 255)]
    assert prompt.style == style


@pytest.mark.parametrize(
    ("context", "text"),
    [("", "Why is it so?"), ("Long\ncontext.", "Why is it so?\n\nLong\ncontext.")],
)
def test_vqaonline_asks_with_its_context(context: str, text: str) -> None:
    """The question, an empty line, the context."""
    sample = Sample(id="1", question="Why is it so?", target="SECRET", context=context)
    prompt = load_task("vqaonline").prompt(sample, "direct")
    assert prompt == Prompt(text=text, question="Why is it so?", style="direct")


@pytest.mark.parametrize("name", TASKS)
def test_a_picture_that_cannot_be_decoded_is_an_error_of_its_sample(name: str) -> None:
    """The prompt of that one sample fails, with the picture's name."""
    sample = Sample(id="1", question="q", target=0, images=(ImageRef("7.png", lambda: b"no"),))
    with pytest.raises(SampleError, match=r"^7\.png: "):
        load_task(name).prompt(sample, "direct")


@pytest.mark.parametrize("name", ["mine.py", "my täsk ü.py"])
def test_a_users_own_task_is_loaded_by_its_path(name: str, tmp_path: Path) -> None:
    """Paths may hold spaces and any letters; nothing is left behind in the folder."""
    path = tmp_path / name
    path.write_text(MINE, encoding="utf-8")
    assert load_task(str(path)).title == "Mine"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    """Also within the same second, and with the same length."""
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    load_task(str(path))
    path.write_text(MINE.replace("Mine", "Your"))
    assert load_task(str(path)).title == "Your"


def test_a_users_file_hides_no_module(tmp_path: Path) -> None:
    """Not even when it is called as one is."""
    path = tmp_path / "json.py"
    path.write_text(MINE)
    load_task(str(path))
    assert hasattr(sys.modules.get("json"), "loads")
    assert str(tmp_path) not in sys.path


def test_a_users_file_may_define_dataclasses(tmp_path: Path) -> None:
    """Their annotations are looked up in the module that defines them."""
    path = tmp_path / "mine.py"
    header = "from __future__ import annotations\nimport dataclasses\n"
    path.write_text(header + "@dataclasses.dataclass(slots=True)\nclass A:\n    x: int\n" + MINE)
    assert load_task(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"mine\.py defines no TASK"),
        ("TASK = 'scienceqa'\n", r"mine\.py has a str as its TASK"),
        ("x = 1\ndef f(:\n", r"mine\.py, line 2: SyntaxError"),
        ("import sys\n\nraise ValueError('no luck')\n", r"mine\.py, line 3: ValueError: no luck"),
        ("import no_such_module\n", r"mine\.py, line 1: ModuleNotFoundError.*no_such_module"),
        ("def f():\n    return 1 / 0\n\nf()\n", r"mine\.py, line 2: ZeroDivisionError"),
        ("import json\njson.loads('{')\n", r"mine\.py, line 2: JSONDecodeError"),
        ("import sys\nsys.exit()\n", r"mine\.py, line 2: SystemExit"),
        ("x = '\udcff'\n", r"mine\.py, line 1: "),
        ("x = 1\0\n", r"mine\.py, line 1: "),
    ],
)
def test_a_users_file_that_fails_is_named_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    """The message says where and what, without a traceback."""
    path = tmp_path / "mine.py"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(HarnessError, match=message) as caught:
        load_task(str(path))
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "sciencqa",
            r"no task 'sciencqa'\.\nThe tasks are scienceqa, vqaonline, .*\nDid you mean s",
        ),
        ("imagenet", r"no task 'imagenet'\.\n.*\nA task of your own is a path"),
        ("", r"no task ''"),
        ("schema", r"no task 'schema'"),
        ("./no/such.py", r"no task file no/such\.py"),
    ],
)
def test_an_unknown_task_lists_those_there_are(name: str, message: str) -> None:
    """Modules beside the tasks are no tasks."""
    with pytest.raises(HarnessError, match=message):
        load_task(name)


@pytest.mark.process
def test_listing_tasks_imports_nothing_heavy() -> None:
    """The tasks themselves can be looked at without the libraries that load their data."""
    code = (
        "import sys, tasks\n"
        "for name in tasks.TASKS: tasks.load_task(name)\n"
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'bert_score', 'pyarrow',"
        " 'pandas', 'PIL', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
