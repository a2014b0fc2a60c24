"""Encode images in passes of bounded size, each filled with those of requests that come next.

A prefill of few long prompts has few pictures, one of many short prompts has many: so the passes of
the vision encoder are cut by their own measure, pixels, and one of them may serve several prefills.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch

from harness.engine.encoded_prompts import EncodedPrompt
from harness.engine.image_features import ImageFeatureCache
from harness.engine.memory import attempt, is_out_of_memory, release
from harness.engine.model_runner import ModelRunner


class VisionPasses:
    """The image features of prompts, from the cache or from the vision encoder.

    Args:
        max_pixels: of one pass; fewer for good where memory runs out.
    """

    def __init__(
        self, runner: ModelRunner, features: ImageFeatureCache, *, max_pixels: int
    ) -> None:
        self.max_pixels = max_pixels
        self._runner = runner
        self._features = features
        self._ahead: dict[str, tuple[torch.Tensor, int]] = {}
        """What was encoded for requests that have no slot yet, and the pixels of it."""

    def of(
        self, prompts: Sequence[EncodedPrompt], upcoming: Sequence[EncodedPrompt] = ()
    ) -> list[torch.Tensor | None]:
        """The features of each prompt's images; None for a prompt without an image.

        Args:
            upcoming: prompts whose images may share the last pass.
        """
        asked = {prompt.image_digest: prompt for prompt in prompts if prompt.image_digest}
        found = {digest: self._known(digest) for digest in asked}
        missing = {digest: asked[digest] for digest, kept in found.items() if kept is None}
        passes = list(self._passes(list(missing.values())))
        if passes:
            passes[-1] += self._that_fit(passes[-1], upcoming, besides=found.keys())
        for each in passes:
            for prompt, features in zip(each, self._encode(each), strict=True):
                self._features.put(prompt.image_digest, features)
                if prompt.image_digest in missing:
                    found[prompt.image_digest] = features
                else:
                    self._ahead[prompt.image_digest] = features, self._runner.pixels(prompt)
        return [found.get(prompt.image_digest) for prompt in prompts]

    def clear(self) -> None:
        """Drop all features."""
        self._ahead.clear()
        self._features.clear()

    def _known(self, digest: str) -> torch.Tensor | None:
        ahead, _ = self._ahead.pop(digest, (None, 0))
        return self._features.get(digest) if ahead is None else ahead

    def _passes(self, prompts: Sequence[EncodedPrompt]) -> Iterator[list[EncodedPrompt]]:
        """The prompts in passes within the budget, or of one prompt."""
        current: list[EncodedPrompt] = []
        pixels = 0
        for prompt in prompts:
            own = self._runner.pixels(prompt)
            if current and pixels + own > self.max_pixels:
                yield current
                current, pixels = [], 0
            current.append(prompt)
            pixels += own
        if current:
            yield current

    def _that_fit(
        self,
        current: Sequence[EncodedPrompt],
        upcoming: Sequence[EncodedPrompt],
        *,
        besides: Collection[str],
    ) -> list[EncodedPrompt]:
        """Those of the upcoming prompts whose images still fit into a pass. What waits for its
        prefill is bounded by the budget as well."""
        left = self.max_pixels - sum(map(self._runner.pixels, current))
        left = min(left, self.max_pixels - sum(pixels for _, pixels in self._ahead.values()))
        chosen: dict[str, EncodedPrompt] = {}
        for prompt in upcoming:
            digest = prompt.image_digest
            known = digest in besides or digest in chosen or digest in self._ahead
            if not digest or known or digest in self._features:
                continue
            left -= self._runner.pixels(prompt)
            if left < 0:
                break
            chosen[digest] = prompt
        return list(chosen.values())

    def _encode(self, prompts: Sequence[EncodedPrompt]) -> list[torch.Tensor]:
        """One pass; several where memory runs out, and from then on none that is larger."""
        features, error = attempt(lambda: self._runner.encode_images(prompts))
        if error is None:
            return features
        if len(prompts) == 1 or not is_out_of_memory(error):
            raise error
        release(self._runner.device)
        pixels = sum(map(self._runner.pixels, prompts))
        self.max_pixels = max(1, min(self.max_pixels, pixels) // 2)
        return [features for each in self._passes(prompts) for features in self._encode(each)]
