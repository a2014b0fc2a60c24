"""BLEU and ROUGE against sacrebleu and rouge-score, on the same texts in one run.

    python benchmarks/text_metrics.py [--pairs 10000] [--large 63746] [--workers 2]

Texts are drawn with a fixed seed: words by Zipf's law, in lines, with the lengths of VQAonline's
answers. Values are checked for equality wherever both are computed; the reference libraries take a
sample, since rouge-score needs minutes for what is timed here. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import time
from collections.abc import Callable
from typing import Any

from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from harness.core.types import Prediction
from harness.metrics.former import text_overlap
from harness.metrics.overlap import ROUGE_TYPES, bleu_statistics, rouge

VOCABULARY = 20_000
MARKS = (".", ",", ";", " (1.5)", "'s", "-2", "&amp;")


def draw(random_: random.Random, words: float, lines: float) -> str:
    """A text of about so many words and lines, of shared and rare words."""
    length = max(1, round(random_.gammavariate(1.5, words / 1.5)))
    pieces = []
    for _ in range(length):
        rank = int(VOCABULARY ** random_.random())
        mark = random_.choice(MARKS) if random_.random() < 0.15 else ""
        end = "\n" if random_.random() < lines / words else " "
        pieces.append(f"w{rank}{mark}{end}")
    return "".join(pieces).rstrip()


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result, with seconds of wall time and of CPU, workers included."""
    before, start = cpu_seconds(), time.perf_counter()
    result = function()
    wall = time.perf_counter() - start
    return result, {"wall_s": round(wall, 2), "cpu_s": round(cpu_seconds() - before, 2)}


def cpu_seconds() -> float:
    usages = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000, help="of 150 words, on one core")
    parser.add_argument("--large", type=int, default=63_746, help="of 173 and 200 words")
    parser.add_argument("--sample", type=int, default=300, help="for the reference libraries")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    random_ = random.Random(0)
    figures: dict[str, Any] = {"python": platform.python_version(), "machine": platform.machine()}

    predictions = [draw(random_, 150, 3) for _ in range(options.pairs)]
    references = [draw(random_, 150, 8) for _ in range(options.pairs)]
    sample = slice(0, options.sample)
    scorer = RougeScorer(list(ROUGE_TYPES))
    theirs, reference = timed(
        lambda: [
            scorer.score(r, p) for p, r in zip(predictions[sample], references[sample], strict=True)
        ]
    )
    scores, ours = timed(lambda: rouge(predictions, references))
    for name in ROUGE_TYPES:
        assert [s[name].fmeasure for s in theirs] == scores[name][sample].tolist(), name
    ratio = (reference["cpu_s"] / options.sample) / (ours["cpu_s"] / options.pairs)
    figures["rouge"] = {"pairs": options.pairs, **ours, "times_faster_than_rouge_score": ratio}
    print(f"ROUGE, {options.pairs} pairs: {ours['cpu_s']} CPU s, {ratio:.0f}x rouge-score")

    sacrebleu = BLEU(tokenize="13a", smooth_method="none", force=True)
    theirs, reference = timed(
        lambda: sacrebleu._extract_corpus_statistics(predictions, [references])  # noqa: SLF001  # no public name
    )
    statistics, ours = timed(lambda: bleu_statistics(predictions, references))
    assert statistics.tolist() == theirs
    ratio = reference["cpu_s"] / ours["cpu_s"]
    figures["bleu"] = {"pairs": options.pairs, **ours, "times_faster_than_sacrebleu": ratio}
    print(f"BLEU, {options.pairs} pairs: {ours['cpu_s']} CPU s, {ratio:.1f}x sacrebleu")

    predictions = [draw(random_, 173, 3) for _ in range(options.large)]
    references = [draw(random_, 200, 8) for _ in range(options.large)]
    workers = options.workers
    _, both = timed(
        lambda: (
            bleu_statistics(predictions, references, workers=workers),
            rouge(predictions, references, workers=workers),
        )
    )
    figures["bleu_and_rouge"] = {"pairs": options.large, "workers": workers, **both}
    print(f"BLEU and ROUGE, {options.large} pairs, {workers} workers: {both['wall_s']} s")
    rows = [
        Prediction(sample_id="", raw="", answer=p, rule="", target=r, topic=p[-1:])
        for p, r in zip(predictions, references, strict=True)
    ]
    _, run = timed(lambda: text_overlap(rows))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figures["with_intervals_and_topics"] = {"pairs": options.large, **run, "peak_mib": peak}
    print(f"with intervals, and by topic: {run['wall_s']} s, {peak} MiB")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
