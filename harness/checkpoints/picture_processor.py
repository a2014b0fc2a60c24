"""A checkpoint's processor for texts and pictures, without the part for videos.

transformers' video processors need torchvision, and its processors of many families need a video
processor, even for a picture. Pictures never pass through it: here a part with the same settings,
which processes nothing, is in its place. Pictures are processed by PIL, so that pixels are the same
on every machine.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import AutoProcessor, ImageProcessingMixin, processing_utils
from transformers.models.auto.video_processing_auto import get_video_processor_config
from transformers.models.smolvlm import processing_smolvlm

from harness.checkpoints import pretrained

_AUTO: Any = importlib.import_module("transformers.models.auto.video_processing_auto")
"""The module itself: `import ... from` gives something else where torchvision is not installed."""
_KINDS: Any = processing_utils.MODALITY_TO_BASE_CLASS_MAPPING


class NoVideo(ImageProcessingMixin):
    """The settings of a video processor, in its place."""

    num_frames = fps = None  # SmolVLM reads them for every prompt


def load_processor(folder: Path, **arguments: Any) -> Any:
    """The processor of a folder. It takes no videos.

    Args:
        arguments: as AutoProcessor takes them.

    Raises:
        HarnessError: as `pretrained.load`.
    """
    _repair_pixtral()
    with _without_video():
        return pretrained.load(AutoProcessor, folder, **arguments)


@contextmanager
def _without_video() -> Iterator[None]:
    auto, kind = _AUTO.AutoVideoProcessor, _KINDS["video_processor"]
    _AUTO.AutoVideoProcessor = SimpleNamespace(from_pretrained=_no_video)
    # The class itself cannot be looked up where torchvision is not installed.
    _KINDS["video_processor"] = "ImageProcessingMixin"
    smolvlm: Any = processing_smolvlm
    # It spells the number of a video's frames.
    smolvlm.num2words = smolvlm.num2words or str
    try:
        yield
    finally:
        _AUTO.AutoVideoProcessor = auto
        _KINDS["video_processor"] = kind


def _no_video(folder: Path, **_: Any) -> Any:
    made: Any = NoVideo
    return made(**get_video_processor_config(folder, local_files_only=True))


def _repair_pixtral() -> None:
    """Let the processor of Pixtral and Mistral 3 be imported without torchvision.

    It takes one function from the torchvision half of its image processor; the PIL half has the
    same one.
    """
    package: Any = importlib.import_module("transformers.models.pixtral")
    if not hasattr(type(package.PixtralProcessor), "is_dummy"):
        return
    pil = importlib.import_module(f"{package.__name__}.image_processing_pil_pixtral")
    name = f"{package.__name__}.image_processing_pixtral"
    sys.modules[name] = pil
    try:
        processing = importlib.import_module(f"{package.__name__}.processing_pixtral")
    finally:
        del sys.modules[name]
    package.PixtralProcessor = processing.PixtralProcessor
