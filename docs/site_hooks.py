"""Hooks of MkDocs: the README is the site's first page, and links to files of the repository that
are no pages become names.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the README as index.md, as seen from docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace('src="docs/', 'src="')
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Name what is linked where the site does not have it, such as a source file."""
    folder = posixpath.dirname(page.file.src_uri)

    def named(link: re.Match[str]) -> str:
        text, target, _ = link.groups()
        inside = posixpath.normpath(posixpath.join(folder, target))
        if inside in files.src_uris:
            return link[0]
        known = (ROOT / "docs" / inside, ROOT / inside)
        if not any(path.exists() for path in known):
            return link[0]  # a broken link, which the strict build refuses
        return text if text.startswith("`") or "`" in text else f"`{text}`"

    return _LINK.sub(named, markdown)
