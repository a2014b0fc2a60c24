"""The page at its largest: how big it is, how long it takes to make and to open, how it answers.

    python benchmarks/leaderboard.py
    python benchmarks/leaderboard.py --samples 60000 --models 6 --images none

Makes run folders with invented questions and answers (their figures mean nothing; lengths and
sizes are those of real ones), renders them with `harness report` in a process of its own, and opens
the page from disk in headless Chromium. Times in the browser are medians. The last line is one JSON
document.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
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


def make_runs(folder: Path, number: int, models: int, *, pictures: bool) -> None:
    data = folder / "questions"
    rows = make_questions(data, number, pictures=pictures)
    task = load_task("scienceqa")
    for name, title, role, accuracy in MODELS[:models]:
        predictions = answers(rows, name, accuracy, data)
        record = RunRecord(
            task=TaskInfo(name="scienceqa", title="ScienceQA", split="test", source=str(data)),
            model=ModelInfo(name=name, title=title, role=role),
            fingerprint={"data": "sha256:1", "weights": f"sha256:{name}"},
            counts=Counts(total=number, available=number),
        )
        run = RunFolder.of(folder / "runs", task="scienceqa", model=name, split="test")
        run.rewrite(predictions)
        run.write_record(scored(record, predictions, task.metrics))


def make_page(folder: Path, images: str) -> dict[str, float]:
    """What `harness report` takes and leaves."""
    out = folder / "page.html"
    command = [
        *(sys.executable, "-m", "harness", "report", "--json"),
        *("--runs", folder / "runs", "--out", out, "--images", images),
    ]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    taken = time.perf_counter() - started
    sys.stderr.write(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "render_seconds": taken,
        "render_cpu_seconds": used.ru_utime + used.ru_stime,
        "render_peak_bytes": used.ru_maxrss * 1024,
        "page_bytes": out.stat().st_size,
    }


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
  const readers = ["paper-base", "paper-kd", "ours"];
  await timed("reader_ms", readers.map((value) => () => choose("reader-select", value)));
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=2017)
    parser.add_argument("--models", type=int, default=len(MODELS))
    parser.add_argument("--images", choices=("inline", "none"), default="inline")
    parser.add_argument("--keep", type=Path, help="leave everything in this folder")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    folder = arguments.keep or Path(tempfile.mkdtemp())
    if not (folder / "runs").exists():
        pictures = arguments.images == "inline"
        make_runs(folder, arguments.samples, arguments.models, pictures=pictures)
    found: dict[str, Any] = {"samples": arguments.samples, "models": arguments.models}
    found |= make_page(folder, arguments.images)
    if chromium:
        found |= browse(folder / "page.html", chromium)
    if not arguments.keep:
        shutil.rmtree(folder)
    for name, value in found.items():
        print(f"{name:20} {value:,.1f}" if isinstance(value, float) else f"{name:20} {value:,}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
