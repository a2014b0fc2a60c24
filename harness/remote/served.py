"""A model that a server has, in the place of weights that were found."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.core.options import ServerOptions
from harness.core.timing import REMOTE
from harness.core.types import Prompt
from harness.remote.endpoint import find_endpoint, is_private, read_key, read_proxy

if TYPE_CHECKING:
    from harness.remote.model import RemoteModel

log = logging.getLogger(__name__)


class Served:
    """What a run needs to know of a server's model; the server is contacted when a run first needs
    an answer, and not for a run that has them all."""

    device = REMOTE
    dtype = "as served"
    load_seconds: float | None = None
    """Nothing is loaded here."""

    devices: int | None = None
    max_images: int | None = None

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
    def fingerprint(self) -> Mapping[str, Any]:
        """What the answers depend on, as far as a server says: its address, the model's name, and
        once it was reached what its list says of the model."""
        listed = self._model.description["listed"] if self._model else None
        return {
            "endpoint": self.checkpoint.url,
            "served_model": self.checkpoint.served,
            **({"weights": listed} if listed else {}),
        }

    @property
    def early_fingerprint(self) -> Mapping[str, Any]:
        """As `fingerprint`: nothing is loaded here."""
        return self.fingerprint

    @property
    def full_fingerprint(self) -> Mapping[str, Any]:
        """As `fingerprint`: nothing is loaded here."""
        return self.fingerprint

    @property
    def description(self) -> Mapping[str, Any] | None:
        """What the record says of the model; None before the server was reached."""
        return self._model.description if self._model else None
