"""Embeddings of pictures that a frozen encoder gives: computed once, kept on disk within a limit.

They depend on the picture's bytes, the weights, the geometry and the precision, and are kept under
all four. What is read back is checked, and computed again where it does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.files.atomic import write_atomically
from harness.core.images import ImageRef

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_NAME = "features"


class FeatureStore:
    """`store(image)` is the picture's embeddings, (T, D), on the CPU."""

    def __init__(
        self,
        folder: Path,
        encode: Callable[[Image], torch.Tensor],
        *,
        key: dict[str, Any],
        shape: tuple[int, int],
        dtype: torch.dtype,
        limit: float,
        writers: int = 1,
    ) -> None:
        """Keep features in `folder`, and count what is there already.

        Args:
            folder: where features are kept, those of other weights and precisions too.
            encode: from a picture to its embeddings; of one picture at a time, so that they do not
                depend on what else is encoded.
            key: fingerprint of the weights, geometry: what `encode` depends on.
            shape: (T, D).
            limit: bytes that `folder` may take.
            writers: processes that add to it at the same time, each its share of what is left.
        """
        name = sha256(json.dumps([key, shape, str(dtype)], sort_keys=True).encode()).hexdigest()
        self._folder = folder / name[:16]
        self._encode = encode
        self._shape = shape
        self._dtype = dtype
        used = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
        self._room = (limit - used) / writers

    def __call__(self, image: ImageRef) -> torch.Tensor:
        """Raises SampleError where the picture cannot be read or decoded."""
        path = self._folder / f"{image.digest()}.safetensors"
        kept = self._read(path)
        if kept is None:
            kept = self._encode(image.decode()).to("cpu", self._dtype)
            self._keep(path, kept)
        return kept

    def check(self, image: ImageRef) -> None:
        """Make sure that `image` can be used, and keep its embeddings if there is room; raises
        SampleError."""
        if (self._folder / f"{image.digest()}.safetensors").exists() or self._has_room():
            self(image)
        else:
            image.decode()

    @property
    def _size(self) -> int:
        return self._shape[0] * self._shape[1] * self._dtype.itemsize

    def _has_room(self) -> bool:
        return self._size <= self._room

    def _keep(self, path: Path, features: torch.Tensor) -> None:
        from safetensors.torch import save

        if self._has_room():
            data = save({_NAME: features.contiguous()})
            write_atomically(path, data)
            self._room -= len(data)

    def _read(self, path: Path) -> torch.Tensor | None:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            features = load(path.read_bytes())[_NAME]
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError):
            features = None
        if features is not None and features.shape == self._shape and features.dtype == self._dtype:
            return features
        self._room += path.stat().st_size
        path.unlink()
        return None
