"""A model that a server with an OpenAI-compatible API has."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from harness.core.needs import is_remote
from harness.core.options import ModelOptions, ServerOptions
from harness.core.timing import REMOTE
from harness.core.types import Prompt
from harness.families.family import ModelFamily
from harness.remote.endpoint import find_endpoint, is_private, read_key, read_proxy
from harness.sources.source import Capabilities

if TYPE_CHECKING:
    from harness.remote.model import RemoteModel

log = logging.getLogger(__name__)


class Served:
    """A server's model. The server is contacted when a run first needs an answer, and not for a run
    that has them all."""

    device = REMOTE
    dtype = "as served"
    load_seconds: float | None = None
    """Nothing is loaded here."""

    devices: int | None = None
    max_images: int | None = None
    rendering: Mapping[str, str | None] = MappingProxyType({})
    """Its own template is not known."""
    family = ModelFamily(name="openai", title="a model on a server")

    def __init__(
        self, model: str, *, name: str | None = None, server: ServerOptions | None = None
    ) -> None:
        """Raises HarnessError: the address, or what is in the environment, cannot be used.

        Args:
            model: as `--model` has it: openai:NAME.
            name: what to call the run.
        """
        self.server: ServerOptions = server or ServerOptions()
        self.checkpoint = find_endpoint(model, base_url=self.server.base_url, name=name)
        self._key, self._proxy = read_key(), read_proxy()
        self._model: RemoteModel | None = None

    @classmethod
    def answers(cls, options: ModelOptions) -> bool:
        """`--model openai:NAME`."""
        return is_remote(options.model)

    @classmethod
    def of(cls, options: ModelOptions) -> Self:
        return cls(options.model, name=options.name, server=options.server)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            in_process=False,
            log_likelihoods=False,
            counts_tokens=False,
            # As many as it is asked at once, so that none of them waits for another.
            concurrency=self.server.concurrency,
            prepares_ahead=False,
            measures_memory=False,
        )

    @property
    def place(self) -> str:
        return self.checkpoint.url

    def load(self) -> RemoteModel:
        """The model; the server is reached on the first call.

        Raises:
            HarnessError: it is not there, or wants another key (exit 3).
        """
        if self._model is None:
            # Imported here: a list of models, or a refusal, needs no HTTP.
            from harness.remote.client import Client
            from harness.remote.model import RemoteModel

            if self._key and not is_private(self.checkpoint.url):
                log.warning(
                    "The key in %s goes to %s unencrypted: its address is not https.",
                    self._key.source,
                    self.checkpoint.url,
                )
            client = Client(self.checkpoint, self.server, key=self._key, proxy=self._proxy)
            client.reach()
            self._model = RemoteModel(client, self.checkpoint, self.server)
        return self._model

    def prompt_text(self, prompt: Prompt) -> str:
        """The text of the message that the server gets; its own chat template comes around it."""
        from harness.remote.model import message_text

        return message_text(prompt, self.checkpoint)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What run.json has in the place of how weights are loaded: the server decides that."""
        return {
            "dtype": self.dtype,
            "attention": "as served",
            "processor_args": {},
            "chat_template": None,
            "engine": "as served",
        }

    @property
    def early_fingerprint(self) -> Mapping[str, Any]:
        """Its address, and the model's name there."""
        return {"endpoint": self.checkpoint.url, "served_model": self.checkpoint.served}

    @property
    def full_fingerprint(self) -> Mapping[str, Any]:
        """The same; once it was reached, with what its list says of the model."""
        return {**self.early_fingerprint, **({"weights": self._listed} if self._listed else {})}

    @property
    def weights_hash(self) -> str:
        """What its list says of the model."""
        return json.dumps(self._listed, sort_keys=True) if self._listed else ""

    @property
    def _listed(self) -> Mapping[str, Any] | None:
        return self._model.description["listed"] if self._model else None

    @property
    def description(self) -> Mapping[str, Any] | None:
        """What the record says of the model; None before the server was reached."""
        return self._model.description if self._model else None
