"""What trackers have kept of a run, read back."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7


def wandb_records(folder: Path) -> Iterator[Any]:
    """The records of an offline run: protocol buffers in LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    (file,) = folder.glob("*.wandb")
    data, place, whole = file.read_bytes(), HEADER, b""
    while place + HEADER <= len(data):
        if (left := BLOCK - place % BLOCK) < HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        whole += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in {1, 4}:  # whole, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def wandb_run(folder: Path) -> dict[str, Any]:
    """What an offline run holds: name, project, id, config, rows, exit code, all of its bytes. The
    process of wandb, which writes it, has ended afterwards."""
    import wandb

    wandb.teardown()
    found: dict[str, Any] = {"rows": [], "exit": None}
    for record in wandb_records(folder):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {"project": run.project, "name": run.display_name, "id": run.run_id}
            found["config"] = {u.key: json.loads(u.value_json) for u in run.config.update}
        elif kind == "history":
            row = {}
            for item in record.history.item:
                row["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            found["rows"].append(row)
        elif kind == "exit":
            found["exit"] = record.exit.exit_code
    (file,) = folder.glob("*.wandb")
    found["bytes"] = file.read_bytes()
    return found


def tensorboard_run(folder: Path) -> Any:
    """The events of a run, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def tensorboard_text(events: Any, tag: str) -> str:
    """The newest text of a tag, as Markdown."""
    return events.Tensors(f"{tag}/text_summary")[-1].tensor_proto.string_val[0].decode()


def scalars(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]
