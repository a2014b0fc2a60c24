"""Seven made-up models on the same questions, with a distillation: a folder of runs for the page.

The answers are drawn, not measured: each model has an ability by topic, each question a difficulty
that all models share, so that right answers are correlated as those of real models are. Texts are
read by the project's own reader, and figures are computed by its own metrics.

    python -m tests.league FOLDER [questions]
"""

from __future__ import annotations

import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from distill.quality.answers import structure
from distill.quality.measures import Measurement, measure, summarise
from harness.checkpoints.catalog import find
from harness.core.json_values import finite
from harness.core.structured import Rationale, render
from harness.core.types import Prediction
from harness.extract import extract_choice
from harness.metrics.former import accuracy, text_overlap
from harness.run.folder import RunFolder
from harness.run.records import (
    Counts,
    ModelInfo,
    RunRecord,
    TaskInfo,
)

TOPICS = {
    "geography": 0.30,
    "physics": 0.21,
    "biology": 0.20,
    "earth-science": 0.08,
    "science-and-engineering-practices": 0.06,
    "chemistry": 0.05,
    "us-history": 0.04,
    "economics": 0.06,
}
"""Topic -> share of the questions."""
PLACES = ("Alabama", "Illinois", "South Carolina", "Connecticut", "Oregon", "Kansas", "Maine")


@dataclass(frozen=True)
class Kind:
    """A made-up model: its name in the catalogue, and what it is like."""

    name: str
    ability: float
    seconds: float
    gigabytes: float
    parameters: int
    style: str


KINDS = (
    Kind("phi-3.5", 2.1, 4.6, 9.1, 4_146_621_440, "letter"),
    Kind("llava-cot", 2.0, 11.0, 24.0, 10_670_220_835, "structured"),
    Kind("llava-next", 0.9, 2.1, 16.2, 7_566_747_648, "sentence"),
    Kind("moondream-kd", 0.45, 8.3, 4.4, 1_857_482_608, "structured"),
    Kind("moondream", -0.15, 4.7, 4.4, 1_857_482_608, "sentence"),
    Kind("vilt", -0.8, 0.09, 0.6, 113_400_000, "letter"),
    Kind("kosmos-2", -2.4, 0.5, 3.6, 1_664_000_000, "ramble"),
)
BETTER_IN = {"geography": 0.5, "physics": 0.3, "us-history": -0.9}
"""What the distilled model learned, and what it lost, beside its ability."""


def write(runs: Path, *, questions: int = 200, seed: int = 0) -> None:
    """Runs of all seven on ScienceQA, of three on VQAonline, and a distillation, under `runs`."""
    asked = draw_questions(questions, seed=seed)
    predictions = {kind.name: answers(kind, asked, seed=seed) for kind in KINDS}
    for kind in KINDS:
        save(runs, kind, "scienceqa", "ScienceQA", predictions[kind.name])
    for kind in (KINDS[1], KINDS[2], KINDS[4]):
        save(runs, kind, "vqaonline", "VQAonline", written(kind, min(questions, 120), seed=seed))
    control = Kind("moondream-kd-answer-only", 0.1, 1.2, 4.4, 1_857_482_608, "letter")
    predictions[control.name] = answers(control, asked, seed=seed + 1)
    save(runs, control, "scienceqa", "ScienceQA", predictions[control.name])
    distil(runs, predictions, seed=seed)


def draw_questions(number: int, *, seed: int) -> list[dict]:
    chance = random.Random(seed)
    topics = [topic for topic, share in TOPICS.items() for _ in range(round(share * number))]
    asked = []
    for place, topic in enumerate((topics + ["geography"] * number)[:number]):
        choices = tuple(chance.sample(PLACES, chance.choice((2, 3, 4))))
        asked.append(
            {
                "id": str(place),
                "topic": topic,
                "question": f"Which of these states is farthest {chance.choice(('north', 'south', 'east', 'west'))}?",
                "choices": choices,
                "target": chance.randrange(len(choices)),
                "difficulty": chance.gauss(0, 1.2),
                "image": sha256(f"{seed} {place // 2 if topic == 'physics' else place}".encode()),
            }
        )
    chance.shuffle(asked)
    return asked


def answers(kind: Kind, asked: list[dict], *, seed: int) -> list[Prediction]:
    chance = random.Random(f"{seed} {kind.name}")
    made = []
    for q in asked:
        bonus = BETTER_IN.get(q["topic"], 0.0) if kind.name == "moondream-kd" else 0.0
        right = chance.random() < 1 / (1 + math.exp(q["difficulty"] - kind.ability - bonus))
        options = [place for place in range(len(q["choices"])) if place != q["target"]]
        told = q["target"] if right else chance.choice(options)
        raw = text(kind, q, told, chance)
        reading = extract_choice(raw, q["choices"])
        made.append(
            Prediction(
                sample_id=q["id"],
                raw=raw,
                answer=reading.answer,
                rule=reading.rule,
                scores={"accuracy": float(reading.answer == q["target"])},
                target=q["target"],
                question=q["question"],
                choices=q["choices"],
                topic=q["topic"],
                images=(q["image"].hexdigest(),),
                prompt=f"Question: {q['question']}\nOptions: {', '.join(q['choices'])}",
                seconds=kind.seconds * chance.uniform(0.7, 1.6),
                tokens=len(raw.split()) + 1,
                tokens_in=760,
            )
        )
    return made


def text(kind: Kind, q: dict, told: int, chance: random.Random) -> str:
    """What the model writes to say `told`."""
    letter, option = "ABCD"[told], q["choices"][told]
    if kind.style == "letter":
        return letter
    if kind.style == "sentence":
        return chance.choice((f"The answer is {letter}.", f"{letter}. {option}", option))
    if kind.style == "ramble":
        said = f"an image of a map of the United States, {option}"
        return said if chance.random() < 0.6 else "an image of a map of the United States"
    reasoned = q["choices"][q["target"]] if chance.random() < 0.25 else option
    whole = render(
        Rationale(
            "I will look at the map and compare where the states are.",
            f"A map of the United States with {len(q['choices'])} states labelled.",
            f"The compass rose shows the directions. Therefore, the state is {reasoned}.",
            letter,
        )
    )
    return whole.replace("</CAPTION>", "") if chance.random() < 0.05 else whole


def written(kind: Kind, number: int, *, seed: int) -> list[Prediction]:
    """Answers in words, to questions whose references are in words."""
    chance = random.Random(f"{seed} {kind.name} words")
    shared = random.Random(seed)
    words = [
        "you",
        "can",
        "set",
        "the",
        "clock",
        "of",
        "a",
        "bread",
        "machine",
        "by",
        "holding",
        "its",
        "button",
        "until",
        "it",
        "blinks",
        "then",
    ]
    made = []
    for place in range(number):
        reference = " ".join(shared.choices(words, k=30))
        kept = 0.55 + 0.1 * kind.ability
        said = " ".join(
            w if chance.random() < kept else chance.choice(words) for w in reference.split()
        )
        made.append(
            Prediction(
                sample_id=f"v{place}",
                raw=said,
                answer=said,
                rule="whole text",
                target=reference,
                question="How do I set this?",
                topic=("cooking", "diy", "travel")[place % 3],
                seconds=kind.seconds,
                tokens=40,
            )
        )
    return made


def save(runs: Path, kind: Kind, task: str, title: str, predictions: list[Prediction]) -> None:
    spec = find(kind.name)
    metrics = accuracy(predictions) if predictions[0].choices else text_overlap(predictions)
    times = sorted(p.seconds or 0.0 for p in predictions)
    n = len(predictions)
    record = RunRecord(
        task=TaskInfo(
            name=task,
            title=title,
            split="test",
            source="drawn by tests.league",
            unit="image questions" if task == "scienceqa" else "questions",
        ),
        model=ModelInfo(
            name=kind.name,
            title=spec.title if spec else f"{find('moondream-kd').title}, answers alone",
            size=spec.size if spec else "2B",
            parameters=kind.parameters,
            role=spec.role if spec else "baseline",
            repo=spec.repo if spec else None,
            licence=spec.licence if spec else "",
        ),
        fingerprint={"task": task, "data": "sha256:12", "weights": f"sha256:{kind.name}"},
        counts=Counts(
            total=n, available=n, done=n, unparsed=sum(p.answer is None for p in predictions)
        ),
        status="complete",
        metrics=metrics,
        settings={"mode": "generate", "style": "direct", "dtype": "bfloat16", "batch_size": 4},
        timing={
            "inference_minutes": sum(times) / 60,
            "inference_minutes_definition": "preprocessing and generation of all samples, added up",
            "timed_samples": n,
            "seconds_per_sample": {
                "mean": sum(times) / n,
                **{f"p{q}": times[min(n - 1, n * q // 100)] for q in (50, 90, 99)},
            },
            "tokens_per_second": sum(p.tokens or 0 for p in predictions) / sum(times),
            "peak_memory_bytes": {"device": int(kind.gigabytes * 2**30), "process": 2**31},
            "load_seconds": 12.0,
        },
        environment={"device": "made up", "harness": "0.1.0", "python": "3.11", "torch": "2.13.0"},
        command=["python", "-m", "tests.league"],
        sessions=[{"samples": n}],
    )
    folder = RunFolder.of(runs, task=task, model=kind.name, split="test")
    with folder.locked():
        folder.rewrite(predictions)
        folder.write_record(record)


def distil(runs: Path, predictions: dict[str, list[Prediction]], *, seed: int) -> None:
    """runs/distill/moondream-kd and its control: what a distillation leaves, without weights."""
    chance = random.Random(seed)
    trained = {"geography": 640, "physics": 420, "biology": 400, "earth-science": 160, "chemistry": 90,
               "science-and-engineering-practices": 120, "us-history": 70, "economics": 40}  # fmt: skip
    dropped = {topic: count // 9 for topic, count in trained.items()}
    for name, objective, first, last in (
        ("moondream-kd", "structured", 1.8, 0.68),
        ("moondream-kd-answer-only", "answer", 2.6, 0.9),
    ):
        folder = runs / "distill" / name
        folder.mkdir(parents=True, exist_ok=True)
        losses = [
            last + (first - last) * math.exp(-step / 14) + chance.gauss(0, 0.05)
            for step in range(125)
        ]
        lines = [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
        _jsonl(folder / "training_log.jsonl", lines)
        _json(
            folder / "distill.json",
            {
                "status": "complete",
                "fingerprint": {"weights": "sha256:moondream"},
                "config": {
                    "objective": objective,
                    "batch_size": 16,
                    "learning_rate": 1.4e-5,
                    "epochs": 1,
                },
                "base": "moondream",
                "steps": len(losses),
                "counts": {"used": sum(trained.values()), "by_topic": trained},
            },
        )
    folder = runs / "distill" / "moondream-kd"
    _evaluations(folder)
    kept = sum(trained.values())
    _json(
        folder / "rationales.json",
        {
            "status": "complete",
            "fingerprint": {"weights": "sha256:llava-cot"},
            "teacher": {"name": "llava-cot", "title": "LLaVA-CoT"},
            "data": {"title": "ScienceQA", "split": "train", "task": "scienceqa"},
            "settings": {"filter": "agrees"},
            "counts": {
                "selected": kept + sum(dropped.values()),
                "kept": kept,
                "dropped": sum(dropped.values()),
                "hinted": 31,
                "reasons": {"concludes another option": sum(dropped.values()) - 7, "no caption": 7},
                "topics": {t: {"kept": trained[t], "dropped": dropped[t]} for t in trained},
            },
        },
    )
    first = predictions["llava-cot"][0]
    _jsonl(
        folder / "rationales.jsonl",
        [
            {
                "id": "train-0",
                "topic": first.topic,
                "teacher": "llava-cot",
                "prompt": first.prompt,
                "raw": first.raw,
                "summary": "I will look at the map and compare where the states are.",
                "caption": "A map of the United States with states labelled.",
                "reasoning": "The compass rose shows the directions. Therefore, it is Illinois.",
                "conclusion": "B",
            }
        ],
    )
    _json(
        folder / "quality.json",
        {
            "teacher": asdict(summarise(map(_measured, predictions["llava-cot"]))),
            "dependence": {"all": {"image_gain": {"value": 0.21, "n": kept}}},
            "students": {
                "moondream-kd": {
                    **asdict(summarise(map(_measured, predictions["moondream-kd"]))),
                    "structure": {
                        k: asdict(v) for k, v in structure(predictions["moondream-kd"]).items()
                    },
                }
            },
        },
    )


def _measured(p: Prediction) -> Measurement:
    return Measurement(
        p.topic, kept=True, quality=measure(p.raw, choices=p.choices, target=p.target)
    )


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(finite(value), indent=1), encoding="utf-8")


def _evaluations(folder: Path) -> None:
    """What a student got on validation questions while it was trained."""
    scores = ((25, 0.41, 0.36, 1.21), (50, 0.55, 0.37, 0.88), (75, 0.61, 0.38, 0.79))
    scores += ((100, 0.66, 0.39, 0.74), (125, 0.64, 0.4, 0.75))
    lines = [
        {
            "step": step,
            "questions": 64,
            "metric": "accuracy",
            "title": "Accuracy",
            "unit": "%",
            "score": score,
            "loss": loss,
            "without_pictures": {"score": blank, "loss": loss + 0.5},
            "best": step <= 100,
        }
        for step, score, blank, loss in scores
    ]
    _jsonl(folder / "validation_log.jsonl", lines)
    path = folder / "distill.json"
    best, last = lines[3], lines[-1]
    record = json.loads(path.read_text())
    record["validation"] = {
        "questions": 64,
        "source": "held out of the training questions",
        "split": None,
        "evaluations": len(lines),
        "best_by": "score",
        "best": best,
        "last": last,
        "stopped_early": False,
    }
    _json(path, record)


def _jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), questions=int(sys.argv[2]) if len(sys.argv) > 2 else 200)
