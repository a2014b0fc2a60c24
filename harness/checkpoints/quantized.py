"""Weights in eight bits, with a scale for each row: a quarter of float32's size.

    model.int8.safetensors    in place of model.safetensors; of each matrix
        NAME                  int8, of its shape
        NAME.scale            float32, one for each row; the last dimension is the columns
                              and of each vector
        NAME                  float32

They are multiplied out when they are loaded, to float32. transformers by itself finds no weights
in such a folder, and says so: it never takes the integers for weights.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import Exit, HarnessError

if TYPE_CHECKING:
    from torch import Tensor

FILE = "model.int8.safetensors"
_WHOLE = "model.safetensors"
_SCALE = ".scale"
_LARGEST = 127


def quantize(folder: Path) -> None:
    """Replace a folder's model.safetensors by its form in eight bits."""
    from safetensors.torch import load_file, save_file

    save_file(_rounded(load_file(folder / _WHOLE)), folder / FILE)
    (folder / _WHOLE).unlink()


def is_scale(name: str, path: Path) -> bool:
    """Whether a tensor of a file is no weight, but belongs to one in eight bits."""
    return path.name == FILE and name.endswith(_SCALE)


@contextmanager
def dequantized(folder: Path) -> Iterator[Path]:
    """A folder that any library can load: `folder` itself, or where its weights have eight bits, a
    copy with weights in float32 for as long as the context lasts.

    Raises:
        HarnessError: the tensors do not belong together (exit 3).
    """
    if not (folder / FILE).is_file():
        yield folder
        return
    from safetensors.torch import load_file, save_file

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        whole = Path(made) / folder.name
        shutil.copytree(folder, whole, ignore=shutil.ignore_patterns(FILE))
        whole.chmod(0o700)  # the copy has the folder's mode, which may be read-only
        tensors = _multiplied(load_file(folder / FILE), folder / FILE)
        save_file(tensors, whole / _WHOLE, metadata={"format": "pt"})
        yield whole


def _rounded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    import torch

    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2:
            made[name] = tensor.float()
            continue
        scale = tensor.float().abs().amax(dim=-1) / _LARGEST
        rows = tensor.float() / scale.where(scale > 0, 1)[..., None]  # a row of zeros has scale 0
        made[name] = rows.round().to(torch.int8)
        made[name + _SCALE] = scale
    return made


def _multiplied(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    import torch

    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if is_scale(name, path):
            continue
        if tensor.dtype != torch.int8:
            made[name] = tensor.float()
            continue
        scale = tensors.get(name + _SCALE)
        if scale is None or scale.shape != tensor.shape[:-1]:
            found = "missing" if scale is None else f"{list(scale.shape)}"
            raise HarnessError(
                f"{path} is damaged: the scales of {name}, {list(tensor.shape)}, are {found}.",
                remedy="Download the checkpoint again.",
                code=Exit.MISSING,
            )
        made[name] = tensor * scale[..., None]
    return made
