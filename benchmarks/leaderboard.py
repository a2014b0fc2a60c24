"""The page at its largest: how big it is, how long it takes to make and to open, how it answers.

    python benchmarks/leaderboard.py
    python benchmarks/leaderboard.py --case many --against ../older-checkout
    python benchmarks/leaderboard.py --samples 60000 --models 6 --images none

Makes run folders with invented questions and answers (their figures mean nothing; lengths and
sizes are those of real ones), renders them with `harness report` in a process of its own, without a
cache, with that of this page, and with that of a page that lacks one run, and opens the page from
disk in headless Chromium. Times in the browser are medians. With --against, the code of another
checkout renders the same runs in turn with this one: ratios hold on a busy machine too. The last
line is one JSON document.

Cases: seven (7 models x 2,017 questions, with pictures), many (29 x 12,032: four invented models,
and 25 that answer as one of these does, but for a seeded share of answers that are another's or a
letter alone), tasks (20 tasks x 20 models x 200).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from harness.core.structured import Rationale, render
from harness.core.types import Prediction
from harness.run.folder import RunFolder
from harness.run.records import (
    Counts,
    ModelInfo,
    RunRecord,
    TaskInfo,
)
from harness.run.scoring import scored
from tasks import load_task

MODELS = (
    ("phi-3.5", "Phi-3.5-vision-instruct", "baseline", 0.82),
    ("llava-cot", "LLaVA-CoT", "teacher", 0.79),
    ("llava-next", "LLaVA-NeXT", "baseline", 0.65),
    ("moondream-kd", "Moondream-kd", "distilled", 0.54),
    ("moondream", "Moondream", "student", 0.46),
    ("vilt", "ViLT", "baseline", 0.36),
    ("kosmos-2", "KOSMOS-2", "baseline", 0.15),
)
STRUCTURED = ("llava-cot", "moondream-kd")
TOPICS = {
    "geography": 600,
    "physics": 425,
    "biology": 403,
    "earth-science": 156,
    "science-and-engineering-practices": 128,
    "chemistry": 94,
    "us-history": 84,
    "economics": 71,
    "civics": 56,
}
WORDS = (  # noqa: SIM905  # reads better as a text
    "which what where state ocean animal farthest north warm cold force magnet particle solution "
    "concentration compare temperature energy mass picture shows map water plant cell organism "
    "food web energy arrow sample average kinetic gas pressure region colony country highlighted "
    "island continent trait inherited offspring experiment measure length object material solid "
    "liquid property the of a in is this that with and from two below each statement best"
).split()


def words(chance: random.Random, low: int, high: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(low, high)))


def picture(seed: int, path: Path) -> None:
    """Something between a photograph and a diagram: soft noise, shapes and words."""
    draw = np.random.default_rng(seed)
    noise = Image.fromarray(draw.integers(0, 256, (9, 12, 3), dtype=np.uint8), "RGB")
    image = noise.resize((400, 300), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(10):
        x, y = int(draw.integers(0, 360)), int(draw.integers(0, 260))
        box = (x, y, x + int(draw.integers(10, 120)), y + int(draw.integers(10, 90)))
        pen.ellipse(box, fill=tuple(int(c) for c in draw.integers(0, 256, 3)), outline="black")
        pen.text((x, y), "sample", fill="black")
    image.save(path, "JPEG", quality=80)


def make_questions(folder: Path, number: int, *, pictures: bool) -> list[dict[str, Any]]:
    """Rows of ScienceQA's form, and their pictures."""
    chance = random.Random(0)
    names = [topic for topic, weight in TOPICS.items() for _ in range(weight)]
    (folder / "images").mkdir(parents=True)
    rows = []
    for place in range(number):
        options = chance.choice((2, 2, 3, 4))
        row: dict[str, Any] = {
            "id": str(place),
            "question": words(chance, 6, 25).capitalize() + "?",
            "choices": [words(chance, 1, 6) for _ in range(options)],
            "topic": chance.choice(names),
        }
        row["answer"] = chance.randrange(options)
        if pictures:
            row["image"] = f"images/{place}.jpg"
            picture(place, folder / row["image"])
        rows.append(row)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "test.jsonl").write_text(lines, encoding="utf-8")
    return rows


def answers(
    rows: list[dict[str, Any]], model: str, accuracy: float, data: Path
) -> list[Prediction]:
    chance = random.Random(model)
    made = []
    for row in rows:
        choices, target = tuple(row["choices"]), row["answer"]
        wrong = [place for place in range(len(choices)) if place != target]
        answer = target if chance.random() < accuracy else chance.choice(wrong)
        letter = "ABCD"[answer]
        raw = letter
        if model in STRUCTURED:
            named = choices[target if chance.random() < 0.7 else answer]
            raw = render(
                Rationale(
                    words(chance, 20, 40),
                    words(chance, 30, 60),
                    f"{words(chance, 40, 90)}. It is {named}.",
                    letter,
                )
            )
        elif model == "llava-next":
            raw = f"The answer is {letter}. {words(chance, 10, 40)}."
        unparsed = model == "kosmos-2" and chance.random() < 0.3
        options = ", ".join(f"{'ABCD'[n]}: {text}" for n, text in enumerate(choices))
        images = ()
        if "image" in row:
            images = (sha256((data / row["image"]).read_bytes()).hexdigest(),)
        made.append(
            Prediction(
                sample_id=row["id"],
                raw=words(chance, 3, 12) if unparsed else raw,
                answer=None if unparsed else answer,
                rule="nothing recognised" if unparsed else "conclusion",
                scores={"accuracy": float(not unparsed and answer == target)},
                target=target,
                question=row["question"],
                choices=choices,
                topic=row["topic"],
                images=images,
                prompt=f"<image>\n\nQuestion: {row['question']} Options: {options}\n\nAnswer:",
                seconds=round(chance.uniform(0.2, 3), 4),
                preprocess_seconds=0.05,
                tokens=len(raw) // 4 + 1,
                tokens_in=800,
            )
        )
    return made


def make_runs(folder: Path, number: int, models: int, *, tasks: int, pictures: bool) -> None:
    metrics = load_task("scienceqa").metrics
    for place in range(tasks):
        name, title = (
            ("scienceqa", "ScienceQA") if tasks == 1 else (f"task-{place}", f"Task {place}")
        )
        data = folder / f"questions-{place}"
        rows = make_questions(data, number, pictures=pictures)
        bases = [answers(rows, each[0], each[3], data) for each in MODELS[:models]]
        for model in range(models):
            known = model < len(MODELS)
            about = MODELS[model][:3] if known else (f"m{model}", f"M {model}", "baseline")
            predictions = bases[model] if model < len(bases) else noisy(bases[:4], model)
            record = RunRecord(
                task=TaskInfo(name=name, title=title, split="test", source=str(data)),
                model=ModelInfo(name=about[0], title=about[1], role=about[2]),
                fingerprint={"data": f"sha256:{place}", "weights": f"sha256:{about[0]}"},
                counts=Counts(total=number, available=number),
            )
            run = RunFolder.of(folder / "runs", task=name, model=about[0], split="test")
            record, predictions = scored(record, predictions, metrics)
            run.rewrite(predictions)
            run.write_record(record)


def noisy(bases: list[list[Prediction]], number: int) -> list[Prediction]:
    """Answers of one of these models, but for a share of them."""
    chance, share = random.Random(number), number / 80
    made = []
    for place, own in enumerate(bases[number % len(bases)]):
        roll = chance.random()
        p = own if roll > share else bases[chance.randrange(len(bases))][place]
        if roll < share / 2:
            answer = chance.randrange(len(p.choices))
            right = float(answer == p.target)
            p = replace(p, raw="ABCD"[answer], answer=answer, scores={"accuracy": right})
        made.append(p)
    return made


def make_page(
    folder: Path, images: str, *, cache: Path, checkout: Path | None = None
) -> dict[str, float]:
    """What `harness report` takes and leaves."""
    out = folder / ("older.html" if checkout else "page.html")
    command = [
        *(sys.executable, "-P", "-m", "harness", "report", "--json"),
        *("--runs", folder / "runs", "--out", out, "--images", images),
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    if checkout:
        environment["PYTHONPATH"] = str(checkout.resolve())
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.1)
        assert process.stderr is not None
        sys.stderr.write(process.stderr.read())
        assert process.returncode == 0
    taken, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": taken,
        "cpu_seconds": spent,
        "peak_bytes": peak,
        "page_bytes": out.stat().st_size,
    }


def memory_of(process: int) -> int:
    """Proportional memory of a process and of those that it started."""
    total = 0
    for each in (process, *children(process)):
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        total += next((int(x.split()[1]) * 1024 for x in rollup.splitlines() if x[:4] == "Pss:"), 0)
    return total


def children(process: int) -> list[int]:
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(each) for each in listed.split()]


def make_pages(folder: Path, images: str, against: Path | None) -> dict[str, float]:
    """Without a cache, with that of the page, and with that of a page that lacks one run."""
    found: dict[str, float] = {}

    def measure(name: str, **how: Any) -> None:
        made = make_page(folder, images, **how)
        found.update({f"{name}_{what}": value for what, value in made.items()})

    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    if against:
        measure("older", cache=folder / "older-cache", checkout=against)
    run, aside = next((folder / "runs").glob("*/*")), folder / "aside"
    run.rename(aside)
    make_page(folder, images, cache=cache)
    aside.rename(run)
    measure("one_new", cache=cache)
    measure("again", cache=cache)
    shutil.rmtree(cache, ignore_errors=True)
    measure("first", cache=cache)
    if against:
        for what in ("seconds", "cpu_seconds", "peak_bytes", "page_bytes"):
            found[f"{what}_ratio"] = found[f"older_{what}"] / found[f"first_{what}"]
    return found


MEASURE = """
async () => {
  const times = {};
  const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
  const settled = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const timed = async (name, actions) => {
    const taken = [];
    for (const action of actions) {
      const start = performance.now();
      await action();
      document.body.getBoundingClientRect();  // with layout
      taken.push(performance.now() - start);
      await settled();
    }
    times[name] = median(taken);
  };
  const choose = (id, value) => {
    document.getElementById(id).value = value;
    document.getElementById(id).dispatchEvent(new Event("change"));
  };
  const outcomes = ["wrong", "right", "differ", "", "wrong", "first", "second", "", "both"];
  await timed("filter_ms", outcomes.map((value) => () => choose("outcome-select", value)));
  choose("outcome-select", "");
  const search = document.getElementById("search");
  await timed("search_ms", ["m", "ma", "map", "map o", "", "ocean", "kinetic"].map((text) => () => {
    search.value = text;
    search.dispatchEvent(new Event("input"));
  }));
  search.value = "";
  search.dispatchEvent(new Event("input"));
  const extractors = ["paper-base", "paper-kd", "ours"];
  await timed("extractor_ms", extractors.map((value) => () => choose("extractor-select", value)));
  const list = document.getElementById("list");
  const opened = () => new Promise((done) => {
    const seen = new MutationObserver(() => {
      if (!document.querySelector("#detail .answer")) return;
      seen.disconnect();
      done();
    });
    seen.observe(document.getElementById("detail"), { childList: true });
  });
  const all = list.firstChild.getBoundingClientRect().height;
  await timed("open_sample_ms", [0.1, 0.3, 0.5, 0.7, 0.9].map((part) => async () => {
    list.scrollTop = all * part;
    list.dispatchEvent(new Event("scroll"));
    document.getElementById("detail").replaceChildren();
    const done = opened();
    list.querySelectorAll(".row")[8].click();
    await done;
  }));
  return times;
}
"""


def browse(page: Path, chromium: str) -> dict[str, float]:
    """What a browser takes to open it and to answer."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {}
    with sync_playwright() as driver:
        for _ in range(3):
            browser = driver.chromium.launch(
                executable_path=chromium,
                args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"],
            )
            shown = browser.new_page(viewport={"width": 1280, "height": 900})
            shown.goto(page.as_uri(), wait_until="load")
            shown.wait_for_selector("#list .row")
            timing = shown.evaluate(
                """() => {
                  const [opened] = performance.getEntriesByType("navigation");
                  const [paint] = performance.getEntriesByName("first-contentful-paint");
                  return {first_paint_ms: paint?.startTime, load_ms: opened.loadEventEnd};
                }"""
            )
            timing |= shown.evaluate(MEASURE)
            session = shown.context.new_cdp_session(shown)
            session.send("HeapProfiler.collectGarbage")
            usage = session.send("Runtime.getHeapUsage")
            timing["heap_bytes"] = usage["usedSize"] + usage.get("backingStorageSize", 0)
            timing["process_bytes"] = renderer_memory()
            for name, value in timing.items():
                found.setdefault(name, []).append(value)
            browser.close()
    return {name: statistics.median(values) for name, values in found.items()}


def renderer_memory() -> int:
    """Proportional memory of the largest of Chromium's renderers: the page's own process."""
    largest = 0
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"--type=renderer" in status.read_bytes():
                rollup = (status.parent / "smaps_rollup").read_text()
                pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
                largest = max(largest, int(pss.split()[1]) * 1024)
        except (OSError, StopIteration):
            continue
    return largest


CASES = {
    "seven": {"tasks": 1, "models": len(MODELS), "samples": 2017, "images": "inline"},
    "many": {"tasks": 1, "models": 29, "samples": 12032, "images": "none"},
    "tasks": {"tasks": 20, "models": 20, "samples": 200, "images": "none"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", choices=CASES, default="seven")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--models", type=int)
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--images", choices=("inline", "none"))
    parser.add_argument("--against", type=Path, help="another checkout, to render the same runs")
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    arguments = parser.parse_args()
    for name, value in CASES[arguments.case].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    folder = arguments.keep or Path(tempfile.mkdtemp())
    if not (folder / "runs").exists():
        pictures = arguments.images == "inline"
        make_runs(
            folder,
            arguments.samples,
            arguments.models,
            tasks=arguments.tasks,
            pictures=pictures,
        )
    found: dict[str, Any] = {name: getattr(arguments, name) for name in CASES["seven"]}
    found |= make_pages(folder, arguments.images, arguments.against)
    if chromium:
        found |= browse(folder / "page.html", chromium)
    if not arguments.keep:
        shutil.rmtree(folder)
    for name, value in found.items():
        shown = f"{value:,.2f}" if isinstance(value, float) else value
        print(f"{name:20} {shown}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
