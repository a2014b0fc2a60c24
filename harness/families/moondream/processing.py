"""From images and text to Moondream's inputs, to the bit as published."""

# The base classes, transformers', are typed in part only.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from transformers import AutoConfig, AutoTokenizer, BatchFeature, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

from harness.checkpoints import pretrained

IMAGE = "<image>"
_HUB_ARGUMENTS = (
    "cache_dir",
    "force_download",
    "local_files_only",
    "revision",
    "subfolder",
    "token",
)


class MoondreamImageProcessor(BaseImageProcessor):
    """The whole image at s x s pixels and, for larger images, tiles of s x s at up to twice that.

    Any mode is converted with Pillow's `convert("RGB")`, as published: an alpha channel, or a
    palette's transparent entry, is dropped, and the colour that is stored beneath it shows.
    """

    model_input_names = ["pixel_values", "image_grids"]  # noqa: RUF012  # transformers' own form

    def __init__(self, image_size: int = 378, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size

    def preprocess(
        self,
        images: Image.Image | Sequence[Image.Image],
        *,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """`pixel_values`, (N, V, 3, s, s) of float32: of each image the whole, then its tiles row
        by row, then zeros up to V views. `image_grids`, (N, 2): rows and columns of tiles."""
        pictures: list[Any] = [images] if isinstance(images, Image.Image) else list(images)
        grids = [crop_grid(*each.size, image_size=self.image_size) for each in pictures]
        views = [self._views(each, grid) for each, grid in zip(pictures, grids, strict=True)]
        pixel_values = torch.nn.utils.rnn.pad_sequence(views, batch_first=True)
        return BatchFeature(
            {"pixel_values": pixel_values, "image_grids": torch.tensor(grids)},
            tensor_type=return_tensors,
        )

    def _views(self, image: Image.Image, grid: tuple[int, int]) -> torch.Tensor:
        rows, columns = grid
        side = self.image_size
        resized = image.convert("RGB").resize(
            (columns * side, rows * side), Image.Resampling.BICUBIC
        )
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)  # (3, rows * s, columns * s)
        # Multiplied by the float32 next to 1/255, as torchvision does; dividing rounds differently.
        pixels = pixels.float().mul_(1 / 255).sub_(0.5).div_(0.5)
        whole = F.interpolate(pixels.unsqueeze(0), size=(side, side), mode="bilinear")
        if grid == (1, 1):
            return whole
        tiles = pixels.reshape(3, rows, side, columns, side).permute(1, 3, 0, 2, 4)
        tiles = tiles.reshape(-1, 3, side, side)  # (rows * columns, 3, s, s)
        return torch.cat([whole, tiles])


def crop_grid(width: int, height: int, *, image_size: int = 378) -> tuple[int, int]:
    """Rows and columns of tiles for an image of this size in pixels: 1 or 2 of each.

    Images with both sides below 512 pixels (for the published 378) are not tiled. For the others
    the nearest aspect ratio wins, and among equals (a square, or 3 : 2) the nearest size. There
    the published code compares heights with widths, which is kept.
    """
    if max(width, height) * 378 < 512 * image_size:
        return 1, 1

    def distance(grid: tuple[int, int]) -> tuple[float, int]:
        rows, columns = grid
        aspect = abs(columns / rows - width / height)
        return aspect, abs(rows * image_size - width) + abs(columns * image_size - height)

    return min(((1, 1), (1, 2), (2, 1), (2, 2)), key=distance)


class MoondreamProcessor(ProcessorMixin):
    """An image processor and the tokenizer, and how their outputs join.

    A sequence is the BOS token, then the text with every `<image>` replaced by
    `image_seq_length` times `image_token_id`; the pieces between are tokenized one by one and
    without special tokens, as published. There is no way to write a literal `<image>`: who puts
    other people's text into a prompt must break that string up before.
    """

    def __init__(
        self,
        image_processor: MoondreamImageProcessor,
        tokenizer: Any,
        image_token_id: int = 51199,
        image_seq_length: int = 729,
    ) -> None:
        super().__init__(image_processor, tokenizer)
        if tokenizer.bos_token is None:
            raise ValueError("Moondream's tokenizer needs a bos_token: every prompt begins with it")
        self.image_token_id = image_token_id
        self.image_seq_length = image_seq_length
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.bos_token  # as published

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the rest is in kwargs
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> Any:
        """From a folder that `save_pretrained` wrote, or from one in the published layout, which
        has no file on preprocessing: its config.json tells the geometry. No code in it is run."""
        hub = {"local_files_only": False}
        hub |= {name: kwargs.pop(name) for name in _HUB_ARGUMENTS if name in kwargs}
        for name in ("trust_remote_code", "_from_auto"):  # what AutoProcessor adds
            kwargs.pop(name, None)
        settings, _ = cls.get_processor_dict(pretrained_model_name_or_path, **hub)
        if "image_processor" not in settings:
            config = pretrained.load(AutoConfig, pretrained_model_name_or_path, **hub)
            settings = {
                "image_processor": {"image_size": config.vision_config.image_size},
                "image_token_id": config.image_token_id,
                "image_seq_length": config.image_seq_length,
            }
        return cls(
            MoondreamImageProcessor(settings["image_processor"]["image_size"]),
            pretrained.load(AutoTokenizer, pretrained_model_name_or_path, **hub),
            **{name: settings[name] for name in ("image_token_id", "image_seq_length")} | kwargs,
        )

    def __call__(
        self,
        images: Image.Image | Sequence[Any] | None = None,
        text: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        padding_side: str | None = None,
        pad_to_multiple_of: int | None = None,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """The model's inputs: `input_ids` and `attention_mask`, (B, L), where there is text, and
        `pixel_values` and `image_grids`, see MoondreamImageProcessor, where there are images.

        Args:
            images: one, or a list in the order of the `<image>`s of all texts, or for each text a
                list, one or None.
            text: one prompt or several; some may have no `<image>`.
            add_special_tokens: put the BOS token first. False for text that begins with it.
            padding: True or "longest", or "max_length"; on the left unless `padding_side` or the
                tokenizer says otherwise.
            truncation: cut text at the end to `max_length` tokens.
            return_tensors: "pt" or "np"; None leaves `input_ids` as lists.

        Raises:
            ValueError: not as many images as `<image>`s, or `max_length` would cut an image.
            TypeError: an image is not Pillow's.
        """
        if images is None and text is None:
            raise ValueError("give images, text or both")
        data: dict[str, Any] = {}
        texts = [text] if isinstance(text, str) else None if text is None else list(text)
        pictures = _matched(images, texts)
        if texts is not None:
            rows = [self._encode(each, bos=add_special_tokens) for each in texts]
            if truncation and max_length is not None:
                rows = [self._cut(row, max_length) for row in rows]
            data |= self.tokenizer.pad(
                {"input_ids": rows},
                padding=padding,
                padding_side=padding_side,
                max_length=max_length,
                pad_to_multiple_of=pad_to_multiple_of,
                return_attention_mask=True,
                return_tensors=return_tensors,
                verbose=False,
            )
        if pictures:
            data |= self.image_processor.preprocess(pictures, return_tensors=return_tensors)
        return BatchFeature(data)

    def _encode(self, text: str, *, bos: bool) -> list[int]:
        ids = [self.tokenizer.bos_token_id] if bos else []
        for number, piece in enumerate(text.split(IMAGE)):
            if number:
                ids += [self.image_token_id] * self.image_seq_length
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        return ids

    def _cut(self, ids: list[int], length: int) -> list[int]:
        if self.image_token_id in ids[length:]:
            raise ValueError(f"max_length={length} would cut an image's tokens")
        return ids[:length]


def _matched(images: Any, texts: list[str] | None) -> list[Image.Image]:
    """The images in one list, once their number is seen to fit the texts."""
    given: list[Any] = []
    if images is not None:
        given = [images] if isinstance(images, Image.Image) else [*images]
    per_text = any(each is None or isinstance(each, (list, tuple)) for each in given)
    groups = [_group(each) for each in given] if per_text else [given]
    flat = [image for group in groups for image in group]
    for image in flat:
        if not isinstance(image, Image.Image):
            raise TypeError(f"an image must be a PIL image, not {type(image).__name__}")
    if texts is None:
        return flat
    wanted = [text.count(IMAGE) for text in texts]
    found = [len(group) for group in groups]
    if found != (wanted if per_text else [sum(wanted)]):
        raise ValueError(f"{wanted} {IMAGE} in the texts, but {found} images")
    return flat


def _group(images: Any) -> list[Any]:
    """One text's images: None, one, or several."""
    if images is None:
        return []
    return list(images) if isinstance(images, (list, tuple)) else [images]
