"""Kept rationales as a `datasets` folder that can be passed on.

README.md            the dataset card: what it is, whose it is, under which licences
data/train.parquet   what `datasets.load_dataset(FOLDER)` reads
saved/               the same, for `datasets.load_from_disk`
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.rationales.attempts import written_by
from distill.rationales.store import Store
from harness.core.errors import DataError, HarnessError
from harness.core.files.staging import staging
from harness.core.structured import Rationale, render
from harness.core.types import Sample

BATCH = 64
"""Rows that are held at once: with their pictures, some ten MB."""


def export(folder: Path, samples: Sequence[Sample], out: Path, *, images: bool = True) -> int:
    """Write the kept rationales of `folder` to `out`; returns how many there are.

    Args:
        samples: the questions that they are of.
        images: put the pictures in, as their encoded bytes.

    Raises:
        DataError: there are no rationales, or they are of other questions.
        HarnessError: `out` is there already.
    """
    store = Store(folder)
    record = store.read_record()
    if record is None:
        raise DataError(f"{folder} has no rationales.", remedy="harness distill rationales")
    rows = store.read_kept()
    by_id = {sample.id: sample for sample in samples}
    unknown = [row["id"] for row in rows if row["id"] not in by_id]
    if unknown or not rows:
        problem = f"one of question {unknown[0]!a}" if unknown else "no kept ones"
        raise DataError(
            f"{store.kept_path} has {problem}.", known=f"There are {len(by_id)} questions."
        )
    if out.exists():
        raise HarnessError(f"{out} is there already.", remedy="Choose another --out.")
    with staging(out) as aside:
        _write_tables(_rows(rows, by_id, images=images), aside)
        about = card(record, len(rows), images=images)
        (aside / "README.md").write_text(about, encoding="utf-8")
        aside.rename(out)
    return len(rows)


def _rows(
    kept: Sequence[Mapping[str, Any]], samples: Mapping[str, Sample], *, images: bool
) -> Iterator[dict[str, Any]]:
    for row in kept:
        sample = samples[row["id"]]
        found = Rationale(row["summary"], row["caption"], row["reasoning"], row["conclusion"])
        pictures = {"images": [{"bytes": i.read(), "path": None} for i in sample.images]}
        yield {
            "id": sample.id,
            "question": sample.question,
            "choices": list(sample.choices),
            "answer": row["answer"],
            "topic": sample.topic,
            "summary": found.summary,
            "caption": found.caption,
            "reasoning": found.reasoning,
            "conclusion": found.conclusion,
            "rationale": render(found),
            "score": row["score"],
            "teacher": row["teacher"],
            "teacher_fingerprint": row["teacher_fingerprint"],
            "prompt_version": row["prompt_version"],
            "attempt": row["attempt"],
            "chosen_by": row.get("choice", {}).get("method"),
            "choice_score": row.get("choice", {}).get("score"),
            "hinted": row["hinted"],
            "image_sha256": list(row["images"]),
            **(pictures if images else {}),
        }


def _write_tables(rows: Iterator[dict[str, Any]], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset, Features, Image, List, Value

    text, texts = Value("string"), List(Value("string"))
    kinds: Mapping[str, Any] = {
        "choices": texts,
        "image_sha256": texts,
        "score": Value("float64"),
        "choice_score": Value("float64"),
        "attempt": Value("int32"),
        "hinted": Value("bool"),
        "images": List(Image()),
    }
    first = next(rows)
    features = Features({name: kinds.get(name, text) for name in first})
    schema = features.arrow_schema
    path = out / "data" / "train.parquet"
    path.parent.mkdir()
    with pq.ParquetWriter(path, schema) as writer:
        batch = [first]
        for row in rows:
            if len(batch) == BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
            batch.append(row)
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    with tempfile.TemporaryDirectory() as cache:
        Dataset.from_parquet(str(path), features=features, cache_dir=cache).save_to_disk(
            str(out / "saved")
        )


def card(record: Mapping[str, Any], n: int, *, images: bool) -> str:
    """The dataset card: provenance, licences, and what the rationales are and are not."""
    data, teacher = record["data"], record["teacher"]
    licence = data.get("licence") or "not known"
    tag = licence.lower().replace(" ", "-") if licence.startswith("CC BY") else "other"
    at = f" at {data['revision']}" if data.get("revision") else ""
    counts = record["counts"]
    hinted = counts.get("hinted", 0)
    settings = record.get("settings", {})
    holds = "questions, options, answers and pictures" if images else "questions and answers"
    teacher_licence = teacher.get("licence") or "not known"
    imported = "imported" in record["fingerprint"]
    seen = "not known" if imported else ", ".join(["the image", *settings.get("teacher_input", [])])
    version = "not known" if imported else settings.get("prompt_version")
    of_scienceqa = (
        "\nScienceQA is CC BY-NC-SA 4.0: name its authors, no commercial use, and share what is "
        "made of it\nunder the same terms."
        if data["task"] == "scienceqa"
        else ""
    )
    return f"""---
license: {tag}
language: [en]
task_categories: [visual-question-answering]
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train.parquet
---

# Structured rationales for {_line(data["title"])}, {_line(data["split"])}

{n:,} rationales in four stages (summary, caption, reasoning, conclusion), one a question, for
distilling a large vision-language model's reasoning into a small one.

| | |
|---|---|
| Questions | {_line(data["source"])}{_line(at)}, split {_line(data["split"])} |
| Teacher | {_line(written_by(record))} |
| The teacher saw | {seen} |
| Filter | {settings.get("filter")} |
| Chosen among attempts | {settings.get("attempts")}, by {settings.get("choose")} |
| Kept | {counts["kept"]} of {counts["selected"]}, {hinted} of them after a hint |
| Prompt version | {version} |

The conclusion is the data set's own answer, whatever the teacher concluded. Where the teacher was
given the answer, its reasoning leads up to it, and need not be how the answer would be found.

## Licences

The {holds} are those of the source, whose licence applies to this copy:
{_line(licence)}.{of_scienceqa}
The teacher's own terms apply to what it wrote: {_line(teacher_licence)}.
"""


def _line(text: object) -> str:
    """Text from elsewhere on one line of the card, without markup of its own."""
    words = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", words)
