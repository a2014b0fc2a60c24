"""Control tokens in text from data: the image placeholders, turns and ends of model families.

A question may spell such a token (`<image>`, `</s>`, `[INST]`). A tokenizer, a processor or a
server would take it for the template's own: an image too many, an answer that seems to have ended.
A space after its first character makes it plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_NAMES = (
    # Images, sounds, and the tokens around them.
    r"image|/image|img|/img|video|/video|audio|/audio|image_soft_token|image_placeholder|grounding"
    r"|(?:start|end)_of_(?:turn|image|text|utterance)|fake_token_around_image|global-img"
    r"|vision_(?:start|end)|row_\d+_col_\d+|img_context|im_(?:start|end|patch)|loc\d+|seg\d+"
    # KOSMOS-2's boxes.
    r"|/?(?:phrase|object|delimiter_of_multi_objects/)|patch_index_\d+"
    # Beginnings, ends and padding of texts.
    r"|s|/s|bos|eos|pad|unk|mask|cls|sep|eot|endoftext|unused\d+|reserved_\w{1,40}"
)
_SPELLED = (
    r"<[|\uff5c][^<>|\uff5c\s]{1,40}[|\uff5c]>",  # <|im_end|>, <|image_1|>
    rf"<(?:{_NAMES})>",
    r"<</?SYS>>",
    r"\[/?(?:INST|IMG|IMG_BREAK|IMG_END|SYSTEM_PROMPT|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]",
    r"\[(?:CLS|SEP|PAD|UNK|MASK)\]",
)
"""Spellings of a control token of some model family, in upper or lower case."""


def breaker(tokens: Iterable[str] = ()) -> Callable[[str], str]:
    """Make a function that puts a space into every spelling of a control token.

    Args:
        tokens: those of one tokenizer, in addition to those of all model families.
    """
    own = [re.escape(token) for token in sorted(set(tokens), key=len, reverse=True)]
    known = [f"(?i:{pattern})" for pattern in _SPELLED]
    # A lookahead finds overlapping tokens too.
    begins = re.compile(f"(?=(?:{'|'.join([*own, *known])}))(.)", re.DOTALL)

    def broken(text: str) -> str:
        return begins.sub(r"\1 ", text)

    return broken
