"""Image features that are kept between requests, so that no image is encoded twice in a row."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

from harness.engine.encoded_prompts import EncodedPrompt


class ImageFeatureCache:
    """The features of the images that were used last, up to so many bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._features: OrderedDict[str, torch.Tensor] = OrderedDict()
        self.hits = 0
        """How often an image did not have to be encoded again."""

    def of(
        self,
        prompts: Sequence[EncodedPrompt],
        encode_images: Callable[[Sequence[EncodedPrompt]], list[torch.Tensor]],
    ) -> list[torch.Tensor | None]:
        """The features of each prompt's images, those that are not kept from `encode_images`; None
        for a prompt without an image."""
        found = {p.image_digest: self._get(p.image_digest) for p in prompts if p.image_digest}
        new = {p.image_digest: p for p in prompts if found.get(p.image_digest, p) is None}
        for digest, features in zip(new, encode_images(list(new.values())), strict=True):
            found[digest] = features
            self._put(digest, features)
        return [found.get(prompt.image_digest) for prompt in prompts]

    def clear(self) -> None:
        self._features.clear()
        self._held = 0

    def _get(self, digest: str) -> torch.Tensor | None:
        found = self._features.get(digest)
        if found is not None:
            self.hits += 1
            self._features.move_to_end(digest)
        return found

    def _put(self, digest: str, features: torch.Tensor) -> None:
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
