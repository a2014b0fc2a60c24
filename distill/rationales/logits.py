"""The teacher's logits at the target tokens, on disk, so that the teacher need not be in memory
while the student is trained. This module alone knows the files.

    logits.json                 what they were computed with, and how many there are
    logits/KEY/ID.safetensors   of one example, its highest ones: ids, (T, K), and logits,
                                (T, K + 1), the last one that of all other tokens together

KEY is the hash of what they were computed with, ID that of the example's question and target.
Earlier versions kept nothing of the other tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.examples import Example
from distill.layout import LOGITS, LOGITS_RECORD, Workspace
from distill.objectives.objective import Objective, TopLogits
from distill.rationales.vocabularies import SharedTokens
from harness.core.errors import DataError, SampleError
from harness.core.files.atomic import write_atomically
from harness.core.files.json_files import read_json, write_json
from harness.core.mismatch import stop_on_mismatch
from harness.core.types import Task
from harness.data.fingerprint import blank, image_digests

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
_IDS, _LOGITS = "ids", "logits"


def keep_highest(
    logits: Tensor, count: int, *, temperature: float, shared: SharedTokens | None = None
) -> TopLogits:
    """The `count` highest of each row of `logits`, (T, V), and what the others amount to at
    `temperature`; on the CPU.

    Args:
        shared: the tokens that are kept, and by which ids; None: any, by the ids that they have.
    """
    import torch

    logits, size = logits.float(), logits.shape[1]
    there, here = shared.within(size) if shared else (list(range(size)),) * 2
    values, places = logits[:, there].topk(min(count, len(there)), dim=-1)
    kept = torch.tensor(there, device=logits.device)[places]
    if kept.shape[1] < size:
        others = logits.scatter(1, kept, -math.inf) / temperature
        values = torch.cat([values, temperature * others.logsumexp(-1, keepdim=True)], dim=1)
    ids = torch.tensor(here)[places.cpu()]
    return TopLogits(ids, (values - values[:, :1]).to("cpu", torch.float16))


def write_logits(path: Path, kept: TopLogits) -> int:
    """Write the file of one example; returns its bytes."""
    import torch
    from safetensors.torch import save

    small = bool((kept.ids < 2**16).all())
    ids = kept.ids.to(torch.uint16 if small else torch.int32)
    data = save({_IDS: ids.contiguous(), _LOGITS: kept.logits.contiguous()})
    write_atomically(path, data)
    return len(data)


def read_logits(example: Example) -> TopLogits:
    """The teacher's logits of an example; raises SampleError where there are none."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    if example.logits is None:
        raise SampleError("no logits of the teacher")
    try:
        found = load(example.logits.read_bytes())
        return TopLogits(found[_IDS].to(torch.int64), found[_LOGITS])
    except (OSError, SafetensorError, KeyError) as error:
        raise SampleError(f"its logits cannot be read: {error}") from error


def folder_of_logits(workspace: Workspace, known: Mapping[str, Any]) -> Path:
    """Where the files that were computed with `known` are."""
    key = sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return workspace.rationales / LOGITS / key[:16]


def files_of(
    examples: Sequence[Example], folder: Path, *, objective: Objective, task: Task
) -> list[Path]:
    """The file of each example in `folder`, whether it is there or not."""
    pictures = image_digests([example.sample for example in examples])
    found = []
    for example in examples:
        question = task.prompt(blank(example.sample), "direct").text
        try:
            texts = [target.text for target in objective.targets(example)]
        except SampleError:
            texts = []
        content = [example.sample.id, question, texts, pictures[example.sample.id]]
        name = sha256(json.dumps(content).encode()).hexdigest()
        found.append(folder / f"{name[:32]}.safetensors")
    return found


def with_logits(
    examples: Sequence[Example], workspace: Workspace, *, objective: Objective, task: Task
) -> list[Example]:
    """The examples, each with the file of its logits where there is one.

    Raises:
        DataError: none were computed, or fewer of a token than the objective needs.
    """
    record = read_logits_record(workspace)
    if record is None:
        raise DataError(
            f"{workspace.rationales} has no logits of the teacher.",
            remedy=f"harness distill logits --name {workspace.name}",
        )
    known = record["fingerprint"]
    wanted = {"top_k": objective.top_logits, "temperature": objective.logits_temperature}
    stop_on_mismatch(
        known,
        {name: value for name, value in wanted.items() if name in known},
        what=f"the logits in {workspace.rationales}",
        made_by=record.get("command", ()),
        command=workspace.command,
        error=DataError,
    )
    folder = folder_of_logits(workspace, known)
    files = files_of(examples, folder, objective=objective, task=task)
    return [
        replace(example, logits=path if path.exists() else None)
        for example, path in zip(examples, files, strict=True)
    ]


def read_logits_record(workspace: Workspace) -> dict[str, Any] | None:
    """logits.json; None where there is none. Raises DataError."""
    path = workspace.rationales / LOGITS_RECORD
    try:
        record = read_json(path, remedy="Remove it, and run harness distill logits.")
    except FileNotFoundError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("fingerprint"), dict):
        raise DataError(f"{path} is not a record of logits.")
    if record.get("format", 0) > FORMAT:
        raise DataError(f"{path} was written by a newer harness.")
    return record


def write_logits_record(workspace: Workspace, record: Mapping[str, Any]) -> None:
    """Replace logits.json at once."""
    write_json(workspace.rationales / LOGITS_RECORD, {"format": FORMAT, **record})
