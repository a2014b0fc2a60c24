"""Image features that are kept between requests, so that no image is encoded twice in a row."""

from __future__ import annotations

from collections import OrderedDict

import torch


class ImageFeatureCache:
    """The features of the images that were used last, up to so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self.hits = 0
        """How often an image did not have to be encoded again."""

    def __contains__(self, digest: str) -> bool:
        return digest in self._features

    def clear(self) -> None:
        self._features.clear()
        self._held = 0

    def get(self, digest: str) -> torch.Tensor | None:
        """The features of the images with this digest; None where they are not kept."""
        found = self._features.get(digest)
        if found is not None:
            self.hits += 1
            self._features.move_to_end(digest)
        return found

    def put(self, digest: str, features: torch.Tensor) -> None:
        """Keep features; the ones that were used the longest ago go."""
        if digest in self._features:
            return
        size = features.numel() * features.element_size()
        if size > self._max_bytes:
            return
        self._features[digest] = features
        self._held += size
        while self._held > self._max_bytes:
            _, oldest = self._features.popitem(last=False)
            self._held -= oldest.numel() * oldest.element_size()
