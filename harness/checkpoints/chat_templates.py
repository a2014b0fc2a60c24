"""Chat templates that the user gives: `--chat-template FILE`. Readable without torch.

The file is Jinja source, as in a checkpoint's chat_template.jinja. transformers renders it in its
sandbox; see harness.models.prompt_format.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files.regular import read_regular

LARGEST = 1_000_000
"""Bytes; published templates have some thousands."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A user's template."""

    path: Path
    text: str

    @property
    def fingerprint(self) -> str:
        """Of its text alone: the same template under another name is the same."""
        return f"sha256:{sha256(self.text.encode()).hexdigest()}"


def read(path: Path) -> ChatTemplate:
    """The template in a file.

    Raises:
        HarnessError: the file cannot be read, or holds no text (exit 2).
    """
    option = f"--chat-template {path}"
    try:
        text = read_regular(path, limit=LARGEST).decode("utf-8")
    except OSError as error:
        raise HarnessError(f"{option} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{option} is not UTF-8 text: {error.reason}.") from error
    if not text.strip():
        raise HarnessError(f"{option} is empty.")
    return ChatTemplate(path, text)
