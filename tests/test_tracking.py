"""`--track`: what each tracker keeps of a run is read back with its own means, offline."""

from __future__ import annotations

import html
import json
import logging
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.core.errors import HarnessError
from harness.core.options import RunOptions
from harness.core.tracking_options import TrackingOptions
from harness.run import tracked
from harness.tracking import registry, tensorboard
from harness.tracking.registry import Registered, check_trackers
from harness.tracking.tracker import Picture, Start, Table, TrackedRun
from harness.tracking.trackers import TRACKING_RECORD, Trackers, without_keys
from tests.events import scalars, tensorboard_run, tensorboard_text, wandb_run

PACKAGES = ("wandb", "tensorboard", "trackio")
HOSTILE = "<script>alert(1)</script>\n# Title | [x](javascript:alert(1)) ![p](http://h/p) \ud800"
NEEDS = {
    name: pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")
    for name in PACKAGES
}
KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def trackio_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where trackio keeps everything; it reads that once, when it is imported."""
    folder = tmp_path_factory.mktemp("trackio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "trackio"]:
            patch.delitem(sys.modules, name)
        yield folder


@pytest.fixture
def offline(
    tmp_path: Path, trackio_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """No tracker needs a network or a key, and none writes outside the test's folder."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb" / name.lower()))
    monkeypatch.chdir(tmp_path)
    return trackio_folder


def run_of(folder: Path, *names: str, **options: Any) -> TrackedRun:
    (folder / "home").mkdir(exist_ok=True)
    return TrackedRun(
        options=TrackingOptions(trackers=names, **options),
        task="scienceqa",
        name="moondream-test",
        axis="progress/samples",
        home=folder / "home",
        runs=folder / "runs",
    )


def fill(trackers: Trackers, *, first: int = 0) -> None:
    """Something of each kind, some of it hostile."""
    configuration = {"settings": {"style": "cot", "limit": None}, "note": HOSTILE[:-1]}
    trackers.begin(configuration, step=max(0, first - 1))
    for step in range(first, first + 3):
        trackers.log_metrics({"score": step / 10, "rate": float("nan"), "n": None}, step=step)
    picture = Picture(Image.new("RGB", (6, 4), "red"), HOSTILE[:-1])
    table = Table(
        columns=("question", "picture", "score"),
        rows=[[HOSTILE[:-1], picture, 1.0], ["plain", None, None]],
    )
    trackers.log_table("samples", table, step=first + 2)
    trackers.log_pictures("seen", [picture], step=first + 2)


@pytest.mark.process
@NEEDS["wandb"]
@pytest.mark.slow
def test_wandb_keeps_an_offline_run(offline: Path, tmp_path: Path) -> None:
    """Name, project, configuration, metrics over their axis, table and pictures; a second process
    goes on in the same run."""
    run = run_of(tmp_path, "wandb")
    with Trackers(run) as trackers:
        fill(trackers)
    (first,) = (tmp_path / "runs" / "tracking" / "wandb").glob("offline-run-*")
    found = wandb_run(first)
    assert (found["project"], found["name"]) == ("scienceqa", "moondream-test")
    assert found["config"]["settings"] == {"style": "cot", "limit": None}
    curve = [(row["progress/samples"], row["score"]) for row in found["rows"] if "score" in row]
    assert curve == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert not any("rate" in row or "n" in row for row in found["rows"])
    kept = {each.read_bytes() for each in (tmp_path / "wandb" / "data").rglob("tmp*")}
    (table,) = [json.loads(each) for each in kept if each.startswith(b"{")]
    assert table["columns"] == ["question", "picture", "score"]
    assert table["data"][0][0] == HOSTILE[:-1]
    assert table["data"][0][1]["_type"] == "image-file"
    assert table["data"][1] == ["plain", None, None]
    (seen,) = (first / "files" / "media" / "images").rglob("seen_*.png")
    assert Image.open(seen).size == (6, 4)
    assert seen.read_bytes() in kept
    assert found["exit"] == 0

    with Trackers(run) as trackers:
        fill(trackers, first=3)
    (second,) = set((tmp_path / "runs" / "tracking" / "wandb").glob("offline-run-*")) - {first}
    assert wandb_run(second)["id"] == found["id"]
    assert os.environ["HOME"].encode() not in found["bytes"]


@NEEDS["tensorboard"]
def test_tensorboard_reads_its_event_file_back(offline: Path, tmp_path: Path) -> None:
    """Curves, configuration, table and pictures; a resumed run replaces what an earlier process
    logged beyond the place where it resumes."""
    run = run_of(tmp_path, "tensorboard", project="mine")
    with Trackers(run) as trackers:
        fill(trackers)
    (folder,) = (tmp_path / "runs" / "tracking" / "tensorboard" / "mine").iterdir()
    events = tensorboard_run(folder)
    assert dict(scalars(events, "score")) == pytest.approx({0: 0.0, 1: 0.1, 2: 0.2})
    assert "rate" not in events.Tags()["scalars"]
    assert "| settings.style | cot |" in tensorboard_text(events, "configuration")
    assert [image.width for image in events.Images("samples/000")] == [6]

    with Trackers(run) as trackers:
        fill(trackers, first=1)
    assert list(folder.parent.iterdir()) == [folder]
    assert [step for step, _ in scalars(tensorboard_run(folder), "score")] == [0, 1, 2, 3]


@NEEDS["tensorboard"]
def test_tensorboard_shows_texts_as_they_are(offline: Path, tmp_path: Path) -> None:
    """Of a hostile text its own Markdown makes a cell with these very characters, and no tag."""
    from tensorboard.plugin_util import markdown_to_safe_html

    with Trackers(run_of(tmp_path, "tensorboard")) as trackers:
        fill(trackers)
    (folder,) = (tmp_path / "runs" / "tracking" / "tensorboard" / "scienceqa").iterdir()
    events = tensorboard_run(folder)
    for tag in ("samples", "seen", "configuration"):
        page = markdown_to_safe_html(tensorboard_text(events, tag))
        assert " ".join(HOSTILE[:-1].split()) in html.unescape(page)
        for mark in ("<script", "<a ", "<img", "<h1", "<em", "<strong"):
            assert mark not in page


@NEEDS["trackio"]
def test_trackio_keeps_a_local_run(offline: Path, tmp_path: Path) -> None:
    """In its database, by its own interface: metrics at steps, configuration, table; a second
    process goes on in the same run, and another start is another run."""
    run = run_of(tmp_path, "trackio", project=f"local-{tmp_path.name}")
    with Trackers(run) as trackers:
        fill(trackers)
    with Trackers(run) as trackers:
        fill(trackers, first=3)
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    (stored,) = trackio.Api().runs(run.project)
    assert stored.name == "moondream-test"
    assert stored.config["settings"] == {"style": "cot", "limit": None}
    logs = SQLiteStorage.get_logs(run.project, stored.name)
    assert [(each["step"], each["score"]) for each in logs if "score" in each] == [
        (step, step / 10) for step in range(6)
    ]
    table = next(each["samples"]["_value"] for each in logs if "samples" in each)
    assert table[0]["question"] == HOSTILE[:-1]
    picture = offline / "media" / table[0]["picture"]["file_path"]
    assert Image.open(picture).size == (6, 4)

    (run.home / TRACKING_RECORD).unlink()
    with Trackers(run) as trackers:
        trackers.begin({}, step=0)
        trackers.log_metrics({"score": 1.0}, step=0)
    assert len(list(trackio.Api().runs(run.project))) == 2


@pytest.mark.process
@NEEDS["wandb"]
@NEEDS["tensorboard"]
@NEEDS["trackio"]
def test_an_evaluation_is_tracked(
    offline: Path, tmp_path: Path, command: Callable[..., Any], tiny, drawn: Path
) -> None:
    """With all three: progress with the running score, metrics with intervals, samples with their
    pictures, configuration; a resumed run goes on; stdout is the command's own."""
    arguments = ("eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn)
    arguments += ("--track", "wandb,tensorboard", "--track", "trackio", "--name", "Zoë")
    arguments += ("--json", "--batch-size", 2, "--max-new-tokens", 4, "--track-samples", 3)
    first = command(*arguments, "--limit", 4)
    assert first.code == 0, first.stderr
    assert first.json["runs"][0]["counts"]["done"] == 4
    second = command(*arguments, "--limit", 8)
    assert second.code == 0, second.stderr
    record = second.json["runs"][0]
    metrics = record["metrics"]["accuracy"]

    folder = tmp_path / "runs" / "tracking"
    (events,) = (folder / "tensorboard" / "scienceqa").iterdir()
    found = tensorboard_run(events)
    curve = scalars(found, "progress/accuracy")
    assert [step for step, _ in curve] == [*range(1, 9)]
    assert curve[-1][1] == pytest.approx(metrics["value"])
    assert scalars(found, "metrics/accuracy")[-1] == (8, pytest.approx(metrics["value"]))
    assert scalars(found, "metrics/accuracy/low")[-1] == (8, pytest.approx(metrics["low"]))
    assert scalars(found, "metrics/accuracy/high")[-1] == (8, pytest.approx(metrics["high"]))
    assert len(tensorboard_text(found, "samples").splitlines()) == 2 + 3

    runs = [wandb_run(each) for each in sorted((folder / "wandb").glob("offline-run-*"))]
    assert len(runs) == 2
    assert len({each["id"] for each in runs}) == 1
    assert runs[1]["project"] == "scienceqa"
    assert runs[1]["name"] == "Zoë-test"
    assert runs[1]["config"]["configuration"]["track"] == ["wandb", "tensorboard", "trackio"]
    assert runs[1]["config"]["configuration"]["data"] == [f"…/{drawn.name}"]
    assert not any(str(path).encode() in runs[1]["bytes"] for path in (drawn, tiny("llava")))
    (final,) = [row for row in runs[1]["rows"] if "metrics/accuracy" in row]
    assert final["metrics/accuracy/n"] == 8

    import trackio

    (stored,) = trackio.Api().runs("scienceqa")
    assert stored.config["model"]["name"] == "Zoë"

    assert record["configuration"]["track-samples"] == 3
    assert not any("track" in name for name in record["fingerprint"])
    third = command(*arguments, "--limit", 2, "--fresh")
    assert third.code == 0, third.stderr
    assert len(list(events.parent.iterdir())) == 2
    assert len(list(trackio.Api().runs("scienceqa"))) == 2
    assert len(list((tmp_path / "runs").rglob(TRACKING_RECORD))) == 2  # one was moved aside
    for text in (second.stdout, (tmp_path / "runs").rglob("run.json").__next__().read_text()):
        assert runs[0]["id"] not in text


class Broken:
    """A tracker whose network or disk fails from some call on."""

    place = "nowhere"

    def __init__(self, fails_at: str, seen: list[str]) -> None:
        self.fails_at, self.seen = fails_at, seen

    def _call(self, name: str) -> None:
        self.seen.append(name)
        if name == self.fails_at:
            raise OSError(28, f"No space left on device, {KEY}")

    def log_metrics(self, values: object, *, step: int) -> None:
        self._call("metrics")

    def log_pictures(self, name: str, pictures: object, *, step: int) -> None:
        self._call("pictures")

    def log_table(self, name: str, table: object, *, step: int) -> None:
        self._call("table")

    def close(self, *, failed: bool) -> None:
        self._call("close")


@pytest.mark.parametrize("fails_at", ["start", "metrics", "table", "pictures", "close"])
def test_a_tracker_that_fails_ends_no_run(
    fails_at: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There is one warning, without keys, and nothing more is logged with that tracker; the other
    one goes on."""
    seen: list[str] = []
    other: list[str] = []

    def start(run: TrackedRun, how: Start) -> Broken:
        broken = Broken(fails_at, seen)
        broken._call("start")
        return broken

    trackers = {
        "wandb": Registered(package="wandb", start=start),
        "trackio": Registered(package="trackio", start=lambda run, how: Broken("never", other)),
    }
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr("harness.tracking.trackers.TRACKERS", trackers)
    with caplog.at_level(logging.WARNING), Trackers(run_of(tmp_path, "wandb", "trackio")) as used:
        fill(used)
    (warning,) = [each.getMessage() for each in caplog.records]
    assert warning.startswith("--track wandb failed; the run goes on without it: OSError")
    assert KEY not in warning
    assert seen.count(fails_at) == 1
    assert seen[-1] == fails_at
    assert other == ["metrics"] * 3 + ["table", "pictures", "close"]


@NEEDS["tensorboard"]
def test_a_full_disk_ends_no_evaluation(
    offline: Path,
    command: Callable[..., Any],
    tiny,
    drawn: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The folder of an event file cannot be made: the run is complete, and says so once."""
    Path("taken").write_text("a file")
    arguments = ("eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn)
    arguments += ("--limit", 2, "--max-new-tokens", 2, "--bertscore", "none")
    result = command(*arguments, "--track", "tensorboard", "--track-dir", "taken")
    assert result.code == 0, result.stderr
    (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warning.startswith("--track tensorboard failed; the run goes on without it")


@NEEDS["tensorboard"]
def test_a_disk_that_fills_up_is_one_warning(
    offline: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Of the event file, whose size is limited here; no thread reports it a second time."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with Trackers(run_of(tmp_path, "tensorboard")) as trackers:
            trackers.begin({}, step=0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
            for step in range(200):
                trackers.log_metrics({"score": 0.5}, step=step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert warning.startswith("--track tensorboard failed; the run goes on without it: OSError")
    assert "Traceback" not in capfd.readouterr().err


class Refuses:
    """A finder that lets none of the trackers' packages be imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        assert name.split(".", maxsplit=1)[0] not in PACKAGES, f"{name} is imported"
        return None


def test_nothing_is_imported_unless_it_is_asked_for(
    tmp_path: Path,
    command: Callable[..., Any],
    tiny,
    drawn: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that is not tracked imports no tracker, and its folder has nothing of one."""
    for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    monkeypatch.chdir(tmp_path)
    arguments = ("eval", "--model", tiny("llava"), "--task", "scienceqa", "--data", drawn)
    result = command(*arguments, "--limit", 2, "--max-new-tokens", 2)
    assert result.code == 0, result.stderr
    assert not list(tmp_path.rglob(TRACKING_RECORD))
    assert not (tmp_path / "runs" / "tracking").exists()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_an_error_before_anything_is_loaded(
    name: str, tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the command that installs it; --dry-run lists it as missing."""
    found = registry.find_spec
    monkeypatch.setattr(
        registry, "find_spec", lambda package: None if package == name else found(package)
    )
    arguments = ("eval", "--model", tmp_path / "absent", "--task", "scienceqa-mini")
    result = command(*arguments, "--track", name, "--runs", tmp_path / "runs")
    assert result.code == 2
    assert result.stderr == (
        f"Error: --track {name} needs the package {name}, which is not installed.\n"
        f"  pip install 'harness-vlm[{name}]'\n"
    )
    dry = command(*arguments, "--track", name, "--dry-run")
    assert f'track = ["{name}"]' in dry.stdout
    assert f"# Missing: --track {name} needs the package {name}" in dry.stdout


@NEEDS["wandb"]
def test_wandb_without_a_key_is_an_error_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for by no prompt in the middle of a run; one in the environment or in netrc
    will do."""
    import wandb

    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    settings = wandb.Settings(mode="online", base_url="https://wandb.example.com")
    monkeypatch.setattr(wandb, "setup", lambda: type("Setup", (), {"settings": settings}))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    options = TrackingOptions(trackers=("wandb",))
    with pytest.raises(HarnessError) as error:
        check_trackers(options)
    assert str(error.value) == (
        "--track wandb: there is no key for wandb.example.com.\n"
        "wandb login, or WANDB_MODE=offline to keep the run here."
    )
    (tmp_path / "netrc").write_text(f"machine wandb.example.com login user password {KEY}\n")
    check_trackers(options)
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    check_trackers(options)
    monkeypatch.setattr(wandb, "setup", lambda: wandb.Settings(mode="on line"))
    with pytest.raises(HarnessError, match="W&B refuses its own settings") as refused:
        check_trackers(options)
    assert "WANDB_API_KEY" in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--track", "wandbb"], "Did you mean 'wandb'?"),
        (["--track-project", "mine"], "--track-project does nothing without --track."),
        (["--track", "trackio", "--track-project", "a/b"], "is no name of a project"),
        (["--track", "trackio", "--track-samples", "-1"], "--track-samples"),
    ],
)
def test_options_that_do_not_fit(
    given: Sequence[str], words: str, command: Callable[..., Any]
) -> None:
    """A name that is no tracker's, an option that would do nothing, a name that is a path."""
    result = command("eval", "--model", "x", "--task", "scienceqa-mini", *given)
    assert result.code == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


@NEEDS["tensorboard"]
@NEEDS["trackio"]
def test_a_configuration_and_the_api_have_them(
    tmp_path: Path, command: Callable[..., Any], tiny
) -> None:
    """--config reads what --dry-run prints; in Python one name or several will do."""
    from harness.api.options import choose

    arguments = ("eval", "--model", tiny("llava"), "--task", "scienceqa-mini")
    printed = command(*arguments, "--track", "tensorboard,trackio,trackio", "--dry-run")
    assert printed.code == 0, printed.stderr
    (tmp_path / "run.toml").write_text(printed.stdout)
    again = command("eval", "--config", tmp_path / "run.toml", "--dry-run")
    assert again.stdout == printed.stdout
    assert 'track = ["tensorboard", "trackio", "trackio"]' in again.stdout
    for given in ("tensorboard,trackio", ["tensorboard", "trackio"]):
        chosen = choose({"track": given, "track_samples": 0}, model="m", task="t", in_place=False)
        assert chosen.run.tracking.trackers == ("tensorboard", "trackio")
        assert chosen.run.tracking.samples == 0
    assert RunOptions(runs=tmp_path).tracking == TrackingOptions()


@NEEDS["tensorboard"]
def test_a_model_in_memory_is_tracked_in_the_usual_folder(
    offline: Path, tmp_path: Path, tiny, drawn: Path
) -> None:
    """Its own run goes with the object; what is tracked stays."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    import harness

    model = AutoModelForImageTextToText.from_pretrained(tiny("llava"))
    processor = AutoProcessor.from_pretrained(tiny("llava"))
    options = {"data": drawn, "limit": 2, "max_new_tokens": 2, "track": "tensorboard"}
    run = harness.evaluate((model, processor), "scienceqa", **options)
    (folder,) = (tmp_path / "runs" / "tracking" / "tensorboard" / "scienceqa").iterdir()
    (final,) = scalars(tensorboard_run(folder), "metrics/accuracy")
    assert final == (2, pytest.approx(run.metrics["accuracy"].value))
    assert not run.folder.is_relative_to(tmp_path / "runs")


def test_only_the_first_of_several_processes_tracks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others log nothing, and write nothing."""
    run = run_of(tmp_path, "tensorboard")
    for rank, is_first in (("0", True), ("1", False)):
        for name, value in (("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", rank)):
            monkeypatch.setenv(name, value)
        assert Trackers(run).are_wanted is is_first
    with Trackers(run) as trackers:
        fill(trackers)
    assert not list(run.home.iterdir())


def test_a_fresh_run_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id is kept once it logs something, as until then the folder is the former run's."""
    starts: list[Start] = []

    def start(run: TrackedRun, how: Start) -> Broken:
        starts.append(how)
        return Broken("never", [])

    monkeypatch.setattr(
        "harness.tracking.trackers.TRACKERS", {"wandb": Registered(package="wandb", start=start)}
    )
    run = run_of(tmp_path, "wandb")
    ids = []
    for fresh in (False, True, False):
        with Trackers(run) as trackers:
            trackers.begin({}, step=0, fresh=fresh)
            ids.append(json.loads((run.home / TRACKING_RECORD).read_text())["id"])
            trackers.log_metrics({}, step=0)
    assert [each.resumed for each in starts] == [False, False, True]
    assert ids == [starts[0].id, starts[0].id, starts[1].id]
    assert starts[1].id == starts[2].id != starts[0].id


def test_no_folder_is_told() -> None:
    """Absolute paths become their last part; what is relative, or an address, stays."""
    given = {"data": "/home/ann/sets/sqa", "all": ["a=/x/y", "~/b", "org/name"], "n": 3}
    assert tracked.without_folders(given) == {
        "data": "…/sqa",
        "all": ["a=…/y", "…/b", "org/name"],
        "n": 3,
    }
    address = "http://127.0.0.1:8000/v1"
    assert tracked.without_folders(address) == address
    assert tracked.without_folders("/x/\udcff.toml") == "…/?.toml"


def test_no_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of variables that are named like keys are left out of messages."""
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghij")
    assert without_keys("401 for hf_abcdefghij") == "401 for (HF_TOKEN)"


def test_texts_are_valid_and_bounded() -> None:
    """Half of a surrogate pair is no character, and a long answer is cut."""
    assert tracked.text(HOSTILE) == f"{HOSTILE[:-1]}?"
    assert len(tracked.text("x" * 9999)) == tracked.MAX_TEXT


def test_an_entity_has_no_meaning_in_markdown() -> None:
    """Words stay words; every mark becomes its number."""
    assert tensorboard.plain("a_b\n*c* é 1.5") == "a&#95;b &#42;c&#42; é 1.5"
