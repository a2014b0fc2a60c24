"""`harness ask` without a question: a conversation, or lines of a pipe."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from harness.cli.conversation import COMMANDS, Settings, changed, converse
from harness.cli.line_editor import CommandCompleter, line_editor
from harness.core.errors import HarnessError
from harness.core.options import GenerationOptions, ModelOptions
from harness.core.terminal import side_by_side
from harness.sources.registry import find_source

SHORT = Settings(generation=GenerationOptions(max_new_tokens=3))


def typed(*lines: str) -> Callable[[], str]:
    """What reads these lines, and then the end."""
    left = iter(lines)

    def read() -> str:
        for line in left:
            if line == "^C":
                raise KeyboardInterrupt
            return line
        raise EOFError

    return read


@pytest.fixture
def lines(command, monkeypatch):
    """`lines(text, *arguments)`: what the command makes of the lines of a pipe."""

    def run(text: str, *arguments: object):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        result = command("ask", *arguments, "--max-new-tokens", 3)
        return result.code, [json.loads(line) for line in result.stdout.splitlines()]

    return run


def test_lines_of_a_pipe_are_answered_by_lines(lines, tiny, drawn: Path) -> None:
    """Texts, commands and objects, in their order; an object is put with its own picture."""
    picture = str(drawn / "images" / "biology-00.png")
    text = (
        f"Why?\n\n/image {picture}\n/choices a pond | a lake\nWhich?\n"
        + json.dumps({"question": "How?", "image": [], "choices": []})
        + "\n/quit\nnever asked\n"
    )
    code, answers = lines(text, "-m", tiny("llava"))
    assert code == 0
    assert [a["question"] for a in answers] == ["Why?", "Which?", "How?"]
    assert [a["image"] for a in answers] == [[], [picture], []]
    assert [a["choices"] for a in answers] == [[], ["a pond", "a lake"], []]
    assert answers[1]["pictures"]["tokens"] > 0
    assert "<image>" not in answers[2]["output"]["prompt"]
    assert answers[0]["tokens_per_second"] > 0


def test_what_is_asked_alone_is_asked_as_one(lines, command, tiny, drawn: Path) -> None:
    """The answer to a line is that to --question."""
    picture = drawn / "images" / "biology-00.png"
    alone = command(
        "ask", "-m", tiny("llava"), "-q", "Why?", "-i", picture, "--json", "--max-new-tokens", 3
    ).json
    _, (of_line,) = lines(f"/image {picture}\nWhy?\n", "-m", tiny("llava"))
    changing = {"seconds", "tokens_per_second"}
    assert {k: v for k, v in alone.items() if k not in changing} == {
        k: v for k, v in of_line.items() if k not in changing
    }


BAD = (
    "{",
    "{}",
    '{"question": ""}',
    '{"question": "x", "images": "y"}',
    '{"question": "x", "image": [1]}',
    '{"question": "x", "choices": ["only"]}',
    '{"question": "x", "image": "missing.png"}',
    "/imagine",
    "/style loud",
    "/params temperature=-1",
    "/params top_p=nan",
    "/params max_new_tokens=1.5",
    "/params seed",
    "/image missing.png",
    '/image "half',
)


def test_a_bad_line_is_an_error_of_its_own(lines, tiny) -> None:
    """The lines after it are answered; the exit code says that some were not."""
    code, found = lines("\n".join([*BAD, "Why?"]), "-m", tiny("llava"))
    assert code == 4
    *errors, answer = found
    assert len(errors) == len(BAD)
    assert all(error["error"] for error in errors)
    assert answer["question"] == "Why?"
    assert "error" not in answer


def test_settings_hold_for_the_questions_that_follow(drawn: Path, tmp_path: Path) -> None:
    """Until they are taken back."""
    spaced = tmp_path / "a picture.png"
    spaced.write_bytes((drawn / "images" / "biology-00.png").read_bytes())
    settings = changed(Settings(), f"/image {spaced}")
    assert settings.question.images == (spaced,)
    assert changed(
        settings, f'/image "{spaced}" {spaced.parent}/a\\ picture.png'
    ).question.images == (
        spaced,
        spaced,
    )
    settings = changed(settings, "/params max-new-tokens=7 temperature=0.5")
    settings = changed(settings, "/style cot")
    assert str(settings).splitlines() == [
        f"  /image    {spaced}",
        "  /choices  none: an open question",
        "  /style    cot",
        "  /params   max_new_tokens=7 temperature=0.5 top_p=1.0",
    ]
    assert changed(changed(settings, "/style"), "/image").question.images == ()
    assert changed(settings, "/style").generation.style is None


def test_a_conversation_goes_on_after_mistakes(tiny, capsys) -> None:
    """A command that is none, an interrupted line; answers of two models each with its title."""
    sources = [
        find_source(ModelOptions(model=str(tiny(name)), device="cpu"))
        for name in ("llava", "llava-next")
    ]
    converse(sources, SHORT, typed("/imge x", "^C", "Why?", "/params top_p=2", "/help"))
    out, err = capsys.readouterr()
    assert "Did you mean /image?" in err
    assert "top_p must be 0.0001 to 1" in err
    assert out.count(" tokens/s") == 2
    assert all(f"  {name}" in out for name in COMMANDS)


def test_one_model_that_fails_does_not_stop_the_other(tiny, capsys, drawn: Path) -> None:
    """KOSMOS-2 takes one picture at a time, LLaVA takes both."""
    sources = [
        find_source(ModelOptions(model=str(tiny(name)), device="cpu"))
        for name in ("kosmos-2", "llava")
    ]
    picture = drawn / "images" / "biology-00.png"
    converse(sources, SHORT, typed(f"/image {picture} {picture}", "Why?"))
    out, _ = capsys.readouterr()
    assert "Error:" in out
    assert out.count(" tokens/s") == 1


def test_the_editor_completes_and_remembers(tmp_path: Path, monkeypatch) -> None:
    """Commands, values and paths; the history is a file that only its user can read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "pond.png").touch()

    def completions(text: str) -> list[str]:
        found = CommandCompleter().get_completions(Document(text), CompleteEvent())
        return [text[: len(text) + each.start_position] + each.text for each in found]

    assert completions("/im") == ["/image"]
    assert completions("/style st") == ["/style structured"]
    assert completions("/params temperature=1 to") == ["/params temperature=1 top_p="]
    assert completions(f"/image {tmp_path}/po") == [f"/image {tmp_path}/pond.png"]
    assert completions("What /im") == []
    with create_pipe_input() as keys:
        keys.send_text("Why?\n\x04")
        read = line_editor(input=keys, output=DummyOutput())
        assert read() == "Why?"
        with pytest.raises(EOFError):
            read()
    history = tmp_path / "harness" / "ask" / "history"
    assert "+Why?" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_answers_stand_side_by_side_where_there_is_room(capsys, monkeypatch) -> None:
    """Below one another on a narrow terminal; control characters are harmless in both."""
    texts = [("one", "yes\x1b[2J"), ("two", "no")]
    side_by_side(texts)
    assert any("one" in line and "two" in line for line in capsys.readouterr().out.splitlines())
    monkeypatch.setattr("harness.core.terminal.NARROWEST", 1000)
    side_by_side(texts)
    out = capsys.readouterr().out
    assert out.index("one") < out.index("yes") < out.index("two") < out.index("no")
    assert "\x1b[2J" not in out


def test_no_such_command() -> None:
    """It names those that there are."""
    with pytest.raises(HarnessError, match="There is no command /what"):
        changed(Settings(), "/what")
