"""The answers on the page: they are those that were recorded, each text once, read in a stream, and
what did not change is not read again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.types import Prediction, references
from harness.core.worker_pool import worker_pool
from harness.run.folder import RunFolder, find_runs
from reports.inputs import discovery, sanitize
from reports.inputs.material import Material, RunData
from reports.page import reading
from reports.page.cache import PageCache, key_of
from reports.page.leaderboard import render
from reports.page.reading import Reader
from reports.page.report import write_report
from reports.page.samples.blocks import BLOCK
from reports.page.samples.groups import Group, collect
from reports.page.samples.payload import begin, payload
from tests import unpacked
from tests.conftest import Result
from tests.hostile import HOSTILE
from tests.test_leaderboard import choice_run

FORMAT_1 = Path(__file__).parent / "data" / "format-1"


def page_of(runs: Path, **options: Any) -> str:
    material, broken = discovery.gather(runs)
    assert not broken
    return render(material, **options)


def write(folder: Path, questions: int) -> Path:
    """Three runs whose answers are partly equal, one of which lacks the last question."""
    for place, name in enumerate(("a", "b", "c")):
        made = [
            Prediction(
                sample_id=f"q{n}",
                raw=f"Because {n * 7919 % (3 if n % 2 else place + 1)}. The answer is {'AB'[n % 2]}.",
                answer=None if n % 7 == place else n % 2,
                rule="a rule",
                target=n % 2 if n % 5 else 1,
                scores={"accuracy": float(n % 7 != place and (n % 5 > 0 or n % 2 == 1))},
                question=f"Question {n}?",
                choices=(f"one {n}", "two"),
                topic=("physics", "biology")[n % 3 == 0],
                prompt=f"Question {n}?",
                span=(0, 9),
                order=(1, 0) if n % 4 == 0 else (),
                error="it failed" if n == 4 + place else None,
                seconds=0.123456 * (n + 1) if place else None,
                tokens=n if place else None,
                tokens_in=700 if place == 1 else None,
            )
            for n in range(questions - (place == 2))
        ]
        run = RunFolder.of(folder, task="scienceqa", model=name, split="test")
        run.rewrite(made)
        run.write_record(choice_run(name=name, title=name.upper()))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on more questions than a block has; none may be written to."""
    return write(tmp_path_factory.mktemp("three") / "runs", questions=BLOCK + 10)


def assert_as_recorded(found: dict[str, Any] | None, p: Prediction) -> None:
    """An answer of the page is that of a line of predictions.jsonl."""
    assert found is not None
    raw, span = sanitize.marked_passage(p.raw, p.span)
    assert (found["raw"], found["span"]) == (raw, span and list(span))
    shown = sanitize.passage(p.answer) if isinstance(p.answer, str) else p.answer
    assert found["answer"] == shown
    assert (found["rule"], found["prompt"]) == (sanitize.text(p.rule), sanitize.passage(p.prompt))
    assert found["error"] == (None if p.error is None else sanitize.text(p.error, limit=1000))
    assert found["order"] == list(p.order)
    seconds = None if p.seconds is None else float(f"{p.seconds:.4g}")
    costs = (found.get("seconds"), found.get("tokens"), found.get("tokensIn"))
    assert costs == (seconds, p.tokens, p.tokens_in)


def check_page(page: str, folder: Path) -> int:
    """Compare every answer of a page with those on disk; returns how many there are."""
    number = 0
    by_run = {
        run.path.relative_to(folder).parts: run.read_predictions() for run in find_runs(folder)
    }
    for group in unpacked.groups(page):
        task, _, split = group["key"].partition("~")[0].rpartition(".")
        for place, run in enumerate(group["runs"]):
            for p in by_run[task, run["key"].partition("~")[0], split]:
                entry = group["entries"][sanitize.text(p.sample_id)]
                assert entry["question"] == sanitize.passage(p.question)
                assert entry["choices"] == [sanitize.passage(c, limit=2000) for c in p.choices]
                if isinstance(p.target, int):
                    assert entry["target"] == p.target
                else:
                    gold = {sanitize.passage(r.text) for r in references(p.target)}
                    assert {text for text, _ in entry["target"]} == gold
                assert_as_recorded(entry["answers"][place], p)
                number += 1
    return number


def test_what_is_rendered_is_what_was_recorded(runs: Path) -> None:
    """Every answer of every run, over several blocks, texts and costs."""
    lines = sum(len(run.read_predictions()) for run in find_runs(runs))
    assert check_page(page_of(runs), runs) == lines > 300


def test_runs_of_older_versions_are_rendered_as_recorded(tmp_path: Path) -> None:
    """Records of format 1: references in words, log-likelihoods under another name, no scores."""
    folder = tmp_path / "runs"
    for path in sorted(FORMAT_1.glob("*/*/*")):
        copied = folder / path.relative_to(FORMAT_1)
        copied.mkdir(parents=True)
        for file in path.iterdir():
            (copied / file.name).write_bytes(file.read_bytes())
    assert check_page(page_of(folder), folder) == sum(
        len(run.read_predictions()) for run in find_runs(folder)
    )


def test_another_question_of_the_same_id_has_an_entry_of_its_own(tmp_path: Path) -> None:
    """Read from the line of its own run, whose id it is."""
    folder = write(tmp_path / "runs", questions=10)
    run = RunFolder(folder / "scienceqa" / "b" / "test")
    first, *rest = run.read_predictions()
    other = replace(first, question="Another question?", raw="B, because.")
    run.rewrite([other, *rest])
    (group,) = unpacked.groups(page_of(folder))
    place = ["b~" in f"{run['key']}~" for run in group["runs"]].index(True)
    own, another = (group["entries"][name] for name in ("q0", "q0~2"))
    assert [n for n, found in enumerate(own["answers"]) if found is None] == [place]
    assert another["question"] == "Another question?"
    assert_as_recorded(another["answers"][place], other)
    assert sum(found is not None for found in another["answers"]) == 1


def hostile_answers() -> list[Prediction]:
    return [
        Prediction(
            sample_id=f"{n}",
            raw=text * 2,
            answer=n % 2,
            rule=text,
            target=1,
            scores={"accuracy": float(n % 2)},
            question=text,
            choices=(text, f"{text}!"),
            prompt=text,
            span=(0, len(text)),
        )
        for n, text in enumerate(HOSTILE)
    ]


def test_hostile_texts_pass_the_compression(tmp_path: Path) -> None:
    """Ends of scripts, U+2028, lone surrogates: shown as `sanitize` has them, in a page whose data
    elements are base64 and nothing else."""
    made = hostile_answers()
    page = render(Material(runs=[RunData(choice_run(), lambda: made)]))
    (group,) = unpacked.groups(page)
    for p in made:
        assert_as_recorded(group["entries"][p.sample_id]["answers"][0], p)
    page.encode()


def test_equal_answers_stand_there_once() -> None:
    """Four runs that say the same cost little more than one."""
    made = [
        Prediction(
            sample_id=str(n),
            raw=f"Because of {n * 7919}, " + "".join(chr(97 + n * k % 26) for k in range(400)),
            answer=0,
            rule="a rule",
            target=0,
            scores={"accuracy": 1.0},
            question=f"Question {n}?",
            choices=("x", "y"),
        )
        for n in range(BLOCK)
    ]
    records = [choice_run(name=f"m{n}", title=f"M{n}") for n in range(4)]

    def block(number: int) -> str:
        runs = [RunData(record, lambda: made) for record in records[:number]]
        return unpacked.element(render(Material(runs=runs)), "answers-0-0")

    assert len(block(4)) < 1.1 * len(block(1))


# Large files: kept for the next page, read by other processes


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is large enough to be kept, none to be read elsewhere."""
    monkeypatch.setattr(reading, "WORTH_KEEPING", 1)


def test_the_cache_changes_nothing(
    all_are_large: None, runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The page is the same without a cache, with an empty and with a full one; and with a full one no
    answer is read again."""
    monkeypatch.setattr(reading, "WORTH_KEEPING", 2**40)
    plain = page_of(runs)
    monkeypatch.setattr(reading, "WORTH_KEEPING", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert page_of(runs) == plain
    assert list((tmp_path / "cache" / "harness" / "pages").iterdir())
    material, _ = discovery.gather(runs)
    monkeypatch.setattr(RunFolder, "read_indexed", None)
    monkeypatch.setattr("reports.inputs.predictions.checked_prediction", None)
    assert render(material) == plain


@pytest.mark.process
def test_other_processes_change_nothing(
    all_are_large: None, runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Read and packed by two processes, the page has the same bytes."""
    plain = page_of(runs)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reading, "WORTH_PROCESSES", 1)
    monkeypatch.setattr(reading, "available_cores", lambda: 2)
    assert page_of(runs) == plain


@pytest.mark.process
def test_workers_leave_interrupts_to_their_parent() -> None:
    """Ctrl-C, which reaches them too, ends none of them in the middle of an answer, and a termination
    ends them at once, whatever their parent does about it."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with worker_pool(1) as pool:
            found = [pool.submit(signal.getsignal, n) for n in (signal.SIGINT, signal.SIGTERM)]
            assert [each.result() for each in found] == [signal.SIG_IGN, signal.SIG_DFL]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:-1], lambda data: data[:40] + b"x" + data[41:]],
    ids=["emptied", "cut", "changed"],
)
def test_a_damaged_cache_is_made_again(
    all_are_large: None,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    """Files that were emptied, cut or changed are taken for none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain = page_of(runs, samples="errors")
    files = sorted((tmp_path / "cache" / "harness" / "pages").iterdir())
    before = {path: path.read_bytes() for path in files}
    for path in files:
        path.write_bytes(damage(before[path]))
    assert page_of(runs, samples="errors") == plain
    assert {path: path.read_bytes() for path in files} == before


def test_a_changed_run_is_read_again(
    all_are_large: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what its files hold, whatever their times and sizes say."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "runs"
    write(folder, questions=20)
    page_of(folder)
    run = RunFolder.of(folder, task="scienceqa", model="b", split="test")
    made = run.read_predictions()
    times = run.predictions_path.stat()
    run.rewrite([replace(made[0], raw=made[0].raw.swapcase()), *made[1:]])
    assert run.predictions_path.stat().st_size == times.st_size
    assert check_page(page_of(folder), folder)


def test_a_cache_that_cannot_be_written_to_is_done_without(
    all_are_large: None, runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The page is made in any case."""
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert 'id="index-0"' in page_of(runs, samples="none")


def test_the_cache_keeps_what_was_used_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What exceeds its size goes, the oldest first; names differ by every part."""
    monkeypatch.setattr("reports.page.cache.MAX_BYTES", 250)
    cache = PageCache(tmp_path)
    for n in range(4):
        cache.put(str(n), bytes(60))
        (tmp_path / str(n)).touch()
        os.utime(tmp_path / str(n), (n, n))
    cache.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
    assert cache.get("3") == bytes(60)
    assert cache.get("0") is None
    assert len({key_of("a", "b"), key_of("ab"), key_of("a", "b", "")}) == 3


def test_answers_that_change_meanwhile_stop_the_page(runs: Path, tmp_path: Path) -> None:
    """A file that was replaced after it was read is named, with what to do; nothing is mixed."""
    folder = tmp_path / "runs"
    write(folder, questions=20)
    material, _ = discovery.gather(folder)
    path = next(r.file.path for r in material.runs if r.record.model.name == "b" and r.file)
    lines = path.read_bytes().splitlines(keepends=True)

    class Changing(Reader):
        def pack(self, plans: Any) -> Any:
            path.write_bytes(b"".join(reversed(lines)))
            return super().pack(plans)

    groups: list[Group] = []
    with Changing(None) as reader:
        for found in reader.read(material.runs):
            collect(groups, found.source, found.columns)
        with pytest.raises(HarnessError, match=r"/b/test/.*was changed while"):
            payload(material, begin(groups, packing=reader.pack))


def test_broken_answers_are_named_once(
    all_are_large: None, tmp_path: Path, command: Callable[..., Result]
) -> None:
    """A run whose answers cannot be read is left out of the samples, and the report says why."""
    folder = tmp_path / "runs"
    write(folder, questions=5)
    run = RunFolder.of(folder, task="scienceqa", model="b", split="test")
    run.predictions_path.write_text("{}\n")
    report = write_report(folder, tmp_path / "page.html")
    assert [str(error) for error in report.broken if "/b/test/" in str(error)]
    assert len(report.broken) == 1
    (group, *_) = unpacked.groups((tmp_path / "page.html").read_text())
    assert "b" not in [each["key"] for each in group["runs"]]
    assert json.loads(unpacked.element((tmp_path / "page.html").read_text(), "answers"))["block"]
