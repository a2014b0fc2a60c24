"""What a build makes of the README: a package index shows it away from the repository's files.

Links into the repository lead to the address that `[tool.hatch.metadata.hooks.custom]` in
pyproject.toml gives; where it gives none they become names, and pictures are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")
_PICTURE = re.compile(r'<img src="(?!https?:)([^"]+)"([^>]*)>\n*')


class CustomMetadataHook(MetadataHookInterface):
    """Called by hatchling."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        readme = for_index(text, self.config.get("address", ""))
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}


def for_index(text: str, address: str) -> str:
    """The README as a package index shows it.

    Args:
        address: where the repository's files are, without a slash at its end; empty: nowhere.
    """
    if address:
        text = _PICTURE.sub(rf'<img src="{address}/\1"\2>\n\n', text)
        return _LINK.sub(rf"[\1]({address}/\2)", text)
    return _LINK.sub(lambda link: _named(*link.groups()), _PICTURE.sub("", text))


def _named(text: str, target: str) -> str:
    return f"`{target}`" if text in target else f"{text} (`{target}`)"
