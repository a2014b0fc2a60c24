"""The page in a real browser: every answer can be reached, and nothing that a text says is run."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

from distill.quality.answers import reasoning_to_error
from harness.core.images import ImageRef
from harness.core.types import Prediction
from harness.metrics import statistics
from harness.metrics.overlap import rouge
from harness.run.compare import compare
from harness.run.folder import RunFolder
from harness.run.rescoring import rescore
from reports.inputs import discovery as reporting
from reports.inputs.material import Distillation, Material, Pictures, RunData, Training
from reports.page.leaderboard import render
from tasks import load_task
from tests import league, made_up
from tests.hostile import HOSTILE, filled
from tests.test_leaderboard import choice_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")

QUESTIONS = 40
SIDES = ("first", "second")
WINDOW: ViewportSize = {"width": 1280, "height": 900}
PAGES = 7
"""Pages that the hostile strings are on, some of every kind on each."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        found = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of made-up models, two of which a distillation connects; none may be written to."""
    folder = tmp_path_factory.mktemp("league") / "runs"
    league.write(folder, questions=QUESTIONS)
    return folder


@pytest.fixture(scope="module")
def page_file(runs: Path) -> Path:
    """The page of those runs, with a picture for each question."""
    material, broken = reporting.gather(runs)
    assert not broken
    file = runs.parent / "page.html"
    file.write_text(render(material, pictures=Pictures(find=drawn_picture)), encoding="utf-8")
    return file


def drawn_picture(digest: str) -> ImageRef:
    data = BytesIO()
    Image.new("RGB", (640, 480), f"#{digest[:6]}").save(data, "PNG")
    return ImageRef(digest, data.getvalue)


@dataclass
class Seen:
    """What a page did beside being shown."""

    said: list[str] = field(default_factory=list)
    """On the console, errors among it."""
    asked: list[str] = field(default_factory=list)
    """Addresses, but for the page's own and for those made of its bytes."""
    ran: list[str] = field(default_factory=list)
    """Dialogs: scripts of others would open some."""

    @property
    def everything(self) -> list[str]:
        return self.said + self.asked + self.ran

    def watch(self, page: Page) -> None:
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self._ask(request.url))
        page.on("dialog", lambda dialog: (self.ran.append(dialog.message), dialog.dismiss()))

    def _ask(self, url: str) -> None:
        if not url.startswith(("blob:", "data:image/webp")) and "page.html" not in url:
            self.asked.append(url)


def new_context(browser: Browser) -> BrowserContext:
    made = browser.new_context(viewport=WINDOW)
    made.set_default_timeout(60_000)  # a busy machine
    return made


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = new_context(browser)
    yield made
    made.close()


@pytest.fixture
def show(context: BrowserContext, page_file: Path) -> Iterator[Callable[..., Page]]:
    """`show("#?...")` opens the page at that address; nothing may be asked for, said or run."""
    seen = Seen()

    def opened(address: str = "", file: Path = page_file) -> Page:
        page = context.new_page()
        seen.watch(page)
        page.goto(file.as_uri() + address)
        return ready(page)

    yield opened
    assert seen.everything == []


@pytest.fixture(scope="module")
def open_pages(browser: Browser) -> Iterator[Callable[[Path], tuple[Page, Seen]]]:
    """`open_pages(file)` is the page of that file, opened once for tests that look at it."""
    shared = new_context(browser)

    @cache
    def made(file: Path) -> tuple[Page, Seen]:
        seen, page = Seen(), shared.new_page()
        seen.watch(page)
        page.goto(file.as_uri())
        return page, seen

    yield made
    shared.close()


@pytest.fixture
def look(
    open_pages: Callable[[Path], tuple[Page, Seen]], page_file: Path
) -> Iterator[Callable[..., Page]]:
    """As `show`, in a page that is open already: what a test has opened or closed on it stays so
    for the next, what stands in the address does not."""
    used: list[Seen] = []

    def looked(address: str = "", file: Path = page_file) -> Page:
        page, seen = open_pages(file)
        used.append(seen)
        page.set_viewport_size(WINDOW)
        page.evaluate(
            "(hash) => { history.pushState(null, '', location.href.split('#')[0] + hash);"
            " document.activeElement.blur(); if (list) scrollList(0); restore(); }",
            address,
        )
        return ready(page)

    yield looked
    assert [each.everything for each in used] == [[]] * len(used)


def until(page: Page, expression: str, arg: object = None) -> None:
    """Waits until the expression holds. `wait_for_function` would, but the page's policy forbids it
    to evaluate a string more than once."""
    deadline = time.monotonic() + 60
    while not page.evaluate(expression, arg):
        assert time.monotonic() < deadline, f"It never held: {expression}"
        page.wait_for_timeout(20)


def ready(page: Page) -> Page:
    """The page, once the questions that its address names are unpacked."""
    until(page, "!index.groups.length || (view.group.ids && awaited === null)")
    return page


def answers(runs: Path, name: str, task: str = "scienceqa") -> dict[str, Prediction]:
    folder = RunFolder.of(runs, task=task, model=name, split="test")
    return {p.sample_id: p for p in folder.read_predictions()}


def listed(page: Page) -> list[str]:
    """Ids of the questions that are in the list, seen or not."""
    return page.evaluate("found.map((i) => view.group.ids[i])")


def detail(page: Page, sample_id: str) -> str:
    """The text of the question that is open, once it is that one."""
    until(
        page,
        "(id) => document.querySelector('#detail .small')?.textContent.startsWith(`#${id} `)",
        arg=sample_id,
    )
    return page.inner_text("#detail")


# Controls: what the tests below would see


def test_the_watch_sees(context: BrowserContext, tmp_path: Path) -> None:
    """A dialog, a request and a complaint of the policy are noticed."""
    seen = Seen()
    page = context.new_page()
    seen.watch(page)
    file = tmp_path / "control.html"
    file.write_text(
        "<meta http-equiv=Content-Security-Policy content=\"style-src 'none'\">"
        "<p style='color: red'><script>alert(1)</script><img src='https://example.invalid/x.png'>"
    )
    page.goto(file.as_uri())
    assert seen.ran == ["1"]
    assert "https://example.invalid/x.png" in seen.asked
    assert any("Content Security Policy" in said for said in seen.said)


# What a reader can do


def test_pictures_are_shown_small(look: Callable[..., Page]) -> None:
    """Made anew at the size of a thumbnail, whatever was given."""
    page = look("#?sample=3")
    page.wait_for_selector("#detail .shown img")
    sizes = page.evaluate(
        "async () => { const i = document.querySelector('#detail .shown img'); await i.decode();"
        " return [i.naturalWidth, i.naturalHeight, i.src.slice(0, 5)]; }"
    )
    assert sizes == [128, 96, "blob:"]
    assert page.locator("#list .thumbnail img").count() > 5


def test_a_sample_says_all_that_was_recorded(look: Callable[..., Page], runs: Path) -> None:
    """Question, options, gold, and of each run prompt, text, reading, rule, time and tokens."""
    page = look()
    page.click("#list .row >> nth=2")
    sample_id = listed(page)[2]
    text = detail(page, sample_id)
    for name in ("phi-3.5", "moondream-kd", "kosmos-2"):
        title = {"phi-3.5": "Phi-3.5", "moondream-kd": "Moondream-kd", "kosmos-2": "KOSMOS-2"}[name]
        run = page.locator("details.answer", has=page.locator("summary", has_text=title)).first
        if run.get_attribute("open") is None:
            run.locator("summary").click()
        p = answers(runs, name)[sample_id]
        raw, prompt = run.locator(".passage").all_text_contents()
        assert (raw, prompt) == (p.raw, p.prompt)
        told = run.inner_text()
        assert f"rule “{p.rule}”" in told
        assert f"{p.tokens:,} generated" in told
        assert f"{float(f'{p.seconds:.4g}')} s" in told
        assert ("✓ right" if p.correct else "∅ nothing" if p.answer is None else "✗ wrong") in told
        text = page.inner_text("#detail")
    assert p.question in text
    gold = page.locator("#detail .right-choice").inner_text()
    assert str(p.choices[int(p.target)]) in gold


def test_a_browser_unpacks_what_was_recorded(look: Callable[..., Page], runs: Path) -> None:
    """Every text, answer, rule and prompt of every run, block by block."""
    page = look()
    found = page.evaluate("""async () => {
      const [group] = index.groups, rows = {};
      for (const [place, run] of group.runs.entries()) {
        rows[run.key] = [];
        for (let i = 0; i < group.ids.length; i += 1) {
          const { question, answers } = await entry(group, i), it = answers[place];
          rows[run.key].push([group.ids[i], question, it.raw, it.read, it.rule, it.prompt]);
        }
      }
      return rows;
    }""")
    assert len(found) == len(league.KINDS) + 1
    for name, rows in found.items():
        recorded = answers(runs, name).values()
        assert rows == [
            [p.sample_id, p.question, p.raw, p.answer, p.rule, p.prompt] for p in recorded
        ]


def test_a_browser_that_cannot_unpack_says_so(context: BrowserContext, page_file: Path) -> None:
    """In a sentence; the tables are there and can be sorted, and nothing fails."""
    seen = Seen()
    context.add_init_script("delete window.DecompressionStream")
    page = context.new_page()
    seen.watch(page)
    page.goto(page_file.as_uri() + "#?sample=3")
    assert page.is_visible("#cannot-unpack")
    assert not page.is_visible("#browser")
    page.click("#scienceqa-measured th[data-best] button >> nth=1")
    assert "sort=scienceqa-measured" in page.url
    assert "sample=3" in page.url
    assert seen.everything == []


def test_large_files_of_tables_are_unpacked_when_they_are_saved(
    runs: Path, show: Callable[..., Page], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the bytes that small ones have in their addresses."""
    material, _ = reporting.gather(runs)
    small = render(material, samples="none")
    monkeypatch.setattr("reports.page.saved_files.LARGE", 0)
    file = tmp_path / "page.html"
    file.write_text(render(material, samples="none"), encoding="utf-8")
    assert len(file.read_text()) < len(small)
    page = show("", file)
    with page.expect_download() as download:
        page.click("a[data-packed][download='scienceqa-measured.csv']")
    kept = re.search(
        r'download="scienceqa-measured.csv" href="data:text/csv;base64,([^"]*)"', small
    )
    assert kept is not None
    assert Path(download.value.path()).read_bytes() == base64.b64decode(kept[1])


def expected(runs: Path, name: str) -> dict[str, set[str]]:
    own = answers(runs, name)
    return {
        "right": {i for i, p in own.items() if p.correct},
        "wrong": {i for i, p in own.items() if not p.correct},
        "unparsed": {i for i, p in own.items() if p.answer is None},
    }


def test_filters_list_what_they_say(look: Callable[..., Page], runs: Path) -> None:
    """By outcome of one, of any and of every model, by topic, by what distillation changed, and
    all of them together with a search."""
    page = look()
    names = [kind.name for kind in league.KINDS] + ["moondream-kd-answer-only"]
    by_name = {name: expected(runs, name) for name in names}
    everything = set(answers(runs, "vilt"))
    assert set(listed(page)) == everything
    for outcome in ("right", "wrong", "unparsed"):
        page.select_option("#outcome-select", outcome)
        if not any(found[outcome] for found in by_name.values()):
            continue
        page.select_option("#model-select", "vilt")
        assert set(listed(page)) == by_name["vilt"][outcome]
        page.select_option("#model-select", "")
        assert set(listed(page)) == set.union(*(found[outcome] for found in by_name.values()))
        page.select_option("#model-select", "every")
        assert set(listed(page)) == set.intersection(*(f[outcome] for f in by_name.values()))
    page.click("#filters button[type=reset]")
    before, after = by_name["moondream"], by_name["moondream-kd"]
    page.select_option("#outcome-select", "fixed")
    assert set(listed(page)) == before["wrong"] & after["right"]
    page.select_option("#outcome-select", "broken")
    assert set(listed(page)) == before["right"] & after["wrong"]
    page.select_option("#outcome-select", "misled")
    page.select_option("#model-select", "moondream-kd")
    misled = reasoning_to_error(list(answers(runs, "moondream-kd").values()))
    assert set(listed(page)) == set(misled.sample_ids)
    page.click("#filters button[type=reset]")
    own = answers(runs, "vilt")
    page.select_option("#topic-select", "physics")
    page.fill("#search", "NORTH")
    assert set(listed(page)) == {
        i for i, p in own.items() if p.topic == "physics" and "north" in p.question
    }
    page.click("#filters button[type=reset]")
    page.fill("#search", "#17")
    assert listed(page) == ["17"]
    page.fill("#search", "no such words")
    assert listed(page) == []
    assert "No question matches" in page.inner_text("#detail")


def test_comparisons_are_those_of_the_command(look: Callable[..., Page], runs: Path) -> None:
    """Every pair, by our extractor: difference, interval, p, counts; then the jump to the questions
    that tell the two apart."""
    page = look()
    names = [kind.name for kind in league.KINDS[:4]]
    folders = {
        name: RunFolder.of(runs, task="scienceqa", model=name, split="test") for name in names
    }
    for first, second in combinations(names, 2):
        page.select_option("#first-select", first)
        page.select_option("#second-select", second)
        found = page.evaluate("JSON.parse(document.getElementById('paired-result').dataset.result)")
        known = compare(folders[first], folders[second])
        same(found, known)
        titles = [page.locator(f"#{side}-select option:checked").inner_text() for side in SIDES]
        sentence = page.inner_text("#paired-result .sentence")
        shown, _, verdict = sentence.partition(": ")
        assert sorted(shown.split(" vs. ")) == sorted(titles)
        assert page.locator(f"#scienceqa-1-pairs td[title='{verdict.removesuffix('.')}']").count()
    page.click("#paired-result .primary")
    one, two = expected(runs, first), expected(runs, second)
    apart = (one["right"] & two["wrong"]) | (one["wrong"] & two["right"])
    assert set(listed(page)) == apart
    assert f"{len(apart)} of {QUESTIONS} questions" in page.inner_text("#found")


def same(found: Any, known: Any) -> None:
    d = known.decisive
    assert (found["n"], found["count"]["first"], found["count"]["second"]) == (
        known.n,
        known.only_first,
        known.only_second,
    )
    figures = [found["difference"], found["low"], found["high"], found["p"]]
    assert figures == pytest.approx([d.difference, d.low, d.high, d.p], rel=1e-9, abs=1e-12)
    assert found["clustered"] == ("clustered" in known.interval)


def test_the_statistics_are_ours(look: Callable[..., Page]) -> None:
    """Interval, p and Wilson's interval, from two questions to 60,000."""
    page = look()
    cases = [
        (b, c, n)
        for n in (1, 2, 17, 2017, 60_000)
        for b in (0, 1, n // 3, n // 2)
        for c in (0, 1, n // 5, n // 2)
        if b + c <= n
    ]
    found = page.evaluate("(all) => all.map(([b, c, n]) => pairedProportions(b, c, n))", cases)
    for (b, c, n), got in zip(cases, found, strict=True):
        known = statistics.paired_proportions(b, c, n)
        numbers = [got["difference"], got["low"], got["high"], got["p"]]
        wanted = [known.difference, known.low, known.high, known.p]
        assert numbers == pytest.approx(wanted, rel=1e-8, abs=1e-300)
    wilsons = page.evaluate("(all) => all.map(([k, , n]) => wilson(k, n))", cases)
    for (k, _, n), got in zip(cases, wilsons, strict=True):
        assert (got["low"], got["high"]) == pytest.approx(statistics.wilson(k, n))


@pytest.mark.slow
def test_extractors_give_what_rescoring_gives(
    look: Callable[..., Page], runs: Path, tmp_path: Path
) -> None:
    """The paper's two rules, over the same outputs: verdicts, accuracies and comparison change
    together, and each names the extractor."""
    page = look()
    copied = tmp_path / "runs"
    shutil.copytree(runs, copied)
    task = load_task("scienceqa")
    for extractor, words in (("paper-base", "base model"), ("paper-kd", "distilled model")):
        page.select_option("#extractor-select", extractor)
        read = {}
        for name in ("moondream", "moondream-kd", "llava-next"):
            folder = RunFolder.of(copied, task="scienceqa", model=name, split="test")
            read[name] = rescore(folder, task, extractor=extractor)
            accuracy = read[name].record.metrics["accuracy"]
            title = "LLaVA-NeXT" if name == "llava-next" else name.capitalize()
            row = page.locator("#standing tbody tr").filter(has=page.get_by_text(title, exact=True))
            assert f"{100 * (accuracy.value or 0):.2f}" in row.inner_text()
            right = {
                p.sample_id for p in RunFolder(read[name].folder).read_predictions() if p.correct
            }
            page.select_option("#outcome-select", "right")
            page.select_option("#model-select", name)
            assert set(listed(page)) == right
        known = compare(*(RunFolder(read[name].folder) for name in ("moondream", "moondream-kd")))
        same(
            page.evaluate("JSON.parse(document.getElementById('paired-result').dataset.result)"),
            known,
        )
        for part in ("#standing-caption", "#paired-result", "#found"):
            assert words in page.inner_text(part)
        page.click("#filters button[type=reset]")
        page.click("#list .row >> nth=0")
        assert words in detail(page, listed(page)[0])


# Addresses


def test_an_address_brings_everything_back(
    look: Callable[..., Page], show: Callable[..., Page]
) -> None:
    """Sample, filters, search, comparison, extractor and sorting, in another window."""
    page = look()
    page.select_option("#extractor-select", "paper-base")
    page.select_option("#first-select", "llava-cot")
    page.select_option("#second-select", "phi-3.5")
    page.select_option("#outcome-select", "second")
    page.select_option("#topic-select", "geography")
    page.fill("#search", "which")
    page.locator("#list .row").nth(1).click()
    sort = page.locator("#scienceqa-measured th button").first
    sort.click()
    order = page.locator("#scienceqa-measured tbody th.head").all_text_contents()
    ids, open_id = listed(page), page.evaluate("view.group.ids[view.sample]")
    sentence = page.inner_text("#paired-result .sentence")
    other = show("#" + page.url.partition("#")[2])
    assert listed(other) == ids
    assert open_id in ids
    assert detail(other, open_id)
    assert other.inner_text("#paired-result .sentence") == sentence
    values = {
        name: other.input_value(f"#{name}-select")
        for name in ("extractor", "first", "second", "outcome", "topic")
    }
    assert values == {
        "extractor": "paper-base",
        "first": "llava-cot",
        "second": "phi-3.5",
        "outcome": "second",
        "topic": "geography",
    }
    assert other.input_value("#search") == "which"
    assert other.locator("#scienceqa-measured tbody th.head").all_text_contents() == order


def test_back_undoes_and_forward_does_again(look: Callable[..., Page]) -> None:
    """Step by step, sorting included; moving from question to question is no step of its own."""
    page = look()
    first_order = page.locator("#scienceqa-measured tbody th.head").all_text_contents()
    page.click("#scienceqa-measured th button >> nth=0")
    page.select_option("#topic-select", "physics")
    page.select_option("#outcome-select", "wrong")
    page.click("#list .row >> nth=0")
    page.keyboard.press("j")
    page.keyboard.press("j")
    wrong = listed(page)
    page.go_back()
    until(page, "view.sample === -1")
    assert listed(page) == wrong
    page.go_back()
    until(page, "view.outcome === ''")
    page.go_back()
    until(page, "view.topic === ''")
    assert page.locator("#scienceqa-measured [aria-sort]").count() == 1
    page.go_back()
    until(page, "!location.hash")
    assert page.locator("#scienceqa-measured tbody th.head").all_text_contents() == first_order
    for _ in range(3):
        page.go_forward()
    until(page, "view.outcome === 'wrong'")
    assert listed(page) == wrong


def test_another_task_has_questions_of_its_own(look: Callable[..., Page], runs: Path) -> None:
    """Written answers have a reference and a score, each of its own, and no verdict."""
    page = look()
    page.select_option("#data-select", label="VQAonline, test split")
    until(page, "view.group.title === 'VQAonline, test split'")
    found = answers(runs, "moondream", "vqaonline")
    assert len(listed(page)) == len(found)
    assert not page.is_visible("#extractor-choice")
    assert "Accuracy" not in page.inner_text("#standing")
    page.click("#list .row >> nth=0")
    sample_id = listed(page)[0]
    text = detail(page, sample_id)
    assert str(found[sample_id].target) in text
    texts, target = [found[sample_id].text], [str(found[sample_id].target)]
    assert f"ROUGE-L {rouge(texts, target)['rougeL'][0]:.2f}" in text
    assert "data=vqaonline.test" in page.url


# Graded answers


@pytest.fixture(scope="module")
def graded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models whose answers have between no and full credit, with several references."""
    folder = tmp_path_factory.mktemp("graded")
    made_up.write(folder, made_up.GRADED, made_up.EXACT)
    return folder


@pytest.fixture(scope="module")
def graded_page(graded_runs: Path) -> Path:
    file = graded_runs / "page.html"
    file.write_text(render(reporting.gather(graded_runs)[0]), encoding="utf-8")
    return file


def test_graded_answers_are_shown_with_their_scores(
    look: Callable[..., Page], graded_page: Path, graded_runs: Path
) -> None:
    """0.67 with the metric's title, not a tick; every accepted answer, the most frequent first."""
    found = answers(graded_runs, "weak", "madeup")
    sample_id = next(i for i, p in found.items() if p.scores.get("credit") == pytest.approx(2 / 3))
    page = look(f"#?sample={sample_id}", graded_page)
    text = detail(page, sample_id)
    assert "VQA credit 0.67" in text
    assert "Exact match" in text
    marks = page.locator('#list .row[aria-selected="true"] .verdict-mark')
    assert marks.last.inner_text() == "0.67"
    assert marks.last.get_attribute("title") == "Weak: VQA credit 0.67"
    counts = Counter(found[sample_id].references).most_common()
    shown = page.locator("#detail .accepted li").all_inner_texts()
    assert shown == [f"{answer} × {n}" for answer, n in counts]  # noqa: RUF001  # as printed
    assert "✓" not in page.inner_text("#list")


def test_graded_means_and_intervals_are_the_records(
    look: Callable[..., Page], graded_page: Path, graded_runs: Path
) -> None:
    """The standing of each run has the figure of its record, and its n."""
    rows = look("", graded_page).locator("#standing tbody tr").all_inner_texts()
    for row, name in zip(rows, ("strong", "student", "weak"), strict=True):
        folder = RunFolder.of(graded_runs, task="madeup", model=name, split="test")
        value = folder.existing_record().metrics["credit"]
        assert value.value is not None
        assert value.low is not None
        assert value.high is not None
        assert f"{value.value * 100:.2f}" in row
        assert f"{value.low * 100:.1f}–{value.high * 100:.1f}" in row  # noqa: RUF001  # a dash
        assert "59 of 60" in row


def test_graded_pairs_are_what_harness_compare_says(
    look: Callable[..., Page], graded_page: Path, graded_runs: Path
) -> None:
    """In either order: difference, interval, p and n; and the list has those that differ."""
    page = look("", graded_page)
    for first, second in (("strong", "weak"), ("weak", "student")):
        page.select_option("#first-select", first)
        page.select_option("#second-select", second)
        made = json.loads(page.get_attribute("#paired-result", "data-result") or "")
        sides = [
            RunFolder.of(graded_runs, task="madeup", model=name, split="test")
            for name in (first, second)
        ]
        found = compare(*sides).decisive
        for part in ("difference", "low", "high", "p", "n"):
            assert made[part] == pytest.approx(getattr(found, part)), part
        one, two = (
            {i: p.scores.get("credit") for i, p in answers(graded_runs, name, "madeup").items()}
            for name in (first, second)
        )
        for outcome, ahead in (("first", one), ("second", two)):
            page.select_option("#outcome-select", outcome)
            other = two if ahead is one else one
            wanted = [i for i, s in ahead.items() if s is not None and s > (other[i] or 0.0)]
            assert listed(page) == wanted
            assert made["count"][outcome] == len(wanted)
        page.select_option("#outcome-select", "differ")
        assert len(listed(page)) == made["count"]["first"] + made["count"]["second"]


def test_answers_of_a_graded_run_are_filtered_by_their_mean(
    look: Callable[..., Page], graded_page: Path, graded_runs: Path
) -> None:
    """Those that are better than the mean of their model, and those that are worse."""
    page = look("#?model=weak&outcome=better", graded_page)
    scores = {
        i: p.scores["credit"]
        for i, p in answers(graded_runs, "weak", "madeup").items()
        if "credit" in p.scores
    }
    mean = sum(scores.values()) / len(scores)
    assert listed(page) == [i for i, score in scores.items() if score > mean]
    page.select_option("#outcome-select", "worse")
    assert listed(page) == [i for i, score in scores.items() if score < mean]


def test_right_and_wrong_texts_have_verdicts(show: Callable[..., Page], tmp_path: Path) -> None:
    """A metric of 0 and 1 marks written answers as it marks options, and less may be better."""
    made_up.write(tmp_path / "exact", made_up.EXACT)
    file = tmp_path / "page.html"
    file.write_text(render(reporting.gather(tmp_path / "exact")[0]), encoding="utf-8")
    page = show("", file)
    assert "Exact McNemar" in page.inner_text("#paired-result")
    found = answers(tmp_path / "exact", "weak", "madeup").values()
    right = sum(p.scores["exact"] for p in found)
    assert f"{right:.0f} of 60" in page.locator("#standing tbody tr").last.inner_text()


def test_lower_scores_may_be_better(show: Callable[..., Page], tmp_path: Path) -> None:
    """The run with the least is first, and is said to be better."""
    made_up.write(tmp_path / "lower", made_up.LOWER)
    file = tmp_path / "page.html"
    file.write_text(render(reporting.gather(tmp_path / "lower")[0]), encoding="utf-8")
    page = show("#?compare=weak,strong", file)
    assert page.locator("#standing tbody th").first.inner_text().endswith("Strong")
    sentence = " ".join(page.inner_text("#paired-result .sentence").split())
    assert sentence.startswith("Strong vs. Weak: ")
    assert sentence.endswith(": Strong is better.")
    assert "Letters off on 60 shared questions" in sentence


NONSENSE = (
    "#?sample=nowhere&model=x&outcome=y&topic=z&reader=w&compare=a,b&data=c&sort=d~e~f",
    "#?sort=scienceqa-measured~99~ascending&sort=scienceqa-measured~0~sideways&sort=~~",
    "#?sort=scienceqa-measured~item~ascending&sort=scienceqa-measured~length~ascending",
    "#?sort=scienceqa-measured~__proto__~ascending&sort=scienceqa-measured~namedItem~descending",
    "#?sort=scienceqa-measured~1e0~ascending&sort=standing~item~ascending&sort=status~0~ascending",
    "#?sample=%00%ff&search=%3Cscript%3Ealert(1)%3C/script%3E",
    "#?__proto__=1&constructor=2&outcome=constructor&model=__proto__&reader=toString",
    "#?outcome=fixed99&compare=",
    "#%",
)


def test_an_address_of_nonsense_does_no_harm(show: Callable[..., Page]) -> None:
    """What it asks for is not there: the page is shown as it is, at first and later."""
    page = show(NONSENSE[0])
    assert page.locator("#standing tbody tr").count() == len(league.KINDS) + 1
    for address in (*NONSENSE, "#?search=1"):
        page.evaluate("(hash) => { location.hash = hash; }", address)
        until(
            page,
            "(text) => view.text === text || location.hash === '#%'",
            arg=parse_qs(address[2:]).get("search", [""])[0],
        )
        assert len(listed(page)) in {0, QUESTIONS}
        assert page.locator("#standing tbody tr").count() == len(league.KINDS) + 1


def test_the_words_that_an_answer_was_extracted_from_are_marked(
    command: Callable[..., Any], show: Callable[..., Page], tmp_path: Path
) -> None:
    """By place, as text, beside the tags of a rationale; and by nobody else's reading."""
    raw = "👍 <b>x</b> So the answer is (B).<script>alert(1)</script> It rains."
    start = raw.index("the answer")
    span = (start, start + len("the answer is (B)"))
    line = {"id": "7", "raw": raw, "choices": ["x", "y"], "target": 1, "finish_reason": "length"}
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(line) + "\n")
    for name in ("one", "two"):
        command("score", file, "-t", "scienceqa", "--model", name, "--runs", tmp_path)
        folder = RunFolder.of(tmp_path, task="scienceqa", model=name, split="test")
        folder.rewrite([replace(p, answer=1, span=span) for p in folder.read_predictions()])
    command("report", "--runs", tmp_path, "--out", tmp_path / "page.html")
    page = show("#?sample=7", tmp_path / "page.html")
    page.wait_for_selector("#detail mark")
    assert page.text_content("#detail mark") == "the answer is (B)"
    assert page.text_content("#detail .passage") == raw
    assert "cut at the token limit" in page.inner_text("#detail summary >> nth=0")
    assert "Cut at the token limit" in page.inner_text("#standing thead")
    page.select_option("#extractor-select", "paper-kd")
    until(page, "() => !document.querySelector('#detail mark')")


# Keyboard


def test_everything_is_reached_by_keyboard(look: Callable[..., Page]) -> None:
    """The keys j and k, arrows, Home and End, / and Esc, ? and Esc; never while somebody types."""
    page = look()
    ids = listed(page)
    press = page.keyboard.press
    press("j")
    assert detail(page, ids[0])
    press("j")
    assert detail(page, ids[1])
    press("k")
    assert detail(page, ids[0])
    press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("jk?/")
    assert page.input_value("#search") == "jk?/"
    press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    page.fill("#search", "")
    page.focus("#list")
    press("End")
    assert detail(page, ids[-1])
    assert page.locator("#list .row[aria-selected=true]").count() == 1
    active = page.get_attribute("#list", "aria-activedescendant")
    assert page.get_attribute(f"#{active}", "aria-posinset") == str(len(ids))
    press("Home")
    press("ArrowDown")
    assert detail(page, ids[1])
    press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    press("?")
    assert page.is_visible("#keys")
    press("j")
    assert detail(page, ids[1])
    press("Escape")
    assert not page.is_visible("#keys")
    press("Escape")
    until(page, "view.sample === -1")


def test_focus_can_be_seen(look: Callable[..., Page]) -> None:
    """Each thing that the keyboard reaches has an outline."""
    page = look("#?sample=3")
    detail(page, "3")
    page.focus("#extractor-select")
    seen = 0
    for _ in range(16):
        page.keyboard.press("Tab")
        width, name = page.evaluate(
            "[getComputedStyle(document.activeElement).outlineWidth, document.activeElement.tagName]"
        )
        assert width == "3px", name
        seen += 1
    assert seen == 16


# Every width, every eye


def test_nothing_scrolls_sideways(look: Callable[..., Page]) -> None:
    """With a sample open; on a narrow screen the list stands above it."""
    page = look("#?sample=3&outcome=fixed")
    detail(page, "3")
    page.evaluate("for (const part of document.querySelectorAll('.answer')) part.open = true")
    for width in (1280, 768, 400, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [page.locator(name).bounding_box() for name in ("#list", "#detail")]
        a, b = boxes
        assert a
        assert b
        assert (a["y"] + a["height"] <= b["y"]) == (width < 960)


def test_the_page_is_short(show: Callable[..., Page]) -> None:
    """Eight models on two tasks and a distillation, as it opens: less than 7,000 px at 1280 px,
    less than 4,500 words, and eight printed pages at most, with the counts of the two compared."""
    page = show()
    assert page.evaluate("document.documentElement.scrollHeight") < 7000
    assert len(page.inner_text("body").split()) < 4500
    printed = page.pdf(prefer_css_page_size=True)
    assert 0 < len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 8
    page.emulate_media(media="print")
    assert page.locator(".two-by-two .both button").is_visible()
    assert not page.locator("nav").first.is_visible()


KINDS_OF_TEXT = """
() => {
  const seen = new Set();
  for (const element of document.querySelectorAll("body *:not(script)")) {
    if (element.childElementCount || !element.textContent.trim()) continue;
    let kind = "";
    for (let part = element, n = 0; part && n < 4; part = part.parentElement, n += 1) {
      kind += ` ${part.tagName}.${part.getAttribute("class") ?? ""}`;
    }
    if (seen.has(kind)) continue;
    seen.add(kind);
    element.dataset.kind_of_text = "";
  }
  return seen.size;
}
"""


FEW_ROWS = """
() => {
  for (const body of document.querySelectorAll("tbody")) {
    for (const row of [...body.rows].slice(3)) row.remove();
  }
}
"""
"""Further rows have what the first three have."""


def test_axe_finds_nothing(browser: Browser, runs: Path, tmp_path: Path) -> None:
    """The rules of WCAG 2.2 A and AA and good practice, with a sample open; the contrast, which
    takes long, of one text of each kind in both themes."""
    material, _ = reporting.gather(runs)
    few = [run for run in material.runs if run.record.model.name.startswith("moondream")]
    file = tmp_path / "page.html"
    few_of_all = replace(material, runs=few)
    file.write_text(render(few_of_all, pictures=Pictures(find=drawn_picture)), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri() + "#?sample=3")
    detail(page, "3")
    page.evaluate(FEW_ROWS)
    slow = {"rules": {"color-contrast": {"enabled": False}}}
    few_details = {"resultTypes": ["violations"], "preload": False}
    found = [Axe().run(page, options={**few_details, **slow})]
    assert page.evaluate(KINDS_OF_TEXT) > 50
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        context = {"include": [["[data-kind_of_text]"]]}
        found.append(
            Axe().run(page, context, options={"runOnly": ["color-contrast"], **few_details})
        )
        assert found[-1].response["passes"]
    page.close()
    assert [each.generate_report() for each in found if each.violations_count] == []


def test_without_javascript_the_tables_are_there(browser: Browser, page_file: Path) -> None:
    """And a sentence says what is not."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.is_visible("#scienceqa-measured")
    assert "need JavaScript" in page.inner_text("section.samples")
    assert not page.is_visible("#browser")
    context.close()


def test_a_long_list_has_few_elements(browser: Browser, tmp_path: Path) -> None:
    """Only the rows that can be seen are there, wherever it is scrolled to."""
    one = answer("0", "x")
    many = [replace(one, sample_id=str(n), question=f"Question {n}?") for n in range(3000)]
    page = opened(browser, tmp_path, Material(runs=[RunData(choice_run(), lambda: many)]))
    assert page.locator("#list .row").count() < 40
    page.keyboard.press("k")  # from the end
    page.wait_for_selector("#list [aria-posinset='3000']")
    assert page.locator("#list .row").count() < 40
    assert "Question 2999?" in detail(page, "2999")
    page.close()


# What is left out


@pytest.mark.slow
def test_errors_alone_still_compare_all(browser: Browser, runs: Path, tmp_path: Path) -> None:
    """With --samples errors or none the figures are over every question; the list says what it
    leaves out, and with none there is no list."""
    material, _ = reporting.gather(runs)
    some = [run for run in material.runs if run.record.model.name in {"phi-3.5", "llava-cot"}]
    results = []
    for samples in ("all", "errors", "none"):
        page = opened(browser, tmp_path, Material(runs=some), samples=samples)
        results.append(page.evaluate("document.getElementById('paired-result').dataset.result"))
        if samples == "errors":
            wrong = expected(runs, "phi-3.5")["wrong"] | expected(runs, "llava-cot")["wrong"]
            assert set(listed(page)) == wrong
            assert f"{QUESTIONS - len(wrong)} that every model" in page.inner_text("#found")
            page.click("#list .row >> nth=-1")
            detail(page, page.evaluate("view.group.ids[view.sample]"))
        assert page.locator("#list").count() == (samples != "none")
        assert page.locator("#standing tbody tr").count() == 2
        page.close()
    assert len(set(results)) == 1


# What a text cannot do


def opened(browser: Browser, folder: Path, material: Material, **options: Any) -> Page:
    file = folder / "page.html"
    file.write_text(render(material, **options), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    return ready(page)


def answer(sample_id: str, text: str) -> Prediction:
    """An answer with this text wherever one can stand."""
    return Prediction(
        sample_id=f"{sample_id}{text}",
        raw=text,
        answer=1,
        rule=text,
        scores={"accuracy": 1.0},
        target=1,
        question=text,
        choices=(f"{text}1", f"{text}2"),
        topic=text,
        prompt=text,
        images=(text,),
        seconds=1.0,
        tokens=1,
    )


def hostile_material(runs: Path, texts: tuple[str, ...]) -> Material:
    """For each text: a run and a distillation whose every string it is; and a run of written
    answers that says one after the other."""
    material, _ = reporting.gather(runs)
    (distillation,) = material.distillations
    assert distillation.training
    evidence, distillations = [], []
    written = []
    for number, text in enumerate(texts):
        choice = answer(str(number), text)
        failed = replace(choice, sample_id=f"f{text}", error=text, answer=None)
        evidence.append(RunData(filled(choice_run(), text), partial(list, [choice, failed])))
        written.append(replace(choice, choices=(), answer=text, target=text))
        rows = [filled(row, text) for row in distillation.kept()]
        training = Training(
            name=text,
            record=filled(dict(distillation.training.record), text),
            log=distillation.training.log,
            runs=(evidence[-1],),
        )
        distillations.append(
            Distillation(
                name=text,
                rationales=filled(dict(distillation.rationales), text),
                kept=partial(list, rows),
                rejected=partial(list, rows),
                quality=filled(dict(distillation.quality), text),
                training=training,
                control=training,
                base=(evidence[0],),
                teacher=(evidence[-1],),
                problems=(text,),
            )
        )
    record = replace(choice_run(), task=replace(choice_run().task, name="written"))
    evidence.append(RunData(filled(record, texts[0]), partial(list, written)))
    return Material(runs=evidence, distillations=distillations)


OPEN_ALL = """
async () => {
  const wait = () => new Promise((done) => setTimeout(done));
  const elements = new Set();
  let shown = 0;
  for (const group of index.groups) {
    await opened(group);
    Object.assign(view, fresh(group));
    offer();
    draw({ group });
    for (const sample of [...found]) {
      view.sample = sample;
      draw({ sample });
      await entry(group, sample);
      await wait();
      if (document.querySelectorAll("#detail details.answer").length !== group.runs.length) {
        throw new Error(`${sample} of ${group.title} is not there`);
      }
      shown += 1;
    }
    for (const element of document.querySelectorAll(".samples *")) {
      elements.add(element.tagName);
      for (const { name } of element.attributes) elements.add(`@${name}`);
    }
  }
  for (const heading of document.querySelectorAll("th[data-best]")) sort(heading, "ascending");
  for (const part of document.querySelectorAll("details")) part.open = true;
  remember();
  return [shown, [...elements].sort()];
}
"""


@pytest.fixture(scope="module")
def harmless(
    browser: Browser, runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Any]:
    """What `OPEN_ALL` finds where so many texts are harmless."""

    @cache
    def found(number: int) -> Any:
        texts = tuple(f"harmless {n}" for n in range(number))
        material = hostile_material(runs, texts)
        page = opened(browser, tmp_path_factory.mktemp("harmless"), material)
        try:
            return page.evaluate(OPEN_ALL)
        finally:
            page.close()

    return found


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, PAGES))]
)
def test_no_text_is_run_or_breaks_the_page(
    browser: Browser, runs: Path, tmp_path: Path, harmless: Callable[[int], Any], number: int
) -> None:
    """Every string that means harm, in every field of runs, answers and distillations: nothing is
    run, asked for or said, and the page has the elements that harmless texts give it."""
    texts = HOSTILE[number::PAGES]
    seen = Seen()
    file = tmp_path / "page.html"
    file.write_text(render(hostile_material(runs, texts)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 400, "height": 800})
    seen.watch(page)
    page.goto(file.as_uri())
    found = ready(page).evaluate(OPEN_ALL)
    width = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert seen.everything == []
    assert width == 400
    assert found == harmless(len(texts))
    assert found[0] == 3 * len(texts)


def test_texts_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    """Markup as text, invisible characters by their code points, and a long one cut, which is
    said."""
    raw = "<b>bold</b> \u202eback\x00\nnext line"
    long = "x" * 30_000
    made = [replace(answer("1", "q"), raw=raw), replace(answer("2", "q"), raw=long)]
    page = opened(browser, tmp_path, Material(runs=[RunData(choice_run(), lambda: made)]))
    page.keyboard.press("j")
    detail(page, "1q")
    shown = page.locator("#detail .passage").first
    assert shown.text_content() == "<b>bold</b> ⟨U+202E⟩back⟨U+0000⟩\nnext line"
    page.keyboard.press("j")
    detail(page, "2q")
    text = page.locator("#detail .passage").first.text_content()
    assert text == "x" * 20_000 + " … [cut: 20,000 of 30,000 characters]"
    page.close()
