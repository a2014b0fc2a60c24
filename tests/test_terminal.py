"""Text that came from data, names or models reaches no terminal as something that it obeys."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from harness.cli import _print_traceback
from harness.core import progress
from harness.core.terminal import harmless, print_json, say
from tests.test_scoring import choice_rows, write

ROOT = Path(__file__).parents[1]
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROL = "\x00\x07\x08\x1b\x7f\x80\x85\x9b\x9f\u2028\u2029\ufeff\U000e0041"
EVIL = f"evil\x1b[31m\x9b31m\u202eX{BIDI}{CONTROL}"


def obeyed(text: str) -> list[str]:
    """The characters in a text that a terminal obeys, line breaks apart."""
    return [c for c in text if c != "\n" and harmless(c) != c]


@pytest.mark.parametrize("character", [*BIDI, *CONTROL, "\ud800", "\r", "\t"])
def test_a_control_character_is_replaced(character: str) -> None:
    """Whatever moves the cursor, colours, or turns the order of what follows."""
    assert harmless(f"a{character}b") == "a\ufffdb"
    assert obeyed(character)


def test_what_people_write_stays() -> None:
    """Letters of any script, combining marks, symbols."""
    text = "Größe 模型 モデル מודל नमस्ते e\u0301 👍 — “x”"
    assert harmless(text) == text


def test_lines_are_said_as_lines(capfd) -> None:
    """A line break is one; all else is replaced."""
    say(f"first {EVIL}\nsecond", err=True)
    said = capfd.readouterr().err
    assert said.count("\n") == 2
    assert not obeyed(said)


def test_json_holds_every_text_and_shows_none_of_it_raw(capfd) -> None:
    """Escaped, so that whoever parses it has the very text; other scripts as they are."""
    document = {EVIL: [EVIL, {"模型": "👍 \ud800"}]}
    print_json(document)
    out = capfd.readouterr().out
    assert not obeyed(out)
    assert "模型" in out
    assert "👍" in out
    assert json.loads(out) == document


@pytest.mark.parametrize("shown", [progress.Lines, progress.Bar])
def test_progress_shows_a_hostile_label_harmlessly(capfd, shown) -> None:
    """On a terminal and elsewhere."""
    with shown(EVIL, total=2, done=0, unit="samples") as bar:
        bar.advance(2)
    said = capfd.readouterr().err
    assert "evil" in said
    assert not {"\x9b", "\u202e"} & set(said)
    assert "\x1b[31m" not in said


def test_commands_show_hostile_names_harmlessly(command, tmp_path: Path) -> None:
    """Of a file, a model, a folder of runs and a page; whatever the command, and what is wrong."""
    file = write(tmp_path / f"{EVIL.replace(chr(0), '')}.jsonl", choice_rows(["A", "B"]))
    runs, page = tmp_path / "r\u202e\x1b[31m\x9b", tmp_path / "\u202ep\x1b[31m.html"
    rows = write(tmp_path / "bad.jsonl", [{"id": EVIL, "raw": 1}])
    for arguments in (
        ("score", file, "-t", "scienceqa", "--runs", runs),
        ("score", file, "-t", "scienceqa", "--runs", runs, "-m", "x\u202e", "--json"),
        ("score", rows, "-t", "scienceqa", "--skip-invalid"),
        ("list", "runs", "--runs", runs),
        ("list", "runs", "--runs", runs, "--json"),
        ("report", "--runs", runs, "--out", page),
        ("export", "--format", "json", "--runs", runs, "--out", tmp_path / "\u202e.json"),
        ("export", "--format", "csv", "--runs", runs),
        ("show", runs),
        ("show", runs, page),
        ("compare", f"--{EVIL}", "x"),
        (EVIL,),
        ("score", file, "-t", EVIL),
        ("draw", tmp_path / "\u202e", "--count", 1),
    ):
        done = command(*arguments)
        assert not obeyed(done.stdout), arguments
        # Boxes around usage errors may be coloured by who draws them.
        assert not {"\x9b", "\u202e"} & set(done.stderr), arguments
        assert "\x1b[31m" not in done.stderr, arguments


def test_a_traceback_shows_no_name_raw(capfd) -> None:
    """What nobody expected is said with all its lines, and obeyed by no terminal."""
    with pytest.raises(ValueError, match="evil") as caught:
        (_ for _ in ()).throw(ValueError(EVIL))
    _print_traceback(caught.type, caught.value, caught.tb)
    said = capfd.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert "ValueError: evil" in said
    assert not obeyed(said)


def test_one_module_alone_prints() -> None:
    """So that nothing gets past it: no echo or print elsewhere but of documents made harmless."""
    found = []
    for package in ("harness", "distill", "reports", "tasks"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if not re.search(r"\b(print|s?echo)\(", text):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                    name = ast.unparse(node.func)
                    if name in {"typer.echo", "click.echo", "print", "typer.secho"}:
                        found.append(f"{path.relative_to(ROOT)}: {name}")
    assert sorted(found) == [
        "harness/core/progress.py: print",
        "harness/core/terminal.py: typer.echo",
    ]
