"""The student's model card: what it was made of, and how. Its results are filled in when there are
any."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config import DistillConfig
from distill.layout import ADAPTER
from distill.objectives import objective_of
from distill.objectives.objective import Objective
from distill.training.evaluation_log import choice_in_words
from harness.core.errors import DataError
from harness.core.files.atomic import write_atomically

_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a student is made of, in words; "": not known."""

    base: str = ""
    """Name of the model that was trained."""
    base_repo: str = ""
    """Its repository on the hub."""
    base_licence: str = ""
    teacher: str = ""
    teacher_licence: str = ""
    logits: str = ""
    """The teacher whose logits are learned, where any are."""
    logits_licence: str = ""
    data: str = ""
    """The questions' data set, with its split and revision."""
    data_repo: str = ""
    """Its repository on the hub."""
    data_licence: str = ""


def card(
    config: DistillConfig, sources: Sources, *, image_tokens: str, record: Mapping[str, Any]
) -> str:
    """The text of README.md.

    Args:
        image_tokens: tokens per question's pictures, of Table 3, in words.
        record: what distill.json says of the finished run.
    """
    counts, losses = record["counts"], record["losses"]
    objective = objective_of(config)
    left_out = ", ".join(f"{n} ({_plain(why)})" for why, n in counts["left_out"].items())
    parts = {
        "Base": (sources.base, sources.base_licence),
        "Teacher": (sources.teacher, sources.teacher_licence)
        if objective.needs
        else ("none", "none"),
        **({"Logits": (sources.logits, sources.logits_licence)} if objective.top_logits else {}),
        "Questions": (sources.data, sources.data_licence),
    }
    return f"""---
{_metadata(objective, sources)}
---

# {_plain(sources.base) or "Student"}, distilled on {objective.title}

## Sources and licences

{_table(parts, ("Part", "Source", "Licence"))}

Whoever passes this model on is bound by all of these licences.

## Training

{counts["used"]} questions, {record["steps"]} optimizer steps; the loss went from \
{losses["first"]:.3f} to {losses["last"]:.3f} nats per token. Left out: {left_out or "none"}.
{_plain(choice_in_words(record))}

{_adapter(config)}![Training loss](loss.svg)

{_table(_table_3(config, image_tokens), ("Table 3", "Value"))}

All settings are in `distill_config.json`.

## Training questions by topic

{_table({k: (str(n),) for k, n in counts["by_topic"].items()}, ("Topic", "Questions"))}

## Results

{_BEGIN}
Not evaluated yet.
{_END}
"""


def _metadata(objective: Objective, sources: Sources) -> str:
    """What the hub reads of the card, as YAML. It wants repositories of its own where a card names
    the base and the data."""
    kind = "structured-rationales" if objective.style == "structured" else "fine-tuned"
    lines = [
        "license: other",
        "license_name: see-sources-and-licences",
        "library_name: transformers",
        "pipeline_tag: image-text-to-text",
        f"tags: [{'distillation, ' if objective.needs else ''}{kind}]",
    ]
    if sources.base_repo:
        lines.append(f"base_model: {_yaml(sources.base_repo)}")
    if sources.data_repo:
        lines.append(f"datasets: [{_yaml(sources.data_repo)}]")
    return "\n".join(lines)


def _adapter(config: DistillConfig) -> str:
    """What LoRA adapted; "" without it."""
    if config.lora_rank is None:
        return ""
    targets = (
        ", ".join(config.lora_targets or ()) or f"all linear layers of {', '.join(config.train)}"
    )
    return (
        f"LoRA adapters of rank {config.lora_rank}, alpha {config.lora_alpha:g}, on "
        f"{_plain(targets)}. They are merged into these weights; the folder `{ADAPTER}` of the "
        "training has them by themselves.\n\n"
    )


def _table_3(config: DistillConfig, image_tokens: str) -> dict[str, tuple[str]]:
    """The settings that Table 3 of the paper lists."""
    values = {
        "Optimizer": config.optimizer,
        "Epochs": config.epochs,
        "Learning rate": f"{config.learning_rate:g}",
        "Batch size": config.batch_size,
        "Gradient accumulation": config.accumulation,
        "Decoding": "greedy",
        "Image tokens": image_tokens,
        "Maximum of new tokens": config.max_new_tokens,
    }
    return {name: (str(value),) for name, value in values.items()}


def fill_results(path: Path, markdown: str) -> None:
    """Put `markdown` into the card's section on results, in place of what stands there.

    Raises:
        DataError: `path` has no such section.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise DataError(f"{path} has no section for results: it was not written by harness.")
    filled = f"{before}{begin}\n{markdown.strip()}\n{end}{after}"
    write_atomically(path, filled.encode())


def _table(rows: Mapping[str, Sequence[str]], head: Sequence[str]) -> str:
    lines = [head, ["---"] * len(head)]
    lines += [[_plain(each) or "not known" for each in (name, *row)] for name, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text from elsewhere, so that it stays text: no markup, no line of its own."""
    return re.sub(r"([\\`*_{}\[\]<>|#!])", r"\\\1", " ".join(text.split()))


def _yaml(text: str) -> str:
    """A JSON string is a YAML string."""
    return json.dumps(" ".join(text.split()))
