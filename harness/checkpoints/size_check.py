"""Whether a checkpoint's config.json fits its weights, found out before memory is taken for them.

transformers makes every tensor that config.json asks for, and only then finds that the files hold
others. So the model is first built without memory, and what it would hold is compared with what
the headers of the *.safetensors say. Numbers that make building itself endless, such as a million
layers, are refused before that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.checkpoints.folder import tensor_shapes
from harness.core.errors import Exit, HarnessError
from harness.core.time_limit import CallTimeout, within

SLACK = 10_000_000
"""Numbers that a model may hold beyond those of its files; 40 MB."""
MAX_BUFFERS = 100_000_000
"""Numbers that are computed, not loaded: position ids, masks."""
LONGEST_BUILD = 60.0
"""Seconds to build a model without memory; the largest published ones take two."""
_PACKED = 16
"""Weights that a quantized checkpoint keeps in one number, at most, its scales left out."""
_COUNT = re.compile(r"layer|depth|block|stage|expert")
_PARTS_WITHOUT_TENSORS = 1000
"""Layers and the like that a config.json may name beyond the tensors in the files."""


def refuse_endless_counts(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse more layers, experts and the like than there can be; to be called before transformers
    reads config.json, as it makes a list of all layers.

    Raises:
        HarnessError: there are too many, by name.
    """
    for name, count in _counts(config):
        if count <= _PARTS_WITHOUT_TENSORS:
            continue
        tensors = len(tensor_shapes(folder))
        if count > tensors + _PARTS_WITHOUT_TENSORS:
            raise _refusal(folder, f"has {name} = {count:,}", f"hold {tensors:,} tensors")


def refuse_other_sizes(folder: Path, config: Mapping[str, Any], build: Callable[[], Any]) -> None:
    """Refuse weights of other sizes than config.json's.

    Args:
        config: config.json.
        build: makes the model; called where tensors have no memory.

    Raises:
        HarnessError: the model would hold more than the files do.
    """
    shapes = tensor_shapes(folder)
    try:
        wanted, buffers = within(LONGEST_BUILD, _numbers, build)
    except CallTimeout as error:
        raise HarnessError(
            f"{folder}: the model that config.json describes cannot be built: {error}.",
            remedy="Download the checkpoint again; its files do not belong together.",
            code=Exit.MISSING,
        ) from error
    found = sum(math.prod(shape) for shape in shapes.values())
    # Twice: tied weights are counted where they lie, and a head may be made from the embeddings.
    packed = _PACKED if config.get("quantization_config") else 1
    if wanted > 2 * packed * found + SLACK:
        raise _refusal(folder, f"asks for {wanted:,} weights", f"hold {found:,}")
    if buffers > 2 * packed * found + MAX_BUFFERS:
        raise _refusal(folder, f"asks for tables of {buffers:,} numbers", f"hold {found:,} weights")


def _refusal(folder: Path, asked: str, held: str) -> HarnessError:
    return HarnessError(
        f"{folder}: the weights do not fit config.json, which {asked}.",
        known=f"Its *.safetensors {held}.",
        remedy="Download the checkpoint again; its files do not belong together.",
        code=Exit.MISSING,
    )


def _numbers(build: Callable[[], Any]) -> tuple[int, int]:
    """How many numbers a model holds in weights, and in buffers."""
    import torch
    from transformers.initialization import no_init_weights

    with no_init_weights(), torch.device("meta"):
        model = build()
    weights = sum(parameter.numel() for parameter in model.parameters())
    return weights, sum(buffer.numel() for buffer in model.buffers())


def _counts(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """("text_config.num_hidden_layers", 32) and all its kin, wherever they stand; of a list the
    sum."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        where = f"{name}{key}"
        if _COUNT.search(str(key)) and "size" not in str(key):
            numbers = inner if isinstance(inner, list) else [inner]
            yield where, sum(n for n in numbers if isinstance(n, int))
        yield from _counts(inner, f"{where}.")
