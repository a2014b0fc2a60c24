"""Work that a checkpoint's files decide has an end."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness.checkpoints import pretrained, tokenizer_guard
from harness.core.errors import HarnessError, SampleError
from harness.core.time_limit import MAX_ENDLESS, CallTimeout, Limited, within
from harness.models import prompt_format

ENDLESS_TEMPLATE = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}{{ messages[0]['content'][-1]['text'] }}"
)
EXPENSIVE = "(?:a|aa){1,16}b"
"""Each place in a text of many a costs less than the library's own limit, and all of them
together seconds."""


def loop() -> NoReturn:
    while True:
        pass


def test_a_call_has_its_own_result() -> None:
    """What is returned and raised is the call's, one call after the other."""
    assert [within(30, divmod, 7, number) for number in (1, 2)] == [(7, 0), (3, 1)]
    with pytest.raises(ZeroDivisionError):
        within(30, divmod, 7, 0)
    assert within(30, sorted, "ba", reverse=True) == ["b", "a"]


def test_python_that_never_ends_is_stopped() -> None:
    """Its thread ends too, and the next call has another one."""
    before = threading.active_count()
    seen: list[threading.Thread] = []

    def call() -> None:
        seen.append(threading.current_thread())
        loop()

    with pytest.raises(CallTimeout):
        within(0.1, call)
    seen[0].join(30)
    assert not seen[0].is_alive()
    assert within(30, divmod, 7, 2) == (3, 1)
    assert threading.active_count() <= before + 1


def _double(number: int) -> int:
    return within(30, lambda: 2 * number)


@pytest.mark.process
def test_a_forked_process_has_its_own_thread() -> None:
    """As those that prepare questions ahead."""
    assert _double(1) == 2
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(_double, [2, 3]) == [4, 6]


def test_an_input_without_end_is_waited_for_once() -> None:
    """Asked again it fails at once, as batches are halved; too many such inputs end the run."""
    calls = []

    def call(text: str) -> str:
        calls.append(text)
        return text if text.isupper() else loop()

    limited = Limited(call, 0.2, what="the call", where="here")
    for _ in range(4):
        with pytest.raises(SampleError, match=r"the call did not end within 0\.2 s"):
            limited("a")
    assert limited("A") == "A"
    for number in range(MAX_ENDLESS - 2):
        with pytest.raises(SampleError):
            limited("b" * (number + 1))
    with pytest.raises(HarnessError, match="here: the call did not end") as caught:
        limited("c")
    assert caught.value.code == 3
    assert calls == ["a", "A", "b", "c"]


@pytest.fixture
def folder(tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tokenizer_guard, "MAX_SECONDS", 0.5)
    monkeypatch.setattr(prompt_format, "MAX_SECONDS", 0.5)
    return Path(shutil.copytree(tiny("llava-next"), tmp_path / "model"))


def change(folder: Path, **fields: Any) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def split(expression: str) -> dict[str, Any]:
    pattern = {"Regex": expression}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def replace(content: str, **pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*parts: dict[str, Any], name: str = "normalizers") -> dict[str, Any]:
    return {"type": "Sequence", name: list(parts)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pre_tokenizer": split(EXPENSIVE)}, "did not end"),
        ({"pre_tokenizer": sequence(split(EXPENSIVE), name="pretokenizers")}, "did not end"),
        ({"normalizer": replace("b", Regex=EXPENSIVE)}, "did not end"),
        ({"pre_tokenizer": split("(a+)+$")}, "the tokenizer fails: .*retry"),
        ({"normalizer": sequence(replace("b", Regex="(a|aa)+$"))}, "the tokenizer fails: .*retry"),
    ],
)
def test_a_text_that_a_tokenizer_does_not_end_on_fails_alone(
    folder: Path, monkeypatch, fields: dict[str, Any], message: str
) -> None:
    """It becomes an error row, within the limit or where the library gives up; other texts are
    encoded as ever."""
    from transformers import AutoProcessor

    if "fails" in message:
        monkeypatch.setattr(tokenizer_guard, "MAX_SECONDS", 60)
    change(folder, **fields)
    tokenizer = pretrained.load(AutoProcessor, folder).tokenizer
    with pytest.raises(SampleError, match=message):
        tokenizer("a" * 2000 + "!")
    assert tokenizer("What is it?")["input_ids"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normalizer": sequence(*[replace("aa", String="a")] * 40)}, "normalizer makes a text up"),
        ({"normalizer": replace("b" * 1000, Regex=".")}, "normalizer makes a text up"),
        ({"decoder": sequence(*[replace("aa", String="a")] * 9, name="decoders")}, "decoder makes"),
        ({"decoder": replace("b", Regex="(a+)+$")}, "decoder holds a regular expression"),
        ({"pre_tokenizer": {"type": "NewKind"}}, "its tokenizer is none that tokenizers"),
        ({"model": {"type": "NewKind"}}, "its tokenizer is none that tokenizers"),
        ({"version": "9.9"}, "its tokenizer is none that tokenizers"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_refused(
    folder: Path, fields: dict[str, Any], message: str
) -> None:
    """One that asks for endless memory or time, or is of a newer kind: exit 3, its name."""
    from transformers import AutoProcessor

    change(folder, **fields)
    with pytest.raises(HarnessError, match=message) as caught:
        pretrained.load(AutoProcessor, folder)
    assert caught.value.code == 3
    assert str(folder) in caught.value.what


@pytest.mark.parametrize("kind", ["llava", "llava-next", "llava-cot", "moondream", "phi-3.5"])
def test_every_tokenizer_has_limits(tiny: Callable[..., Path], kind: str) -> None:
    """Those of our own processors too; and they can be sent to other processes."""
    from transformers import AutoProcessor

    import harness.models  # noqa: F401

    tokenizer = pretrained.load(AutoProcessor, tiny(kind)).tokenizer
    assert isinstance(vars(tokenizer)["_encode_plus"], Limited)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again("What is it?")["input_ids"] == tokenizer("What is it?")["input_ids"]


def test_a_chat_template_that_never_ends_is_refused(
    command, folder: Path, drawn: Path, tmp_path: Path
) -> None:
    """Before any question is asked: exit 3, and what it was."""
    (folder / "chat_template.jinja").write_text(ENDLESS_TEMPLATE)
    result = command(
        *("eval", "--model", folder, "--task", "scienceqa", "--data", drawn, "--limit", 1),
        *("--runs", tmp_path / "runs"),
    )
    assert result.code == 3
    assert "the chat template did not end within 0.5 s" in " ".join(result.stderr.split())


def test_a_chat_template_that_ends_on_some_texts_answers_those(
    command, folder: Path, drawn: Path, tmp_path: Path
) -> None:
    """A question on which it never ends is an error row, like any other bad question."""
    rows = [json.loads(line) for line in (drawn / "test.jsonl").read_text().splitlines()[:2]]
    rows[1]["question"] = f"Endless? {rows[1]['question']}"
    data = Path(shutil.copytree(drawn, tmp_path / "data"))
    (data / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    template = (
        "{% for part in messages[0]['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    )
    condition = "{% if 'Endless?' in messages[0]['content'][-1]['text'] %}"
    (folder / "chat_template.jinja").write_text(
        f"{template}{condition}{ENDLESS_TEMPLATE}{{% endif %}}"
    )
    result = command(
        *("eval", "--model", folder, "--task", "scienceqa", "--data", data, "--json"),
        *("--runs", tmp_path / "runs", "--max-new-tokens", 2),
    )
    assert result.code == 4
    counts = result.json["runs"][0]["counts"]
    assert (counts["done"], counts["failed"]) == (2, 1)
