"""Embeddings of pictures that a frozen encoder gives: computed once, kept on disk within a limit.

They depend on the picture's bytes, the weights, the geometry and the precision, and are kept under
all four. Pictures are encoded in batches, and a batch is one file, written once and durably: it is
there whole or not at all. What does not fit is deleted and computed again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.files.atomic import write_atomically
from harness.core.images import ImageRef

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

PICTURES_AT_ONCE = 16
"""Pictures of one pass through the encoder, and of one file."""
UNUSABLE = "its picture cannot be used"
"""Why a question is left out whose picture is missing or broken."""
_SINGLE = "features"
"""The tensor of a file with one picture, which is named after it: earlier versions wrote such."""
_HEADER_BYTES = 160
"""What a picture's entry in a file takes in addition to its numbers, at most."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of a question, which are encoded and kept together: in some families the way a
    picture is divided goes by how many there are."""

    images: tuple[ImageRef, ...]

    def digest(self) -> str:
        """Of the only picture its own; raises SampleError."""
        digests = [image.digest() for image in self.images]
        return digests[0] if len(digests) == 1 else sha256(" ".join(digests).encode()).hexdigest()

    def decode(self) -> list[Image]:
        """The pictures in RGB, upright; raises SampleError."""
        return [image.decode() for image in self.images]


class FeatureStore:
    """`store(pictures)` is the embeddings of the pictures of each question, (T, D) or, for
    cross-attention, (tiles, T, D), on the CPU."""

    def __init__(
        self,
        folder: Path,
        encode: Callable[[Sequence[list[Image]]], Sequence[torch.Tensor]],
        *,
        key: Sequence[object],
        width: int,
        dtype: torch.dtype,
        limit: float,
        writers: int = 1,
    ) -> None:
        """Keep features in `folder`, and count what is there already.

        Args:
            folder: where features are kept, those of other weights and precisions too.
            encode: from pictures to the embeddings of each.
            key: fingerprint of the weights, geometry: what `encode` depends on.
            width: that D is a multiple of.
            limit: bytes that `folder` may take.
            writers: processes that add to it at the same time, each its share of what is left.
        """
        name = sha256(json.dumps([*key, str(dtype)], sort_keys=True).encode()).hexdigest()
        self._folder = folder / name[:16]
        self._encode = encode
        self._width = width
        self._dtype = dtype
        used = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
        self._room = (limit - used) / writers
        self._largest = 0  # bytes of the features that took most
        self._read_names: set[str] = set()
        self._places: dict[str, tuple[Path, str]] = {}  # picture -> its file, and its tensor there

    def __call__(self, images: Sequence[Pictures]) -> list[torch.Tensor]:
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

    def missing(self, images: Sequence[Pictures]) -> Mapping[str, list[Image]]:
        """The pictures that are not kept, by digest; raises SampleError where one is unusable."""
        return {
            digest: image.decode()
            for image in images
            if not self._is_kept(digest := image.digest())
        }

    def keep(self, pictures: Mapping[str, list[Image]]) -> None:
        """Encode and keep as many of `pictures` as there is room for; see `missing`."""
        smallest = self._largest or _HEADER_BYTES  # how large they are shows with the first ones
        count = max(0, int(self._room // smallest))
        self._add(dict(list(pictures.items())[:count]))

    def _add(self, pictures: Mapping[str, list[Image]]) -> dict[str, torch.Tensor]:
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
            self._write(self._fitting(made))
            found |= made
        return found

    def _fitting(self, features: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As many of `features` as there is room for, from the first one on."""
        fitting, room = {}, self._room
        for digest, each in features.items():
            size = each.numel() * each.element_size() + _HEADER_BYTES
            self._largest = max(self._largest, size)
            room -= size
            if room < 0:
                break
            fitting[digest] = each
        return fitting

    def _are_features(self, shape: Sequence[int]) -> bool:
        return len(shape) in {2, 3} and shape[-1] > 0 and shape[-1] % self._width == 0

    def _write(self, features: Mapping[str, torch.Tensor]) -> None:
        """Write one file of `features`."""
        from safetensors.torch import save

        if features:
            name = sha256("".join(features).encode()).hexdigest()
            path = self._folder / f"{name[:32]}.safetensors"
            data = save({digest: each.contiguous() for digest, each in features.items()})
            write_atomically(path, data)
            self._room -= len(data)
            self._read_names.add(path.name)
            self._places |= {digest: (path, digest) for digest in features}

    def _is_kept(self, digest: str) -> bool:
        if digest not in self._places:
            self._find_files()
        return digest in self._places

    def _file_names(self) -> set[str]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            return {each.name for each in entries if each.name.endswith(".safetensors")}
        return set()

    def _find_files(self) -> None:
        """Note what is in the files that have appeared; other processes write too."""
        from safetensors import SafetensorError, safe_open

        for new in sorted(self._file_names() - self._read_names):
            self._read_names.add(new)
            path = self._folder / new
            try:
                with safe_open(path, framework="pt") as file:
                    names = list(file.keys())
                    shapes = [file.get_slice(name).get_shape() for name in names]
            except (OSError, SafetensorError):
                names, shapes = [], []
            if names and all(map(self._are_features, shapes)):
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
        if features is not None and features.dtype == self._dtype:
            return features
        self._forget(path)
        return None

    def _forget(self, path: Path) -> None:
        """Delete a file whose content cannot be used."""
        self._places = {key: place for key, place in self._places.items() if place[0] != path}
        if path.exists():
            self._room += path.stat().st_size
            path.unlink()
