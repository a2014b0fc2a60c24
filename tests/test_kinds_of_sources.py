"""Where completions come from: a kind of source is one file and a line of the registry, and a run
goes by its capabilities."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pytest

import harness
from distill.rationales.teacher import teacher_of
from harness.cli.checking import try_out
from harness.core.errors import Exit, HarnessError
from harness.core.options import ModelOptions
from harness.core.types import STOP, Decoding, Output, Prompt
from harness.families.family import ModelFamily
from harness.remote.endpoint import Endpoint
from harness.sources import registry
from harness.sources.source import Capabilities, Kind, Source

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """A model that answers the same to everything."""

    answer: str
    fails: bool = False
    asked: list[int]
    """The size of each batch."""
    max_images = None
    description: Mapping[str, Any]

    def prepare(self, prompts: Sequence[Prompt]) -> list[str]:
        return [prompt.text for prompt in prompts]

    def generate(self, prepared: Sequence[str], decoding: Decoding) -> list[Output]:
        self.asked.append(len(prepared))
        if self.fails:
            raise RuntimeError("the stars are not right")
        return [Output(self.answer, text, None, 1, finish=STOP) for text in prepared]

    def choose(self, prepared: Any, options: Sequence[Sequence[str]]) -> list[Output]:
        raise NotImplementedError


class Toy:
    """All that a new kind of source is, as a file of harness/sources would hold it."""

    capabilities = Capabilities(log_likelihoods=False, counts_tokens=False, measures_memory=False)
    place = "the toy"
    family = ModelFamily(name="toy", title="the toy")
    device = dtype = "toy"
    devices = max_images = None
    load_seconds = 0.5
    weights_hash = "sha256:toy"
    rendering: Mapping[str, str | None] = {}
    fails = False
    asked: list[int] = []

    def __init__(self, answer: str) -> None:
        self._answer = answer
        self.checkpoint = Endpoint(name=f"toy-{answer}", url="toy://", served=answer)

    @classmethod
    def answers(cls, options: ModelOptions) -> bool:
        return options.model.startswith("toy:")

    @classmethod
    def of(cls, options: ModelOptions) -> Self:
        return cls(options.model.removeprefix("toy:"))

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "dtype": "toy",
            "attention": "none",
            "processor_args": {},
            "chat_template": None,
            "engine": "toy",
        }

    @property
    def early_fingerprint(self) -> Mapping[str, Any]:
        return {"toy": self._answer}

    @property
    def full_fingerprint(self) -> Mapping[str, Any]:
        return {"weights": self.weights_hash}

    @property
    def description(self) -> Mapping[str, Any]:
        return {"class": "Toy", "parameters": None, "dtype": "toy", "device": "toy"}

    def prompt_text(self, prompt: Prompt) -> str:
        return prompt.text

    def load(self) -> Oracle:
        return Oracle(
            answer=self._answer, fails=self.fails, asked=self.asked, description=self.description
        )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    """The toy with its line in the registry."""
    kinds: tuple[type[Kind], ...] = (Toy, *registry.KINDS)
    monkeypatch.setattr(registry, "KINDS", kinds)
    monkeypatch.setattr(Toy, "asked", [])
    return Toy


def run(drawn: Path, runs: Path, **options: Any) -> harness.Run:
    return harness.evaluate("toy:B", "scienceqa", data=drawn, runs=runs, **options)


def test_a_new_kind_of_source_is_evaluated(toy: type[Toy], drawn: Path, tmp_path: Path) -> None:
    """A line in the registry is all that it takes; its record has what it says of itself."""
    made = run(drawn, tmp_path, limit=8)
    assert made.n == 8
    assert {prediction.raw for prediction in made.predictions} == {"B"}
    record = made.record
    assert record.settings["engine"] == "toy"
    assert record.fingerprint["toy"] == "B"
    assert record.fingerprint["mode"] == "generate by toy"
    assert record.sessions[0]["peak_memory_bytes"] is None
    assert record.sessions[0]["load_seconds"] == 0.5


def test_a_new_kind_of_source_is_a_teacher_and_is_checked(toy: type[Toy]) -> None:
    """The commands that take a model take it."""
    source = registry.find_source(ModelOptions(model="toy:B"))
    teacher = teacher_of(source)
    assert (teacher.settings["toy"], teacher.fingerprint()) == ("B", "sha256:toy")
    report = try_out(source)
    assert report["answers"] == ["B", "B"]
    assert report["peak_memory_bytes"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "loglikelihood"}, "needs the likelihood of the options, which the toy does not"),
        ({"truncate": True}, "counts the tokens of a prompt beforehand, which the toy does not"),
    ],
)
def test_what_a_source_cannot_do_is_refused(
    toy: type[Toy], drawn: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """By its capabilities, with the name that it gives itself."""
    with pytest.raises(HarnessError, match=words):
        run(drawn, tmp_path, **options)


@pytest.mark.parametrize(
    ("changes", "options", "asked"),
    [
        ({}, {}, [4, 10]),
        ({"concurrency": 5}, {}, [4, 5, 5]),
        ({"concurrency": 5, "in_process": False}, {}, [1, 5, 5]),
        ({"batches": False}, {"batch_size": 8}, [1] * 11),
        ({"concurrency": 5}, {"batch_size": 10}, [4, 10]),
    ],
)
def test_how_many_are_asked_at_once_goes_by_the_capabilities(
    toy: type[Toy],
    drawn: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    changes: dict[str, Any],
    options: dict[str, Any],
    asked: list[int],
) -> None:
    """First to warm up, of what is paid for one, then in batches."""
    monkeypatch.setattr(Toy, "capabilities", replace(Toy.capabilities, **changes))
    run(drawn, tmp_path, limit=10, **options)
    assert toy.asked == asked


@pytest.mark.parametrize(("in_process", "code"), [(True, Exit.CHECK_FAILED), (False, Exit.MISSING)])
def test_a_source_that_fails_is_no_traceback(
    toy: type[Toy], monkeypatch: pytest.MonkeyPatch, in_process: bool, code: Exit
) -> None:
    """What runs here is broken; what runs elsewhere is missing."""
    monkeypatch.setattr(Toy, "fails", True)
    monkeypatch.setattr(Toy, "capabilities", replace(Toy.capabilities, in_process=in_process))
    with pytest.raises(HarnessError, match="toy-B does not answer") as caught:
        try_out(registry.find_source(ModelOptions(model="toy:B")))
    assert (caught.value.code, caught.value.known) == (
        code,
        "RuntimeError: the stars are not right",
    )


def test_ask_and_eval_say_the_same_of_a_model_that_raises(
    toy: type[Toy], command, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason that a row of a run has, and no traceback."""
    why = "RuntimeError: the stars are not right"
    monkeypatch.setattr(Toy, "fails", True)
    where = ("--data", drawn, "--runs", tmp_path)
    for arguments in (
        ("ask", "--model", "toy:B", "-q", "Why?"),
        ("check", "toy:B"),
        ("eval", "--model", "toy:B", "--task", "scienceqa", "--limit", 2, *where),
    ):
        result = command(*arguments)
        assert result.code in {Exit.CHECK_FAILED, Exit.FAILED_SAMPLES}
        assert why in result.stderr
        assert "Traceback" not in result.stderr


def test_the_kinds_there_are_fulfil_the_protocol(tiny: Any) -> None:
    """Each has every member of `Source`; the last takes what no other does."""
    folder = tiny("llava-next")
    for model in (
        ModelOptions(model=str(folder)),
        ModelOptions(model="openai:x", server=None),
    ):
        kind = next(kind for kind in registry.KINDS if kind.answers(model))
        missing = {name for name in vars(Source) if name[0] != "_" and not hasattr(kind, name)}
        assert missing <= {"checkpoint", "load_seconds"}  # set when one is made


def test_nobody_asks_for_the_type_of_a_source() -> None:
    """A run, a command and a teacher go by capabilities and methods."""
    kinds = {kind.__name__ for kind in registry.KINDS} | {"LoadedModel", "LocalModel"}
    for package in ("harness", "distill", "tasks", "reports"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "type"}:
                    named = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                    assert not kinds & named, f"{path}:{node.lineno}"
