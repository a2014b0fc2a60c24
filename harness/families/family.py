"""What differs between model families, in one description each. Readable without torch.

A description holds plain values, and functions that import what is heavy when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.checkpoints.checkpoint import Checkpoint
from harness.core.types import Model, Prompt
from harness.families.engine_traits import CrossAttention, ImageTokens
from harness.families.training_traits import TrainingTraits

Turn = Callable[[int, str], str]
"""(number of images before the text, the user's text) -> the prompt."""
Template = tuple[str, str | None]
"""A Jinja template, and the rule that chose it; None: it is the family's only one."""
Builder = Callable[..., None]
"""(folder, seed=, size=, corpus=): writes a random checkpoint in the published layout."""

_PIL: Mapping[str, Any] = MappingProxyType({"backend": "pil"})
"""The library's processors have a torchvision backend too, with slightly different pixels."""


def _nothing(_: object = None) -> Mapping[str, Any]:
    return MappingProxyType({})


def encode_nested(
    processor: Any, text: str, images: Sequence[Any], **arguments: Any
) -> Mapping[str, Any]:
    """Most processors take a list of images for each text."""
    inputs: Mapping[str, Any] = processor(
        images=[list(images)] if images else None,
        text=[text],
        padding=True,
        return_tensors="pt",
        **arguments,
    )
    return inputs


def encode_flat(
    processor: Any, text: str, images: Sequence[Any], **arguments: Any
) -> Mapping[str, Any]:
    """Some take the images of all texts in one list."""
    inputs: Mapping[str, Any] = processor(
        images=list(images) or None, text=[text], padding=True, return_tensors="pt", **arguments
    )
    return inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModel:
    """A family that is run neither by the decoding engine nor by transformers' `generate`."""

    load_weights: Callable[..., Any]
    """(folder, arguments of the library) -> (network, what was loaded)."""
    assemble: Callable[[Any, Any, str], Model]
    """(network, processor, device) -> what answers."""
    prompt_text: Callable[[Path, Any], Callable[[Prompt], str]]
    """(folder, processor) -> what makes the text of a prompt; weights are not read."""
    no_template: str
    """Why it takes no chat template, for the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """How the checkpoints of one architecture are prompted, loaded and run."""

    name: str
    """What records call it."""
    title: str
    """What messages call it."""

    turn: Turn | None = None
    """The documented prompt; None: the family was trained with chat templates."""
    placeholder: Callable[[int], str] | None = None
    """What stands for the picture of this number, from 1, within the text of `turn`. None: the
    family takes its pictures where `turn` has them, and nowhere else."""
    template_first: bool = True
    """A chat template in the folder goes before `turn`."""
    template: Callable[[Mapping[str, Any], Collection[str]], Template | None] | None = None
    """(config.json, the tokenizer's vocabulary) -> the template of folders that lack theirs; None:
    none is known."""
    paper_wording: bool = False
    """Its prompt is that of the paper's code, where the style adds no instruction."""
    max_images: int | None = None
    """Pictures that a question may have; None: any number."""
    needs_image: bool = False
    """A question without a picture cannot be put."""

    processor_arguments: Mapping[str, Any] = field(default_factory=lambda: _PIL)
    """What AutoProcessor is called with."""
    register: Callable[[], None] | None = None
    """Make the project's own classes known to transformers; any number of calls is one."""
    check_folder: Callable[[Path], None] | None = None
    """Refuse a folder that cannot be run, before anything is loaded; raises HarnessError."""
    encode: Callable[..., Mapping[str, Any]] = encode_nested
    """(processor, text, images, more arguments of the processor) -> the inputs of one prompt."""
    complete_processor: Callable[[Any, Mapping[str, Any]], None] | None = None
    """(processor, config.json): fill in what older folders leave empty."""
    repair: Callable[[Any, Any, Checkpoint], None] | None = None
    """(network, processor, checkpoint): put the library's classes right, on these instances.
    Applied to a network in memory more than once, it does nothing more."""
    conventions: Callable[[Checkpoint], Mapping[str, str | None]] = _nothing
    """What answers depend on apart from the checkpoint's files; None: as in runs without that
    field."""
    describe: Callable[[Any], Mapping[str, Any]] = _nothing
    """What else a record says of the loaded network."""

    counts_padding: bool = False
    """The library gives the tokens of a prompt other positions where it is padded: prompts share a
    batch only if they are of one length."""
    engine: ImageTokens | CrossAttention | None = None
    """None: transformers' `generate` runs it."""
    own_model: OwnModel | None = None

    cell_tokens: Callable[[Any, Mapping[str, Any]], Any] | None = None
    """(network, pixels) -> the image tokens of each cell of a mini's picture, (N, views, cells, D),
    row by row; None: the family has no minis whose vision encoder is aligned by it."""
    training: TrainingTraits | None = None
    """None: `harness distill` cannot train it as a student."""
    untrainable: str = (
        "which of its modules see pictures and which write text is not known for this type"
    )
    """Why it cannot, for the error."""
    builders: Mapping[str, Builder] = field(default_factory=_nothing)
    """Name -> what writes such a checkpoint with random weights, for tests and trials."""

    @property
    def shares_prompt_cache(self) -> bool:
        """Whether several answers can follow one prompt's KV cache in `generate`: all of the state
        is in it, a row for each prompt."""
        if isinstance(self.engine, ImageTokens):
            return self.engine.positions is None  # the library keeps these in the network
        return self.engine is not None

    @property
    def pads_pixels(self) -> bool:
        """Whether prompts whose pixels have several shapes can be padded to one batch."""
        return isinstance(self.engine, CrossAttention) or (
            self.engine is not None and self.engine.pads
        )
