"""How much goes into one pass: prompt tokens of a prefill, pixels of a vision pass.

A pass takes memory in proportion to what goes into it, and beyond a certain size gains nothing.
What passes take is set aside before slots are counted; where memory is short, they are smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_PREFILL_TOKENS = 8192
"""Prompt tokens of one pass, padding included: more would need memory and gain nothing."""
MAX_VISION_PIXELS = 1 << 22
"""Pixels of one vision pass, over all tiles: 37 tiles of 336 x 336, 13 of 560 x 560."""
PASS_FRACTION = 1 / 4
"""The fraction of the free memory that passes may take where slots need the rest."""


@dataclass(frozen=True, slots=True)
class PassBudget:
    """The most that goes into one pass; a single prompt, or its pictures, may be more."""

    tokens: int = MAX_PREFILL_TOKENS
    """Of a prefill, padding included."""
    pixels: int = MAX_VISION_PIXELS
    """Of the vision encoder, the tiles of all pictures together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassMemory:
    """What passes take, as measured on one prompt."""

    tokens: int
    """Of the prompt, those of its pictures included."""
    prefill_bytes: int
    """What its prefill took for the time of the pass."""
    pixels: int = 0
    """Of its pictures, over all tiles; 0: it has none."""
    vision_bytes: int = 0
    """What encoding them took for the time of the pass."""

    def of(self, budget: PassBudget) -> int:
        """What the larger of both passes takes when it is full. A prompt that is larger than the
        budget is a pass of its own."""
        tokens, pixels = max(budget.tokens, self.tokens), max(budget.pixels, self.pixels)
        prefill = self.prefill_bytes * tokens // max(self.tokens, 1)
        return max(prefill, self.vision_bytes * pixels // self.pixels if self.pixels else 0)


def plan_slots(
    free: int, *, bytes_per_slot: int, passes: PassMemory, kept: int, limit: int
) -> tuple[int, PassBudget]:
    """How many slots to have, and how much to put into a pass.

    Args:
        free: bytes that slots, passes and what is kept may take together.
        kept: bytes of image features that are kept between requests.
        limit: slots beyond which a request does not get cheaper.
    """
    budget = _smaller(PassBudget(), passes, most=int(free * PASS_FRACTION))
    left = free - kept - passes.of(budget)
    return max(1, min(limit, left // max(bytes_per_slot, 1))), budget


def _smaller(budget: PassBudget, memory: PassMemory, *, most: int) -> PassBudget:
    """The budget, made smaller until a pass takes no more than so many bytes, or holds no more than
    the measured prompt."""
    tokens, pixels = budget.tokens, budget.pixels
    if memory.prefill_bytes > 0:
        fit = most * memory.tokens // memory.prefill_bytes
        tokens = min(tokens, max(fit, memory.tokens))
    if memory.vision_bytes > 0 and memory.pixels:
        fit = most * memory.pixels // memory.vision_bytes
        pixels = min(pixels, max(fit, memory.pixels))
    return PassBudget(tokens, pixels)
