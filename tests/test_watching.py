"""Watching runs: status.json, the page that is written again, and the one that is served."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.types import Prediction
from harness.metrics.statistics import wilson
from harness.run.folder import RunFolder
from harness.run.layout import STATUS
from harness.run.status import Status, StatusWriter, read_status, scores_so_far
from reports.inputs.discovery import gather
from reports.inputs.predictions import PredictionsFile
from reports.page.leaderboard import render
from reports.page.serving import PageServer, live
from reports.page.watching import Watch, running
from tests.conftest import Result
from tests.hostile import HOSTILE
from tests.test_leaderboard import choice_run


def answered(number: int, *, right: int) -> list[Prediction]:
    return [
        Prediction(
            sample_id=str(n),
            raw="A",
            answer=0 if n else None,
            rule="a rule",
            target=0,
            scores={"accuracy": float(n < right)},
            question="Which?",
            choices=("x", "y"),
            error="it failed" if n == 1 else None,
        )
        for n in range(number)
    ]


def run_folder(runs: Path, model: str = "m") -> RunFolder:
    folder = RunFolder.of(runs, task="scienceqa", model=model, split="test")
    folder.rewrite(answered(8, right=4))
    folder.write_record(choice_run(name=model, title=model))
    return folder


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# status.json


def test_the_status_says_how_far_a_run_is(tmp_path: Path) -> None:
    """Counts, the score so far with its interval, and the seconds left at the present pace; at most
    once a second."""
    clock = Clock()
    writer = StatusWriter(tmp_path, total=20, done=2, clock=clock)
    clock.now += 4
    writer.update(answered(10, right=5), done=10)
    found = read_status(tmp_path)
    assert found is not None
    assert (found["status"], found["done"], found["total"]) == ("running", 10, 20)
    assert (found["failed"], found["unparsed"]) == (1, 1)
    ends = wilson(4, 9)
    assert found["scores"]["accuracy"] == {
        "value": pytest.approx(4 / 9),
        "n": 9,
        "low": pytest.approx(ends.low),
        "high": pytest.approx(ends.high),
    }
    assert found["seconds_left"] == pytest.approx(4 / 8 * 10)
    clock.now += 0.9
    writer.update(answered(12, right=5), done=12)
    assert read_status(tmp_path) == found
    clock.now += 0.2
    writer.update(answered(12, right=5), done=12)
    assert (read_status(tmp_path) or {})["done"] == 12


def test_a_long_run_is_not_held_up_by_its_status(tmp_path: Path) -> None:
    """Writing takes a fiftieth of the time at most, however many answers there are."""
    times = iter([0.0, 1.0, 3.0, 100.0, 101.1, 101.2])  # writing takes two seconds, then none
    writer = StatusWriter(tmp_path, total=20, done=0, clock=lambda: next(times))
    seen = []
    for done in (10, 11, 12):
        writer.update(answered(done, right=5), done=done)
        seen.append((read_status(tmp_path) or {})["done"])
    assert seen == [10, 10, 12]


def test_a_shard_writes_the_status_of_its_run(tmp_path: Path) -> None:
    """Where several processes answer there is one status."""
    StatusWriter(tmp_path / "shards" / "0", total=2, done=0).update([], done=1)
    assert (read_status(tmp_path) or {})["done"] == 1


def test_graded_answers_have_a_normal_interval() -> None:
    """The mean with twice its standard error; a single answer has none."""
    made = [
        replace(p, error=None, scores={"f1": s})
        for p, s in zip(answered(3, right=0), (0.2, 0.5, 0.8), strict=True)
    ]
    found = scores_so_far(made)["f1"]
    assert found.value == pytest.approx(0.5)
    assert found.high is not None
    assert found.high - 0.5 == pytest.approx(1.959964 * 0.3 / 3**0.5)
    assert scores_so_far(made[:1])["f1"].low is None


def test_an_evaluation_leaves_its_status(
    command: Callable[..., Result], tiny: Callable[[str], Path], drawn: Path, tmp_path: Path
) -> None:
    """As it ends: complete, with the figures of run.json; and a fresh one moves it aside."""
    arguments = [
        *("eval", "--model", tiny("vilt"), "--task", "scienceqa", "--data", drawn, "--limit", 2),
        *("--runs", tmp_path / "runs", "--device", "cpu", "--json"),
    ]
    assert command(*arguments).code == 0
    (folder,) = (path.parent for path in (tmp_path / "runs").glob("*/*/*/run.json"))
    record, found = RunFolder(folder).existing_record(), read_status(folder)
    assert found is not None
    assert set(found) == set(Status.__dataclass_fields__)
    assert (found["status"], found["done"], found["total"]) == (record.status, 2, 2)
    assert found["scores"]["accuracy"]["value"] == record.metrics["accuracy"].value
    assert RunFolder(folder).move_aside()
    assert not (folder / STATUS).exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "NaN"])
def test_a_status_of_nonsense_is_none(tmp_path: Path, text: str) -> None:
    """It may come from anywhere."""
    (tmp_path / STATUS).write_text(text)
    assert read_status(tmp_path) is None


# The page is written again


def test_a_page_is_written_when_runs_change(tmp_path: Path) -> None:
    """At once, then when a file is another, never before a second has passed, nor before as long as
    the last page took; a status alone changes no page."""
    folder, clock = run_folder(tmp_path), Clock()
    written: list[float] = []
    slow = 0.0

    def write() -> None:
        written.append(clock.now)
        clock.now += slow

    watch = Watch(tmp_path, write, clock=clock, sleep=lambda seconds: None)
    assert [watch.look(), watch.look()] == [True, False]
    folder.append(answered(9, right=0)[8:])
    assert not watch.look()
    clock.now += 1.1
    slow = 30
    assert watch.look()
    StatusWriter(folder.path, total=9, done=0).update([], done=1)
    clock.now += 100
    assert not watch.look()
    slow = 0
    folder.write_record(choice_run(name="m", title="M"))
    clock.now -= 75
    assert not watch.look()  # the last one took 30 s
    clock.now += 75
    assert watch.look()
    assert len(written) == 3


def test_a_run_that_changes_meanwhile_is_looked_at_again(tmp_path: Path) -> None:
    """The page is made a moment later; another error ends the watch."""
    run_folder(tmp_path)
    clock = Clock()
    errors: list[HarnessError] = [PredictionsFile(tmp_path / "x").changed()]

    def write() -> None:
        if errors:
            raise errors.pop()

    watch = Watch(tmp_path, write, clock=clock, sleep=lambda seconds: None)
    assert [watch.look(), watch.look()] == [False, False]
    clock.now += 2
    assert watch.look()
    run_folder(tmp_path, "other")
    errors.append(HarnessError("Something else."))
    clock.now += 2
    with pytest.raises(HarnessError, match="Something else"):
        watch.look()


def test_running_runs_are_told_whatever_their_status_says(tmp_path: Path) -> None:
    """Those that go on, in words and numbers that are safe to show."""
    for n, text in enumerate(HOSTILE[:8]):
        folder = run_folder(tmp_path, f"m{n}")
        status = {"status": "running", "done": text, "total": -1, "scores": {text: {"value": text}}}
        (folder.path / STATUS).write_text(json.dumps(status))
    run_folder(tmp_path, "ended")
    folder = run_folder(tmp_path, "real")
    StatusWriter(folder.path, total=40, done=0).update(answered(8, right=4), done=8)
    found = {run.title: run for run in running(tmp_path)}
    assert len(found) == 9
    assert found["m0 on scienceqa, test"].done == 0
    assert found["m0 on scienceqa, test"].silent_minutes > 5
    real = found["real on scienceqa, test"]
    assert real.silent_minutes == 0
    assert (real.done, real.total, real.score) == (8, 40, "accuracy 0.429 (0.158 to 0.750)")


# The page is served


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    run_folder(tmp_path / "runs")
    material, _ = gather(tmp_path / "runs")
    made = PageServer(0, lambda: running(tmp_path / "runs"))
    made.show(render(material, samples="none"))
    made.start()
    yield made
    made.close()


def ask(
    server: PageServer, path: str = "/", method: str = "GET", **headers: str
) -> tuple[int, bytes]:
    """The status and the body of an answer; `Host` is the server's own unless it is given."""
    host = server.url.removeprefix("http://").rstrip("/")
    connection = HTTPConnection(host, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for name, value in (
        {"Host": host} | {k.replace("_", "-"): v for k, v in headers.items()}
    ).items():
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_the_page_and_its_status_are_served(server: PageServer) -> None:
    """On 127.0.0.1 alone: the page, with the script that asks for news, and how far runs are."""
    assert server.url.startswith("http://127.0.0.1:")
    status, page = ask(server)
    assert status == 200
    assert b"connect-src" in page
    status, found = ask(server, "/status")
    assert (status, json.loads(found)["runs"]) == (200, [])
    assert ask(server, method="HEAD") == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/run.json", "/../runs", "/%2e%2e/", "/status/", "/?x", "http://127.0.0.1/", "*"],
)
def test_nothing_else_is_served(server: PageServer, path: str) -> None:
    """No file, whatever is asked for."""
    assert ask(server, path)[0] == 404


def test_other_sites_read_nothing(server: PageServer) -> None:
    """A request of another origin, for another name of this machine, from another site or for
    another method is refused."""
    port = server.url.rstrip("/").rpartition(":")[2]
    for host in ("", "example.org", f"example.org:{port}", "127.0.0.1", f"127.0.0.1:{port}.org"):
        assert ask(server, "/status", Host=host)[0] in {400, 403}
    for origin in (
        "null",
        "https://example.org",
        "http://127.0.0.1:1",
        f"https://127.0.0.1:{port}",
    ):
        assert ask(server, "/status", Origin=origin)[0] == 403
    for site in ("cross-site", "same-site"):
        assert ask(server, "/", Sec_Fetch_Site=site)[0] == 403
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT"):
        assert ask(server, "/", method)[0] == 501
    assert ask(server, "/status", Origin=f"http://127.0.0.1:{port}")[0] == 200


def test_a_served_page_allows_its_own_scripts_alone(tmp_path: Path) -> None:
    """Its policy has one more hash, and lets it ask its own server; nothing else changes."""
    run_folder(tmp_path)
    page = render(gather(tmp_path)[0], samples="none")
    served = live(page)
    assert served.count("<script>") == page.count("<script>") + 1
    policy, before = (
        text.partition("Content-Security-Policy")[2].partition(">")[0] for text in (served, page)
    )
    assert policy.count("sha256-") == before.count("sha256-") + 1
    assert policy.replace("connect-src &#39;self&#39;; ", "").startswith(
        before.partition("script-src")[0]
    )
    assert "unsafe" not in policy


def test_a_port_that_is_taken_is_named(server: PageServer) -> None:
    """With the option that helps."""
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(HarnessError, match=f"Port {port}") as error:
        PageServer(port, list)
    assert "--port" in error.value.remedy


@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("chromium-browser")), reason="needs Chromium"
)
@pytest.mark.slow
def test_an_open_page_notices(server: PageServer, tmp_path: Path) -> None:
    """It shows how far a run is with its interval, and says when there is a newer page."""
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    folder = run_folder(tmp_path / "runs", "real")
    StatusWriter(folder.path, total=40, done=0).update(answered(8, right=4), done=8)
    with sync_playwright() as driver:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.goto(server.url)
        page.wait_for_selector(".live li")
        assert "8 of 40, accuracy 0.429 (0.158 to 0.750) so far" in page.inner_text(".live li")
        assert not page.is_visible(".live button")
        server.show(render(gather(tmp_path / "runs")[0], samples="none"))
        page.wait_for_selector(".live button")
        page.click(".live button")
        page.wait_for_selector("text=Measured here: 2 runs")
        browser.close()
    assert said == []


# The command


def test_options_that_do_not_fit_are_refused(
    command: Callable[..., Result], tmp_path: Path
) -> None:
    """--port without a server, and JSON of a page that is written again and again."""
    run_folder(tmp_path)
    assert command("report", "--runs", tmp_path, "--port", 1).code == 2
    refused = command("report", "--runs", tmp_path, "--watch", "--json")
    assert (refused.code, "--json is for one page" in refused.stderr) == (2, True)


def test_the_command_watches_until_it_is_interrupted(
    command: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is there before it says that it watches; what cannot be read is said once."""
    run_folder(tmp_path / "runs")
    run_folder(tmp_path / "runs", "broken").predictions_path.write_text("{}\n")

    def twice(watch: Watch) -> None:
        watch._write()
        raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "forever", twice)
    out = tmp_path / "page.html"
    done = command("report", "--runs", tmp_path / "runs", "--out", out, "--watch")
    assert (done.code, out.is_file()) == (130, True)
    assert f"{out} is written again" in done.stderr
    assert done.stderr.count("is not a prediction") == 1


def test_the_command_serves_until_it_is_interrupted(
    command: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes the page, opens it where that is asked for, and ends with its server."""
    run_folder(tmp_path / "runs")
    opened: list[Any] = []

    def browse(address: str) -> bool:
        opened.append((address, urllib.request.urlopen(address, timeout=30).read()))
        return True

    def stop(watch: Watch) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", browse)
    monkeypatch.setattr(Watch, "forever", stop)
    out = tmp_path / "page.html"
    threads = threading.active_count()
    done = command("report", "--runs", tmp_path / "runs", "--out", out, "--serve", "--open")
    assert done.code == 130
    ((address, page),) = opened
    assert f"{address} shows" in done.stderr
    assert page.decode() == live(out.read_text())
    assert threading.active_count() == threads
