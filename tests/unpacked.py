"""The samples that a page carries, unpacked as its script unpacks them."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any


def element(page: str, name: str) -> str:
    """The text of a data element."""
    found = re.search(rf' id="{name}">([^<]*)</script>', page)
    assert found is not None, name
    return found[1]


def packed(page: str, name: str) -> Any:
    """The JSON of a packed data element."""
    return json.loads(gzip.decompress(base64.b64decode(element(page, name), validate=True)))


def groups(page: str) -> list[dict[str, Any]]:
    """The groups with their indices, and with `entries`: of each question that can be looked at
    what was asked, and what each run answered."""
    head = json.loads(element(page, "answers"))
    found = []
    for place, group in enumerate(head["groups"]):
        body = packed(page, f"index-{place}")
        for run, more in zip(group["runs"], body.pop("runs"), strict=True):
            run.update(more)
        shown = [i for i, q in zip(body["ids"], body["questions"], strict=True) if q is not None]
        blocks = [
            packed(page, f"answers-{place}-{n}") for n in range(-(-len(shown) // head["block"]))
        ]
        entries = [entry(block, n) for block in blocks for n in range(len(block["asked"]))]
        for each, text in zip(entries, filter(None.__ne__, body["questions"]), strict=True):
            each["question"] = text if each["question"] is None else each["question"]
        found.append({**group, **body, "entries": dict(zip(shown, entries, strict=True))})
    return found


def entry(block: dict[str, Any], place: int) -> dict[str, Any]:
    """A question of a block, with the texts in place of their numbers; None: it is in the index."""
    texts = block["texts"]
    assert len(set(texts)) == len(texts)  # each stands there once
    question, choices, target, pictures, missing = block["asked"][place]
    if isinstance(target, list):
        target = [[texts[text], n] for text, n in target]
    return {
        "question": None if question < 0 else texts[question],
        "choices": [texts[n] for n in choices],
        "target": target,
        "pictures": pictures,
        "missing": missing,
        "answers": [_answer(block, run, place) for run in range(len(block["given"]))],
    }


def _answer(block: dict[str, Any], run: int, place: int) -> dict[str, Any] | None:
    number, texts = block["given"][run][place], block["texts"]
    if number < 0:
        return None
    raw, answer, rule, prompt, error, order, others, span, cut = block["answers"][
        block["first"][place] + number
    ]
    costs = {name: column[place] for name, column in block["costs"][run].items()}
    return {
        "raw": texts[raw],
        "answer": texts[answer[0]] if isinstance(answer, list) else answer,
        "rule": texts[rule],
        "prompt": texts[prompt],
        "error": None if error is None else texts[error],
        "order": order,
        "others": [[found, texts[by]] for found, by in others],
        "span": span,
        "cut": bool(cut),
        **costs,
    }
