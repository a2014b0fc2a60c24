"""How a tiny checkpoint of a family is written: the files that its published folders have, with a
tokenizer made on the spot, and random weights that give different answers."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedConfig, PreTrainedTokenizerFast, processing_utils
from transformers.models.smolvlm import processing_smolvlm

from harness.families.tiny.tokenizer import train_tokenizer

CHAT = (
    "{% for message in messages %}{{ message.role | upper }}: "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}\n{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""A chat template; IMAGE stands for what a family writes in a picture's place."""
_ENDS = 14
"""Every so many-th word of the vocabulary ends an answer, so that rows end at different steps."""


class Video(transformers.ImageProcessingMixin):
    """In the place of a video processor, which needs torchvision."""

    num_frames = fps = None


@contextmanager
def without_video() -> Iterator[None]:
    """Let processors be made and loaded with a `Video`: pictures need no other."""
    kinds = processing_utils.MODALITY_TO_BASE_CLASS_MAPPING
    # Where torchvision is not installed, `import ... from` gives something else in its place.
    video_processing_auto = importlib.import_module(
        "transformers.models.auto.video_processing_auto"
    )
    auto, kind = video_processing_auto.AutoVideoProcessor, kinds["video_processor"]
    words = processing_smolvlm.num2words
    video_processing_auto.AutoVideoProcessor = SimpleNamespace(
        from_pretrained=lambda *_, **__: Video()
    )
    kinds["video_processor"] = "ImageProcessingMixin"
    processing_smolvlm.num2words = words or str
    _import_pixtral()
    try:
        yield
    finally:
        video_processing_auto.AutoVideoProcessor = auto
        kinds["video_processor"] = kind
        processing_smolvlm.num2words = words


def _import_pixtral() -> None:
    """Its processor imports torchvision for a function that the PIL half has too."""
    package = importlib.import_module("transformers.models.pixtral")
    half = "transformers.models.pixtral.image_processing_pixtral"
    if hasattr(type(package.PixtralProcessor), "is_dummy"):
        pil = half.replace("processing_pixtral", "processing_pil_pixtral")
        sys.modules[half] = importlib.import_module(pil)
        made = importlib.import_module("transformers.models.pixtral.processing_pixtral")
        del sys.modules[half]
        package.PixtralProcessor = made.PixtralProcessor


class Words:
    """The tokenizer of a checkpoint, and what a configuration takes from it."""

    def __init__(
        self, tokens: Mapping[str, str], more: tuple[str, ...], *, bos: bool, sep: bool = False
    ) -> None:
        special = ["<unk>", "<s>", "</s>", "<pad>", *dict.fromkeys([*tokens.values(), *more])]
        self.tokenizer: PreTrainedTokenizerFast = train_tokenizer(
            special_tokens=special,
            vocab_size=400 + len(special),
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            unk_token="<unk>",
            add_bos=bos,
        )
        if sep:  # as BERT's
            self.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
                single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
            )
            self.tokenizer.cls_token, self.tokenizer.sep_token = "<s>", "</s>"
        self.tokenizer._set_model_specific_special_tokens(dict(tokens))
        self.special = len(special)

    def __getitem__(self, token: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(token))

    @property
    def ends(self) -> list[int]:
        """Ids that end an answer: the end token and words."""
        return [2, *range(self.special + 5, len(self.tokenizer), _ENDS)]

    @property
    def ids(self) -> dict[str, Any]:
        return {
            "vocab_size": len(self.tokenizer),
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 3,
        }

    def text(self, model_type: str | None = None, **more: Any) -> dict[str, Any]:
        """The configuration of a small language model."""
        kind = {"model_type": model_type} if model_type else {}
        return {
            **kind,
            **self.ids,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            **more,
        }


def vision(model_type: str | None = None, **more: Any) -> dict[str, Any]:
    """The configuration of a small vision encoder."""
    kind = {"model_type": model_type} if model_type else {}
    return {
        **kind,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        **more,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row: an architecture as its checkpoints are published."""

    architecture: str
    """The class of transformers."""
    config: Callable[[Words], PreTrainedConfig]
    processor: Callable[[Words], Any]
    tokens: Mapping[str, str] = field(default_factory=lambda: {"image_token": "<image>"})
    """Attributes of the tokenizer, and the tokens that they name."""
    more_tokens: tuple[str, ...] = ()
    bos: bool = False
    sep: bool = False
    """Its tokenizer ends a text with [SEP], which the library's `generate` cuts off."""
    image: str | None = "<image>"
    """What the chat template writes in a picture's place; None: it has no chat template."""
    plain: Callable[[str, bool], str] = lambda text, _pictured: text
    """Without a chat template, the documented prompt of a question with or without a picture."""
    video: str = ""
    """The class of its video processor."""
    nested: bool = False
    """All parts of the processor are in processor_config.json."""
    needs_picture: bool = False
    pictures: int = 12
    """How many questions with pictures are asked; fewer where each takes seconds."""
    flat_pictures: bool = False
    """Its processor takes a list of pictures, not a list for each prompt."""
    interleaved: bool = False
    """Its processor takes pictures among the texts."""
    image_processor: str = ""
    """image_processor_type as published; empty: the class's own name."""
    std: Mapping[str, float] = field(default_factory=dict)
    """Part of a matrix's name -> its standard deviation, where that is not 0.3."""
    packages: tuple[str, ...] = ()
    """What it needs and the plain install has not."""
    adjust: Callable[[Any], None] = lambda _model: None
    """What the random weights need besides."""
    repair: Callable[[Any, Any], None] = lambda _processor, _model: None
    """What is wrong in transformers, put right for the loop."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What its processor is called with besides."""

    def stds(self, name: str) -> float:
        """The standard deviation of a matrix."""
        return next((value for part, value in self.std.items() if part in name), 0.3)

    @property
    def template(self) -> str | None:
        return CHAT.replace("IMAGE", self.image) if self.image is not None else None


def build(family: Family, folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint with random weights."""
    words = Words(family.tokens, family.more_tokens, bos=family.bos, sep=family.sep)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architecture = getattr(transformers, family.architecture)
        model = architecture._from_config(family.config(words), dtype=torch.float32)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=family.stds(name))
            elif "gate" in name or "alpha" in name:
                torch.nn.init.ones_(parameter)
        family.adjust(model)
    model.generation_config.eos_token_id = words.ends
    model.generation_config.pad_token_id = 3
    model.save_pretrained(folder)
    with without_video():
        _save_processor(family, family.processor(words), folder)
    return folder


def _save_processor(family: Family, processor: Any, folder: Path) -> None:
    """Each part in a file of its own, as published folders have them."""
    name = type(processor).__name__
    own = processor.to_dict()
    if family.video:
        own["video_processor"] = {"video_processor_type": family.video}
    if family.nested:
        _write(folder / "processor_config.json", own)
    else:
        image = own.pop("image_processor")
        if family.image_processor:
            image["image_processor_type"] = family.image_processor
        _write(folder / "preprocessor_config.json", {**image, "processor_class": name})
        if video := own.pop("video_processor", None):
            _write(folder / "video_preprocessor_config.json", {**video, "processor_class": name})
        _write(folder / "processor_config.json", own)
    processor.tokenizer.save_pretrained(folder)
    if other := getattr(processor, "qformer_tokenizer", None):
        other.save_pretrained(folder / "qformer_tokenizer")
    if template := family.template:
        (folder / "chat_template.jinja").write_text(template)


def _write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, default=str))
