"""Chat templates of checkpoints that come without one, and what makes any template repeatable."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any

_TODAY = "strftime_now"
_DATE = date(2024, 7, 26)
"""What Llama 3.2's template falls back to; for templates that have no date of their own."""

_PARTS = (
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<image>\n{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}"
)


def _turns(system: str, opening: str, closing: str, answer: str) -> str:
    """A template of the usual kind; `opening` and `closing` surround a turn, `answer` opens the
    model's."""
    return (
        f"{system}{{% for message in messages %}}{opening}{_PARTS}{closing}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{answer}{{% endif %}}"
    )


LLAVA_NEXT: Mapping[str, str] = MappingProxyType(
    {
        "vicuna": _turns("", "{{ message.role | upper }}: ", " ", "ASSISTANT:"),
        "llama-3": _turns(
            "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
            "You are a helpful language and vision assistant. You are able to understand the "
            "visual content that the user provides, and assist the user with a variety of tasks "
            "using natural language.<|eot_id|>",
            "<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n",
            "<|eot_id|>",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        "qwen2": _turns(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
            "<|im_start|>{{ message.role }}\n",
            "<|im_end|>{{ '\n' }}",
            "<|im_start|>assistant\n",
        ),
        "yi": _turns(
            "<|im_start|>system\nAnswer the questions.<|im_end|>",
            "<|im_start|>{{ message.role }}\n",
            "<|im_end|>",
            "<|im_start|>assistant\n",
        ),
    }
)
"""LLaVA-NeXT by its language model, as published for it; Mistral's is the catalogue's."""


def language_of(text_config: Mapping[str, Any], vocabulary: Collection[str]) -> str | None:
    """Which language model LLaVA-NeXT was made from: "mistral", or a key of LLAVA_NEXT; None where
    it is another one.

    Vicuna, Llama 3 and Yi are all of the type "llama". They differ in the tokens that end their
    turns, else in the size of their vocabularies.
    """
    kind = text_config.get("model_type", "llama")  # the library's default
    if kind != "llama":
        return kind if kind in {"mistral", "qwen2"} else None
    size = text_config.get("vocab_size")
    size = size if isinstance(size, int) else 0
    if "<|start_header_id|>" in vocabulary or size >= 128_000:
        return "llama-3"
    if "<|im_start|>" in vocabulary or size >= 64_000:
        return "yi"
    return "vicuna" if "</s>" in vocabulary else None


def undated(template: str) -> Iterator[str]:
    """The template without today's date, which would make every day's prompts others: at first
    with its own default date, then with a date that never changes, for one that has no default.

    `strftime_now` is the library's function for templates. It is a name like any other in Jinja, so
    a statement in front of the template can take it away or give it another meaning.
    """
    if _TODAY not in template:
        yield template
        return
    yield f"{{% set {_TODAY} = no_such_name %}}\n{template}"
    formats = re.findall(_TODAY + r"\(\s*(['\"])(.*?)\1", template)
    dates = {form: _DATE.strftime(form) for _, form in formats}
    default = _DATE.strftime("%d %b %Y")
    yield (
        f"{{% macro {_TODAY}(form) %}}"
        f"{{{{ {json.dumps(dates)}.get(form, {json.dumps(default)}) }}}}"
        f"{{% endmacro %}}\n{template}"
    )
