"""A server's model, with the harness's `Model` protocol.

A prompt becomes one user turn: its text, with the pictures at their marks or else before it. They
are sent as PNG, which loses nothing. The server puts its own chat template around it. Whatever in
the text is spelled like a control token of the families there are is broken up, because servers
take text for the template's own.

Stages end where a local model's do, after `Decoding.stop`: what a server writes beyond it is cut
off here, as servers differ in whether their own `stop` leaves it in the text.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from harness.core.control_tokens import breaker
from harness.core.errors import HarnessError, no_likelihood
from harness.core.image_marks import in_order, in_words
from harness.core.options import ServerOptions
from harness.core.prompts import user_text
from harness.core.timing import REMOTE
from harness.core.types import REFUSAL, STOP, Decoding, Output, Prompt
from harness.remote.client import TRIES, Client
from harness.remote.completions import Reply
from harness.remote.endpoint import Endpoint
from harness.remote.exchange import Unanswered

if TYPE_CHECKING:
    from PIL.Image import Image

neutral = breaker()
"""`text` with a space in whatever is spelled like a control token."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, ready to be sent."""

    text: str
    """With `<image 1>` and so on in the places of pictures."""
    content: tuple[Mapping[str, Any], ...]
    """The parts of the message: texts, and pictures as data URLs."""


def message_text(prompt: Prompt, endpoint: Endpoint) -> str:
    """The text of the message that asks a prompt, in words."""
    return in_words(_marked_text(prompt, endpoint), len(prompt.images))


def _marked_text(prompt: Prompt, endpoint: Endpoint) -> str:
    """The text of the message, with marks where pictures stand."""
    return neutral(user_text(prompt, endpoint.plain_styles))


def _part(part: str | Image) -> Mapping[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": data_url(part)}}


class RemoteModel:
    """One model on one server."""

    max_images: int | None = None

    def __init__(self, client: Client, endpoint: Endpoint, options: ServerOptions) -> None:
        self._client = client
        self._endpoint = endpoint
        self._options = options

    @property
    def description(self) -> Mapping[str, Any]:
        return {
            "class": "OpenAI-compatible server",
            "endpoint": self._endpoint.url,
            "served_model": self._endpoint.served,
            "listed": dict(self._client.listed) if self._client.listed else None,
            "parameters": None,
            "dtype": None,
            "device": REMOTE,
            "attention": None,
            "concurrency": self._options.concurrency,
            "timeout": self._options.timeout,
            "patience": self._options.patience,
            "tries": TRIES,
            "left_out": list(self._client.left_out),
        }

    def prepare(self, prompts: Sequence[Prompt]) -> list[Question]:
        """Raises HarnessError for a prompt with an answer prefix: no such API continues one."""
        return [self._prepare(prompt) for prompt in prompts]

    def _prepare(self, prompt: Prompt) -> Question:
        if prompt.answer_prefix:
            raise HarnessError(
                f"{self._endpoint.url} cannot continue the beginning of an answer: the API has no "
                "field for it.",
                remedy="Load the weights on this machine instead.",
            )
        parts = in_order(_marked_text(prompt, self._endpoint), prompt.images)
        return Question(message_text(prompt, self._endpoint), tuple(map(_part, parts)))

    def generate(self, prepared: Sequence[Question], decoding: Decoding) -> list[Output]:
        """One output per question, in order. Greedy answers do not depend on what else the server
        is asked, as far as the server keeps to that; sampled ones depend on the server."""
        bodies = [self._body(q, decoding, row) for row, q in enumerate(prepared)]
        return [
            _output(question, reply, decoding)
            for question, reply in zip(prepared, self._client.chat(bodies), strict=True)
        ]

    def _body(self, question: Question, decoding: Decoding, row: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._endpoint.served,
            "messages": [{"role": "user", "content": list(question.content)}],
            "max_tokens": decoding.max_new_tokens,
            "temperature": decoding.temperature,
        }
        if decoding.temperature > 0:
            body |= {"top_p": decoding.top_p, "seed": (decoding.seed + row) % 2**31}
        return body

    def choose(self, prepared: Any, options: Sequence[Sequence[str]]) -> list[Output]:
        """Raises HarnessError: the API does not give the likelihood of a text that was not
        written."""
        del prepared, options
        raise no_likelihood("Choosing by log-likelihood", self._endpoint.url)


def _output(question: Question, reply: Reply | Unanswered, decoding: Decoding) -> Output:
    if isinstance(reply, Unanswered):
        return Output("", question.text, None, None, error=str(reply))
    raw, finish = reply.text, reply.finish
    if decoding.stop and decoding.stop in raw:
        raw = raw[: raw.index(decoding.stop) + len(decoding.stop)]
        finish = finish if finish == REFUSAL else STOP
    return Output(
        raw=raw,
        prompt=question.text,
        tokens_in=reply.tokens_in,
        tokens=reply.tokens,
        latency=reply.seconds,
        finish=finish,
    )


def data_url(image: Image) -> str:
    """The picture as a data URL of a PNG: pixels alone, without profile or orientation."""
    bare = image.copy()
    bare.info.clear()
    file = BytesIO()
    bare.save(file, format="PNG", compress_level=1)  # a quarter of the time, a tenth larger
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
