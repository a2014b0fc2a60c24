"""Phi-3.5-vision's preprocessing: pictures into crops, `<|image_N|>` into their slots.

A picture is turned so that it lies wide, scaled to as many crops as are allowed, filled up with
white, and cut; the global view is made from the filled picture. An alpha channel is dropped, as
`PIL.Image.convert("RGB")` drops it: hidden colours show.
"""

# torch and transformers are typed in part only.
# mypy: disable-error-code="no-untyped-call, no-any-return"

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    BatchFeature,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)
from transformers.image_processing_utils import BaseImageProcessor
from transformers.processing_utils import ImagesKwargs
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from harness.checkpoints import pretrained
from harness.families.phi3v.configuration import IMAGE_TOKEN_ID, Phi3VConfig, count_tokens

_TAG = re.compile(r"<\|image_(\d+)\|>")
_PLACEHOLDER = "<|image|>"
# The published wording, for contents in one string; a list of parts has its images numbered.
_CHAT_TEMPLATE = (
    "{% set seen = namespace(images=0) %}"
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "{% set seen.images = seen.images + 1 %}{{ '<|image_' + seen.images|string + '|>\n' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}"
    "{{ '<|assistant|>\n' }}{% endif %}"
)


class Phi3VImagesKwargs(ImagesKwargs, total=False):
    """The settings that `from_pretrained` takes by name."""

    num_crops: int
    image_size: int
    patch_size: int


class Phi3VImageProcessor(BaseImageProcessor):
    """Pictures as crops.

    Args:
        num_crops: the most crops of one picture; the model card says 4 for several pictures and 16
            for one.
        image_size: the side of a crop, in pixels.
        patch_size: the side of CLIP's patches, in pixels.
    """

    model_input_names = ["pixel_values", "image_sizes"]  # noqa: RUF012  # as the library has it
    valid_kwargs = Phi3VImagesKwargs

    def __init__(
        self,
        num_crops: int = 4,
        image_mean: Sequence[float] = OPENAI_CLIP_MEAN,
        image_std: Sequence[float] = OPENAI_CLIP_STD,
        *,
        image_size: int = 336,
        patch_size: int = 14,
        **kwargs: Any,
    ) -> None:
        for published in ("auto_map", "num_img_tokens"):  # names of code; follows from the sizes
            kwargs.pop(published, None)
        super().__init__(**kwargs)
        self.num_crops = num_crops
        self.image_mean = list(image_mean)
        self.image_std = list(image_std)
        self.image_size = image_size
        self.patch_size = patch_size

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The preprocessor's file, with the geometry of the model in the same folder."""
        fields, rest = super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)
        config = _config_beside(pretrained_model_name_or_path, kwargs)
        if config is not None:
            fields = {**fields, "image_size": config.crop_size, "patch_size": config.patch_size}
        return fields, rest

    def preprocess(
        self,
        images: Any,
        num_crops: int | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Pictures as the model takes them.

        Args:
            images: one PIL picture or several.
            num_crops: None: the processor's own.

        Returns:
            pixel_values (N, num_crops + 1, 3, S, S), float32: the global view, then the crops row
            by row, then zeros; image_sizes (N, 2), height and width after filling up;
            num_img_tokens, the slots of each picture.

        Raises:
            ValueError: something is not a PIL picture, or `num_crops` is less than 1.
        """
        pictures = [images] if isinstance(images, Image.Image) else list(images)
        if not all(isinstance(picture, Image.Image) for picture in pictures):
            kinds = {type(picture).__name__ for picture in pictures}
            raise ValueError(f"pictures must be PIL images, not {', '.join(sorted(kinds))}")
        limit = self.num_crops if num_crops is None else num_crops
        if limit < 1:
            raise ValueError(f"num_crops = {limit}: at least 1 is needed")
        filled = [self._normalize(self._fit(picture, limit)) for picture in pictures]
        sizes = [list(picture.shape[1:]) for picture in filled]
        tokens = [
            count_tokens(height // self.image_size, width // self.image_size, self._half)
            for height, width in sizes
        ]
        return BatchFeature(
            data={
                "pixel_values": torch.stack([self._cut(picture, limit) for picture in filled]),
                "image_sizes": sizes,
                "num_img_tokens": tokens,
            },
            tensor_type=return_tensors,
        )

    @property
    def _half(self) -> int:
        return self.image_size // self.patch_size // 2

    def _fit(self, picture: Image.Image, limit: int) -> Image.Image:
        """The picture in RGB, its sides multiples of the crop's, with at most `limit` crops."""
        picture = picture.convert("RGB")
        upright = picture.width < picture.height
        if upright:
            picture = picture.transpose(Image.Transpose.TRANSPOSE)
        ratio = picture.width / picture.height
        columns = 1
        while (columns + 1) * ceil((columns + 1) / ratio) <= limit:
            columns += 1
        width = columns * self.image_size
        # A strip thinner than a pixel is kept at one; the original fails there.
        height = max(1, int(width / ratio))
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        filled_height = ceil(height / self.image_size) * self.image_size
        filled = Image.new("RGB", (width, filled_height), "white")
        filled.paste(picture, (0, (filled_height - height) // 2))
        return filled.transpose(Image.Transpose.TRANSPOSE) if upright else filled

    def _normalize(self, picture: Image.Image) -> Tensor:
        """(3, H, W), float32; the order of operations is that of the original, to the last bit."""
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255
        mean, std = torch.tensor(self.image_mean), torch.tensor(self.image_std)
        return (pixels - mean[:, None, None]) / std[:, None, None]

    def _cut(self, picture: Tensor, limit: int) -> Tensor:
        """The global view, the crops and zeros: (limit + 1, 3, S, S)."""
        side = self.image_size
        rows, columns = picture.shape[1] // side, picture.shape[2] // side
        overview = torch.nn.functional.interpolate(picture[None], size=(side, side), mode="bicubic")
        crops = picture.reshape(3, rows, side, columns, side).permute(1, 3, 0, 2, 4)
        crops = crops.reshape(rows * columns, 3, side, side)
        padding = picture.new_zeros(limit - len(crops), 3, side, side)
        return torch.cat([overview, crops, padding])


class Phi3VProcessor(ProcessorMixin):
    """Texts with `<|image_1|>`, `<|image_2|>` ... and their pictures, as the model takes them.

    Args:
        image_token_id: what stands in the slots; None: `<|image|>` of the tokenizer, or the
            published id where it has none.
        chat_template: None: the published one, which also takes contents in parts.
    """

    def __init__(
        self,
        image_processor: Phi3VImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        image_token_id: int | None = None,
        chat_template: str | None = None,
    ) -> None:
        if image_token_id is None:
            image_token_id = tokenizer.get_vocab().get(_PLACEHOLDER, IMAGE_TOKEN_ID)
        self.image_token_id = image_token_id
        super().__init__(image_processor, tokenizer, chat_template=chat_template or _CHAT_TEMPLATE)

    @classmethod
    def get_processor_dict(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The processor's file, with the image token of the model in the same folder."""
        fields, rest = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        config = _config_beside(pretrained_model_name_or_path, kwargs)
        if config is not None:
            fields = {**fields, "image_token_id": config.image_token_id}
        return fields, rest

    @classmethod
    def _load_tokenizer_from_pretrained(
        cls,
        sub_processor_type: str,  # noqa: ARG003  # there is one tokenizer
        pretrained_model_name_or_path: Any,
        subfolder: str = "",
        **kwargs: Any,
    ) -> Any:
        """tokenizer.json as it is.

        Rebuilt as a LlamaTokenizer it would lose the space token that follows special tokens.
        """
        other = {*Phi3VImagesKwargs.__annotations__, "trust_remote_code"}
        named = {k: v for k, v in kwargs.items() if k not in other}
        return pretrained.load(
            PreTrainedTokenizerFast, pretrained_model_name_or_path, subfolder=subfolder, **named
        )

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        *,
        num_crops: int | None = None,
        padding: bool | str = False,
        padding_side: str = "left",
        max_length: int | None = None,
        add_special_tokens: bool = True,
        return_tensors: str | None = None,
        videos: None = None,
        audio: None = None,
    ) -> BatchFeature:
        """One row per text.

        Args:
            images: the pictures of all texts, one after the other, or one list per text. Each
                text numbers its own from 1, and may name one twice.
            num_crops: the most crops of one picture; None: the image processor's own.
            padding, max_length: as in the tokenizer's `pad`.
            videos, audio: named by the library's `apply_chat_template`; there are none.

        Returns:
            input_ids and attention_mask (B, T); with pictures also pixel_values and image_sizes, in
            the order of their slots.

        Raises:
            ValueError: the tags of a text do not fit its pictures; a video or a sound was given.
        """
        if videos is not None or audio is not None:
            raise ValueError("Phi-3.5-vision takes pictures and text only")
        if text is None:
            return self.image_processor.preprocess(images, num_crops, return_tensors)
        texts = [text] if isinstance(text, str) else list(text)
        rows = _pictures_per_text(texts, images)
        pictures, slots = self._encode_images(
            [picture for row in rows for picture in row], num_crops
        )
        order: list[int] = []
        encoded = []
        first = 0
        for row_text, row in zip(texts, rows, strict=True):
            own = [first + number - 1 for number in _numbers(row_text)]
            encoded.append(self._encode(row_text, [slots[i] for i in own], add_special_tokens))
            order += own
            first += len(row)
        if order != list(range(first)):
            pictures = {
                "pixel_values": pictures["pixel_values"][order],
                "image_sizes": [pictures["image_sizes"][i] for i in order],
            }
        padded = self.tokenizer.pad(
            {"input_ids": encoded},
            padding=padding,
            max_length=max_length,
            padding_side=padding_side,
            return_attention_mask=True,
        )
        return BatchFeature(data={**padded, **pictures}, tensor_type=return_tensors)

    def _encode_images(
        self, images: Sequence[Image.Image], num_crops: int | None
    ) -> tuple[dict[str, Any], list[int]]:
        """Pixels and sizes of all pictures, and the image tokens of each."""
        if not images:
            return {}, []
        encoded = dict(self.image_processor.preprocess(images, num_crops))
        return encoded, encoded.pop("num_img_tokens")

    def _encode(self, text: str, slots: list[int], add_special_tokens: bool) -> list[int]:  # noqa: FBT001  # the library's own flag
        """The ids of one text.

        Each piece between tags is tokenized by itself, as in the original, so that each begins with
        the tokenizer's BOS.
        """
        pieces = _TAG.split(text)[::2]
        ids: list[int] = []
        for piece, count in zip(pieces, [*slots, 0], strict=True):
            # Only the processor makes slots: a placeholder in somebody's question is plain text.
            plain = piece.replace(_PLACEHOLDER, "<| image |>")
            ids += self.tokenizer(plain, add_special_tokens=add_special_tokens).input_ids
            ids += [self.image_token_id] * count
        return ids


def _numbers(text: str) -> list[int]:
    """The pictures that a text names, in its order."""
    return [int(number) for number in _TAG.findall(text)]


def _pictures_per_text(texts: Sequence[str], images: Any) -> list[list[Image.Image]]:
    """The pictures of each text, checked against its tags."""
    wanted = []
    for i, text in enumerate(texts):
        numbers = sorted(set(_numbers(text)))
        if numbers != list(range(1, len(numbers) + 1)):
            named = ", ".join(f"<|image_{n}|>" for n in numbers)
            raise ValueError(
                f"text {i} names {named}: pictures are numbered from <|image_1|> without a gap"
            )
        wanted.append(len(numbers))
    given = [] if images is None else [images] if isinstance(images, Image.Image) else list(images)
    if any(row is None or isinstance(row, list | tuple) for row in given):
        rows = [[row] if isinstance(row, Image.Image) else list(row or []) for row in given]
        if len(rows) != len(texts):
            raise ValueError(f"{len(rows)} lists of pictures for {len(texts)} texts")
        for i, (row, count) in enumerate(zip(rows, wanted, strict=True)):
            if len(row) != count:
                raise ValueError(f"text {i} names {count} pictures, {len(row)} are given for it")
        return rows
    if len(given) != sum(wanted):
        raise ValueError(f"the texts name {sum(wanted)} pictures, {len(given)} are given")
    ends = np.cumsum([0, *wanted]).tolist()
    return [given[start:end] for start, end in pairwise(ends)]


def _config_beside(path: Any, kwargs: dict[str, Any]) -> Phi3VConfig | None:
    """The model's configuration where the processor's files are; None: they lie there alone."""
    names = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
    found = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
    try:
        fields, _ = PreTrainedConfig.get_config_dict(path, **found)
    except OSError:
        return None
    is_ours = fields.get("model_type") == Phi3VConfig.model_type
    return Phi3VConfig.from_dict(fields) if is_ours else None
