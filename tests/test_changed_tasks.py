"""A run whose questions are worded otherwise is another run; one whose extraction changed is
extracted again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.run.folder import RunFolder
from tasks.task_file import asking_part

MINE = '''
"""A task."""
import re
from dataclasses import replace

from harness.core.types import Extraction
from tasks.scienceqa import TASK as BASE

HINT = "Hint:"
LETTER = re.compile("[A-E]")


def with_hint(text, sample):
    return f"{text} {HINT} look" if sample.id.endswith("3") else text


def prompt(sample, style):
    made = BASE.prompt(sample, style)
    return replace(made, text=with_hint(made.text, sample))


def first(raw):
    """The first letter."""
    return LETTER.search(raw)


def read(raw, choices):
    return Extraction(0, "mine") if first(raw) or not first(raw) else None


TASK = replace(BASE, name="mine", title="Mine", prompt=prompt, extract=read)
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another"),
        ('"""A task."""', '"""My task."""'),
        ('"""The first letter."""', '"""Whatever stands first."""'),
        ("re.compile", "re.compile  # the letters"),
        ('LETTER = re.compile("[A-E]")', 'LETTER = re.compile("[A-Z]")'),
        ('Extraction(0, "mine")', 'Extraction(1, "mine")'),
        ("LETTER.search(raw)", "LETTER.match(raw)"),
        ("import re ", "import regex as re "),
        ('title="Mine"', 'title="My own"'),
        (", extract=read)", ")"),
        (", extract=read)", ", extract=read, metrics=(print,))"),
        ("def first", "def second():\n    return 1\n\n\ndef first"),
    ],
)
def test_what_comes_after_an_answer_asks_nothing(old: str, new: str) -> None:
    """Extraction, metrics, what they use, layout and comments."""
    source = MINE.replace("import re\n", "import re  # a comment\n")
    changed = source.replace(old, new)
    assert changed != source
    assert asking_part(changed) == asking_part(source)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('HINT = "Hint:"', 'HINT = "Note:"'),
        (" look", " look there"),
        ("text=with_hint(made.text, sample)", "text=made.text"),
        ("from tasks.scienceqa", "from tasks.vqaonline"),
        (", prompt=prompt", ""),
        (", extract=read)", ", read=read, max_new_tokens=4)"),
        ("\n\nTASK", "\n\nBASE.__doc__\nTASK"),
        ("with_hint(made.text, sample)", "with_hint(first(made.text), sample)"),
    ],
)
def test_what_is_asked_depends_on(old: str, new: str) -> None:
    """The prompt, all that it uses, and what cannot be told from it."""
    changed = MINE.replace(old, new)
    assert changed != MINE
    assert asking_part(changed) != asking_part(MINE)


def test_what_both_use_asks() -> None:
    """A function of the extraction that the prompt uses as well."""
    both = MINE.replace("with_hint(made.text, sample)", "with_hint(first(made.text), sample)")
    assert "LETTER" in asking_part(both)
    assert asking_part(both.replace("[A-E]", "[A-Z]")) != asking_part(both)


@pytest.fixture
def mine(command, tiny, questions: Path, tmp_path: Path) -> Callable[..., Any]:
    """`harness eval` with a task file of one's own on eight questions."""
    rows = (questions / "test.jsonl").read_text().splitlines()[:8]
    (questions / "test.jsonl").write_text("\n".join(rows) + "\n")

    def run(source: str, *more: object) -> Any:
        (tmp_path / "mine.py").write_text(source)
        return command(
            *("eval", "--model", tiny("llava-next"), "--task", tmp_path / "mine.py"),
            *("--data", questions, "--runs", tmp_path / "runs", "--max-new-tokens", 4, "--json"),
            *more,
        )

    return run


def stored(result: Any) -> list[dict[str, Any]]:
    folder = Path(result.json["runs"][0]["folder"])
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        (" look", " look there", "wording"),
        ('if sample.id.endswith("3")', 'if sample.id.endswith("7")', "wording"),
        (
            "return replace(made, text",
            "made.images[0].load()\n    return replace(made, text",
            "task_file",
        ),
    ],
)
def test_questions_in_other_words_are_another_run(mine, old: str, new: str, field: str) -> None:
    """Whichever question it is: it is refused, and nothing is mixed."""
    assert mine(MINE, "--limit", 2).code == 0
    result = mine(MINE.replace(old, new))
    assert result.code == 2
    assert field in result.json["errors"][0]["what"]


def test_another_extraction_alone_extracts_again(mine, caplog: pytest.LogCaptureFixture) -> None:
    """What is stored and what comes after it are extracted by one extractor."""
    first = mine(MINE, "--limit", 2)
    assert {row["rule"] for row in stored(first)} == {"mine"}
    changed = MINE.replace('Extraction(0, "mine")', 'Extraction(1, "other")')
    second = mine(changed)
    assert second.code == 0, second.stderr
    assert [row["rule"] for row in stored(second)] == ["other"] * 8
    assert [row["answer"] for row in stored(second)] == [1] * 8
    assert "of 2 stored answers, extracted again, 2 have changed" in caplog.text
    again = mine(MINE)
    assert {row["rule"] for row in stored(again)} == {"mine"}
    assert again.json["runs"][0]["metrics"] != second.json["runs"][0]["metrics"]
    raws = [[row["raw"] for row in stored(run)] for run in (second, again)]
    assert raws[0] == raws[1]


def test_a_run_of_an_earlier_version_goes_on(mine) -> None:
    """It has neither of the newer hashes; from then on it has them, and is extracted again."""
    folder = RunFolder(Path(mine(MINE, "--limit", 2).json["runs"][0]["folder"]))
    record = folder.existing_record()
    newer = ("wording", "task_file", "extraction")
    old = {key: value for key, value in record.fingerprint.items() if key not in newer}
    folder.write_record(replace(record, fingerprint=old))
    folder.rewrite([replace(p, rule="by an older rule") for p in folder.read_predictions()])
    result = mine(MINE)
    assert result.code == 0, result.stderr
    assert [row["rule"] for row in stored(result)] == ["mine"] * 8
    assert set(newer) <= set(folder.existing_record().fingerprint)


def test_a_task_that_looks_at_its_pictures_is_asked_with_blank_ones(mine) -> None:
    """To know how it words its questions; their size is no matter."""
    looking = MINE.replace(
        "made = BASE.prompt(sample, style)",
        "made = BASE.prompt(sample, style)\n"
        "    half = [side // 2 for side in sample.images[0].decode().size]\n"
        "    made = replace(made, images=(made.images[0].resize(half),))",
    )
    assert mine(looking, "--limit", 2).code == 0
