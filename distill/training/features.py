"""Embeddings of pictures that a frozen encoder gives: computed once, kept on disk within a limit.

They depend on the picture's bytes, the weights, the geometry and the precision, and are kept under
all four. Pictures are encoded in batches, and a batch is one file, written once and durably: it is
there whole or not at all. What does not fit is deleted and computed again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.files.atomic import write_atomically
from harness.core.images import ImageRef

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

PICTURES_AT_ONCE = 16
"""Pictures of one pass through the encoder, and of one file."""
_SINGLE = "features"
"""The tensor of a file with one picture, which is named after it: earlier versions wrote such."""
_HEADER_BYTES = 160
"""What a picture's entry in a file takes in addition to its numbers, at most."""


class FeatureStore:
    """`store(images)` is the embeddings of each picture, (T, D), on the CPU."""

    def __init__(
        self,
        folder: Path,
        encode: Callable[[Sequence[Image]], Sequence[torch.Tensor]],
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
            encode: from pictures to the embeddings of each.
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
        self._read_files: set[Path] = set()
        self._places: dict[str, tuple[Path, str]] = {}  # picture -> its file, and its tensor there

    def __call__(self, images: Sequence[ImageRef]) -> list[torch.Tensor]:
        """Read what is kept, encode the others together, and keep them if there is room.

        Raises:
            SampleError: a picture cannot be read or decoded.
        """
        digests = [image.digest() for image in images]
        kept = {digest: self._read(digest) for digest in digests}
        pictures = {
            digest: image.decode()
            for digest, image in zip(digests, images, strict=True)
            if kept[digest] is None
        }
        found = kept | self._add(pictures)
        return [found[digest] for digest in digests]  # type: ignore[misc]  # none is missing now

    def missing(self, images: Sequence[ImageRef]) -> Mapping[str, Image]:
        """The pictures that are not kept, by digest; raises SampleError where one is unusable."""
        return {
            digest: image.decode()
            for image in images
            if not self._is_kept(digest := image.digest())
        }

    def keep(self, pictures: Mapping[str, Image]) -> None:
        """Encode and keep as many of `pictures` as there is room for; see `missing`."""
        self._add(dict(list(pictures.items())[: self._room_left]))

    @property
    def _size(self) -> int:
        return self._shape[0] * self._shape[1] * self._dtype.itemsize + _HEADER_BYTES

    @property
    def _room_left(self) -> int:
        """Pictures that there is room for."""
        return max(0, int(self._room // self._size))

    def _add(self, pictures: Mapping[str, Image]) -> dict[str, torch.Tensor]:
        """Encode `pictures`, and keep what there is room for."""
        found: dict[str, torch.Tensor] = {}
        digests = list(pictures)
        for start in range(0, len(digests), PICTURES_AT_ONCE):
            batch = digests[start : start + PICTURES_AT_ONCE]
            encoded = self._encode([pictures[digest] for digest in batch])
            made = {
                digest: features.to("cpu", self._dtype)
                for digest, features in zip(batch, encoded, strict=True)
            }
            self._write({digest: made[digest] for digest in batch[: self._room_left]})
            found |= made
        return found

    def _write(self, features: Mapping[str, torch.Tensor]) -> None:
        """Write one file of `features`."""
        from safetensors.torch import save

        if features:
            name = sha256("".join(features).encode()).hexdigest()
            path = self._folder / f"{name[:32]}.safetensors"
            data = save({digest: each.contiguous() for digest, each in features.items()})
            write_atomically(path, data)
            self._room -= len(data)
            self._read_files.add(path)
            self._places |= {digest: (path, digest) for digest in features}

    def _is_kept(self, digest: str) -> bool:
        if digest not in self._places:
            self._find_files()
        return digest in self._places

    def _find_files(self) -> None:
        """Note what is in the files that have appeared; other processes write too."""
        from safetensors import SafetensorError, safe_open

        for path in sorted(set(self._folder.glob("*.safetensors")) - self._read_files):
            self._read_files.add(path)
            try:
                with safe_open(path, framework="pt") as file:
                    names = list(file.keys())
                    shapes = {tuple(file.get_slice(name).get_shape()) for name in names}
            except (OSError, SafetensorError):
                names, shapes = [], set()
            if shapes == {self._shape}:
                for name in names:
                    self._places[path.stem if name == _SINGLE else name] = (path, name)
            else:
                self._forget(path)

    def _read(self, digest: str) -> torch.Tensor | None:
        from safetensors import SafetensorError, safe_open

        if not self._is_kept(digest):
            return None
        path, name = self._places[digest]
        try:
            with safe_open(path, framework="pt") as file:
                features: torch.Tensor = file.get_tensor(name)
        except (OSError, SafetensorError):
            features = None  # type: ignore[assignment]
        if features is not None and features.shape == self._shape and features.dtype == self._dtype:
            return features
        self._forget(path)
        return None

    def _forget(self, path: Path) -> None:
        """Delete a file whose content cannot be used."""
        self._places = {key: place for key, place in self._places.items() if place[0] != path}
        if path.exists():
            self._room += path.stat().st_size
            path.unlink()
