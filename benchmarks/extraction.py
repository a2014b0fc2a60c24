"""Our extractor and the rules of four other harnesses, on raw outputs that people have labelled.

    python benchmarks/extraction.py LABELLED.jsonl [--outputs FOLDER] [--out FIGURES.json]

LABELLED.jsonl has rows {id, raw, choices, answer, also}: `answer` is the place of the option that
the output commits to, or null for none; `also` lists what a reasonable grader could say too. With
--outputs, FOLDER has MODEL.jsonl.xz with {id, raw} and choices.jsonl.xz with {id, choices, target}:
each model's accuracy by each rule.

The other rules are written anew from their descriptions, and kept to what is said of a text alone:

    MMLU-Pro     "answer is (X)" anywhere, else "answer: X" on any line, else the last letter that
                 stands alone. Where nothing is found, its script takes a random option: not here.
    lm-eval      of its MMLU-Pro task: the first "answer is (X)", else nothing
    lmms-eval    of its MMMU task: letters in brackets, else letters between spaces, else, of more
                 than five words, option texts; of several the last. Where nothing is found, it
                 takes a random option: not here.
    VLMEvalKit   exact matching, before any judge model is asked: the only letter among the words,
                 if it is one of the last five and no article A; else the only option text, in a
                 text no longer than twice all options

Right: the label, or what could be said too. Wrong option: any other option. Missed: nothing is
read, and the output commits to an option. The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from harness.extract import extract_choice

Rule = Callable[[str, Sequence[str]], int | None]


def ours(raw: str, choices: Sequence[str]) -> int | None:
    answer = extract_choice(raw, choices).answer
    return answer if isinstance(answer, int) else None


def _place(letter: str | None, choices: Sequence[str]) -> int | None:
    """The option with this letter, where there is one."""
    if not letter or letter not in ascii_uppercase[: len(choices)]:
        return None
    return ascii_uppercase.index(letter)


_SAYS = re.compile(r"answer is \(?([A-J])\)?")
_LABEL = re.compile(r"[aA]nswer:\s*([A-J])")
_ALONE = re.compile(r"\b([A-J])\b")


def mmlu_pro(raw: str, choices: Sequence[str]) -> int | None:
    found = _SAYS.search(raw)
    if found is None:
        labelled = [match for line in raw.split("\n") for match in list(_LABEL.finditer(line))[-1:]]
        found = labelled[0] if labelled else None
    if found is None:
        alone = list(_ALONE.finditer(raw))
        found = alone[-1] if alone else None
    return _place(found[1] if found else None, choices)


def lm_eval(raw: str, choices: Sequence[str]) -> int | None:
    found = _SAYS.search(raw)
    return _place(found[1] if found else None, choices)


def lmms_eval(raw: str, choices: Sequence[str]) -> int | None:
    text = f" {raw.strip(',.!?;:' + chr(39))} "
    letters = ascii_uppercase[: len(choices)]
    for form in ("({})", " {} "):
        ends = {place: text.rfind(form.format(letter)) for place, letter in enumerate(letters)}
        if any(end >= 0 for end in ends.values()):
            return max(ends, key=ends.__getitem__)
    if len(text.split()) <= 5:
        return None
    lowered = text.lower()
    ends = {place: lowered.rfind(choice.lower()) for place, choice in enumerate(choices)}
    return max(ends, key=ends.__getitem__) if any(end >= 0 for end in ends.values()) else None


_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))


def vlmevalkit(raw: str, choices: Sequence[str]) -> int | None:
    words = raw.translate(_MARKS).split()
    present = [letter for letter in ascii_uppercase[: len(choices)] if letter in words]
    if len(present) == 1:
        [letter] = present
        article = letter == "A" and len(words) > 3
        if not article and words.index(letter) > len(words) - 5:
            return ascii_uppercase.index(letter)
    if len(raw) > 2 * sum(map(len, choices)):
        return None
    named = [place for place, choice in enumerate(choices) if choice.lower() in raw.lower()]
    return named[0] if len(named) == 1 else None


RULES: dict[str, Rule] = {
    "ours": ours,
    "MMLU-Pro": mmlu_pro,
    "lm-eval": lm_eval,
    "lmms-eval": lmms_eval,
    "VLMEvalKit": vlmevalkit,
}


def outcome(read: int | None, label: dict[str, Any]) -> str:
    """right, wrong option or missed."""
    if read == label["answer"] or read in label.get("also", ()):
        return "right"
    return "missed" if read is None else "wrong option"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def judge(labels: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """For each rule how often each outcome was, and CPU milliseconds an output."""
    found: dict[str, Any] = {}
    labels = list(labels)
    for name, rule in RULES.items():
        started = time.process_time()
        read = [rule(label["raw"], label["choices"]) for label in labels]
        seconds = time.process_time() - started
        counts = Counter(map(outcome, read, labels))
        found[name] = {
            **{kind: counts[kind] for kind in ("right", "wrong option", "missed")},
            "n": len(labels),
            "ms": round(1000 * seconds / len(labels), 2),
        }
    return found


def accuracies(folder: Path) -> dict[str, dict[str, float]]:
    """Model -> rule -> share of questions that are right."""
    questions = {row["id"]: row for row in rows(folder / "choices.jsonl.xz")}
    found = {}
    for path in sorted(folder.glob("*.jsonl.xz")):
        if path.name == "choices.jsonl.xz":
            continue
        right: Counter[str] = Counter()
        n = 0
        for row in rows(path):
            asked = questions[row["id"]]
            n += 1
            for name, rule in RULES.items():
                right[name] += rule(row["raw"], asked["choices"]) == asked["target"]
        found[path.name.removesuffix(".jsonl.xz")] = {name: right[name] / n for name in RULES}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labelled", type=Path, nargs="+")
    parser.add_argument("--outputs", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    result: dict[str, Any] = {}
    for path in asked.labelled:
        result[path.name] = judge(rows(path))
        print(f"{path.name}\n| rule | right | wrong option | missed | CPU ms an output |")
        print("|---|---|---|---|---|")
        for name, each in result[path.name].items():
            n = each["n"]
            shares = [
                f"{each[kind]} ({100 * each[kind] / n:.1f}%)"
                for kind in ("right", "wrong option", "missed")
            ]
            print(f"| {name} | {' | '.join(shares)} | {each['ms']} |")
    if asked.outputs:
        result["accuracy"] = accuracies(asked.outputs)
        print(f"| model | {' | '.join(RULES)} |\n|---|{'---|' * len(RULES)}")
        for model, each in result["accuracy"].items():
            print(f"| {model} | {' | '.join(f'{100 * share:.1f}%' for share in each.values())} |")
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
